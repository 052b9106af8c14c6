"""Renewal at a running site: an admission that came with a message is kept, and the line is made from it.

An admission that does not hold is said on the console, and the message is answered all the same: what was
taken before stays in force.
"""

from client.admission import Reach, last_day, take_admission
from client.site import Site
from shared.certificates import WARNED_DAYS, ends_at, warned_at
from shared.errors import TrustError
from shared.keys import transport_pem
from shared.remarks import remark, trouble
from shared.wire import Close, FromServer, Open, Work

_EXPIRING = "certificate_expiring"
ADMITTED = "The coordinator has admitted this site; that holds until {day}."
RENEWED = "The coordinator has renewed this site's admission; it holds until {day}."
_ENDS = (
    "This site's place in the federation ends within {when}."
    " Ask the coordinator to renew it; nothing is to be done here."
)
ENDS = {
    days: remark(_ENDS, level="warning", when="a day" if days == 1 else f"{days} days", code=_EXPIRING)
    for days in WARNED_DAYS
}


class Renewals:
    """Takes the admissions that the messages of one site carry.

    Args:
        site: its parts.
    """

    def __init__(self, site: Site) -> None:
        self._site, self._enrolment = site, site.enrolment
        self._reach = site.enrolment.reach
        self._warned: int | None = None
        self._refused: str | None = None

    def take(self, message: FromServer) -> None:
        """Take what the message carries, if it carries one."""
        if not isinstance(message, Open | Work | Close) or message.admission is None:
            return
        try:
            admission = take_admission(
                self._site.folder,
                message.admission.encode(),
                invitation=self._enrolment.invitation,
                coordinator=self._site.coordinator,
                transport_key=transport_pem(self._enrolment.transport_key.public_key()),
                note=lambda kind, said: self._site.ledger.append(kind, said, time=self._site.now()),
            )
        except TrustError as error:
            if error.what != self._refused:
                self._site.say(trouble(error, "An admission was not taken: {error}"))
            self._refused = error.what
            return
        if (reach := Reach.of(admission)) != self._reach:
            first, self._reach = self._reach.certificate_pem is None, reach
            self._site.link.reach(**reach._asdict())
            day = last_day(admission)
            self._site.say(remark(ADMITTED, day=day) if first else remark(RENEWED, day=day))

    def warn(self, now: float) -> None:
        """Say and tell 30, 7 and 1 days ahead that the site's certificate ends; `now` in Unix seconds."""
        certificate = self._reach.certificate_pem
        if certificate is None:
            return
        days = warned_at(ends_at(certificate) - now)
        if days is not None and days != self._warned:
            self._site.say(ENDS[days])
            self._site.alarm.tell(_EXPIRING)
        self._warned = days
