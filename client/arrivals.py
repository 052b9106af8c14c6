"""What arrives at a site, opened: mandates that came in front are followed first, then the message is believed or not.

Mandates that are not followed are said and written down, and change nothing: the message is held against the key
that was known before.
"""

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from client.intake import open_message
from client.site import Site
from shared.canonical import digest
from shared.errors import ConfigError, ProtocolError, TrustError
from shared.mandate import Succession, carried
from shared.remarks import Remark, remark, trouble
from shared.wire import FromServer

REFUSED = "mandate_refused"


class Arrivals:
    """Opens the messages of one site.

    Args:
        site: its parts.
    """

    def __init__(self, site: Site) -> None:
        self._site, self._coordinators = site, site.enrolment.coordinators
        self._refused: str | None = None

    def opened(self, data: bytes) -> tuple[FromServer, bytes]:
        """The message, and the envelope as the coordinator signed it.

        Raises:
            ProtocolError: the message speaks another protocol number.
            TrustError: it is not from who leads now, not for this site, or not a message.
        """
        mandates, envelope = carried(data)
        if mandates is not None:
            self._follow(mandates)
        try:
            return self._open(envelope, self._coordinators.key), envelope
        except ProtocolError:
            raise
        except TrustError as error:
            raise self._coordinators.explain(error, lambda key: self._holds(envelope, key)) from None

    def _open(self, envelope: bytes, key: Ed25519PublicKey) -> FromServer:
        return open_message(envelope, site=self._site.name, coordinator=key)

    def _holds(self, envelope: bytes, key: Ed25519PublicKey) -> bool:
        try:
            self._open(envelope, key)
        except TrustError:
            return False
        return True

    def _follow(self, mandates: bytes) -> None:
        site = self._site
        try:
            found = self._coordinators.take(
                mandates, note=lambda kind, said: site.ledger.append(kind, said, time=site.now())
            )
        except (TrustError, ConfigError) as error:  # the other: what the site keeps of them cannot be read
            site.seldom.append(REFUSED, {"code": error.code, "mandates": digest(mandates)})
            if error.what != self._refused:
                site.say(trouble(error, "Mandates of the coordinators were not followed: {error}"))
            self._refused = error.what
            return
        if found is not None:
            site.say(told(found))


def told(found: Succession) -> Remark:
    """A mandate that is followed from now on, in words."""
    newest, lead = found.newest, found.newest.leader()
    others = [one.name for one in newest.beside()]
    beside = f"; named beside: {', '.join(others)}" if others else ""
    now = "The federation is coordinated by {lead} now (mandate {mandate}{beside}): {fingerprint}."
    return remark(now, lead=lead.name, mandate=newest.number, beside=beside, fingerprint=lead.fingerprint())
