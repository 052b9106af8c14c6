"""The one door: everything that leaves a site leaves through `Egress.release`.

The order is the promise: withhold (`client/disclosure.py`) · check (against the contract) · ledger (fsynced) · sign ·
hand over. What is signed names the ledger's last entry before its own, so that others hold it. Answers that say "not
yet" again are written down by the run (`client/repeats.py`). Only this module can build a `Released`, and the link
sends nothing else. The privacy budget is charged earlier, before a round's work begins (`client/privacy/purse.py`).
"""

from collections.abc import Callable
from dataclasses import InitVar, dataclass
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from client.contract import check_form, check_in_force, check_release
from client.disclosure import disclosed
from client.policy import Policy
from client.repeats import Repeats
from client.telling import told_by
from shared.canonical import digest
from shared.contract import Contract
from shared.envelope import seal
from shared.errors import Refusal, WireCode
from shared.heads import Losses, head_of
from shared.ledger import Ledger
from shared.wire import TO_SERVER, Message, Ready, Refused, Rehearsed, Report, Uploaded

_DOOR: Final = object()
ALTERED: Final = "Nothing was released: the update changed after it was checked."


@dataclass(frozen=True, slots=True)
class Released:
    """Something that may leave: a signed envelope and, beside it, the packed update.

    `payload_sha256` (hex) and `payload_bytes` are of what was checked; the link sends no other bytes.

    Raises:
        ValueError: built anywhere else than in `Egress.release`.
    """

    envelope: bytes
    payload: Path | None
    payload_sha256: str | None
    payload_bytes: int
    door: InitVar[object]

    def __post_init__(self, door: object) -> None:
        if door is not _DOOR:
            raise ValueError("a Released is built by Egress.release alone")


class Egress:
    """The site's door, bound to its name, its identity key and its ledger.

    Args:
        site: the site's name on the roster.
        key: the site's identity key.
        ledger: where every release and every refusal to release is written first.
        now: the time as an RFC 3339 string in UTC.
        policy: the site's; how much of its scores it tells.
        lost: what the site has declared of its ledger's end; every report names it.
    """

    def __init__(
        self,
        *,
        site: str,
        key: Ed25519PrivateKey,
        ledger: Ledger,
        now: Callable[[], str],
        policy: Policy,
        lost: Losses = (),
    ) -> None:
        self.lost = lost
        self._site = site
        self._key = key
        self._ledger = ledger
        self._now = now
        self._policy = policy
        self._repeats = Repeats(ledger, now)

    def release(self, message: Message, *, contract: Contract | None, payload: Path | None = None) -> Released:
        """Withhold what the policy does not tell, check the rest against the contract, write it down, sign it.

        Args:
            message: the body that would leave.
            contract: the study's contract; None only for a `Refused` without an open study.
            payload: the packed update that would travel beside it.

        Raises:
            Refusal: the contract does not allow it; nothing was written but the refusal.
        """
        message = disclosed(message, contract=contract, policy=self._policy)
        if isinstance(message, Report):
            message = message.model_copy(update={"ledger": head_of(self._ledger), "lost": self.lost})
        try:
            body = self._check(message, contract, payload)
        except Refusal as refusal:
            self._ledger.append("release_refused", {**_place(message), "rule": refusal.remedy}, time=self._now())
            raise
        if not self._repeats.cover(message, len(body)):
            self._ledger.append("release", _record(message, body, contract, payload), time=self._now())
        envelope = seal(body, key=self._key, signer=self._site, purpose=TO_SERVER)
        announced = message if payload is not None and isinstance(message, Ready | Uploaded) else None
        return Released(
            envelope=envelope,
            payload=payload,
            payload_sha256=announced.update_digest if announced else None,
            payload_bytes=announced.update_bytes if announced else 0,
            door=_DOOR,
        )

    def settle(self) -> None:
        """Write down how many answers left that said the same no again, as far as that is still to be said.

        Raises:
            DiskFull: it cannot be written down.
        """
        self._repeats.settle()

    def recall(self, released: Released) -> None:
        """Write down that a release was stopped on its way: its update is no longer the checked one."""
        record = {"rule": ALTERED, "update_digest": released.payload_sha256}
        self._ledger.append("release_refused", record, time=self._now())

    def _check(self, message: Message, contract: Contract | None, payload: Path | None) -> bytes:
        """The body that may be signed."""
        if contract is not None:
            check_in_force(contract, message, now=self._now())
            return check_release(contract, message, payload)
        if type(message) is not Refused or payload is not None:
            raise Refusal(WireCode.CONTRACT, remedy="Nothing was released: the study has no contract here.")
        return check_form(message)


def _place(message: Message) -> dict[str, object]:
    place = message.address
    return {"study": place.study, "round": place.round, "stage": place.stage.value}


def _record(message: Message, body: bytes, contract: Contract | None, payload: Path | None) -> dict[str, object]:
    """What the ledger keeps of a release: where it belongs, what kind, how much, which digests."""
    record = {
        **_place(message),
        "kind": getattr(message, "type", "message"),
        "bytes": len(body) + (payload.stat().st_size if payload else 0),
        "body_digest": digest(body),
        "update_digest": getattr(message, "update_digest", None) if payload else None,
        "contract": contract.digest() if contract else None,
        "tells": told_by(message),
    }
    if isinstance(message, Refused):
        record["refusal"] = message.refusal.value
    if isinstance(message, Ready):
        record |= {"replayed": message.replayed, "scored_model": message.model_digest}
    if isinstance(message, Rehearsed):
        record |= message.model_dump(mode="json", include={"findings", "work_s", "travel_s"})
        record |= {"survey": message.survey.model_dump(mode="json")} if message.survey else {}
    return record
