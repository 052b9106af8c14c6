"""How an answer leaves: everything goes through the door, under the contract of its study, and then to the line."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from client.egress import Released
from client.site import Site
from client.study_store import StudyRecord
from shared.address import Address
from shared.errors import NOT_YET, Refusal
from shared.wire import Message, Refused

if TYPE_CHECKING:
    from client.link import Parcel


class Replies:
    """The answers of one site.

    Args:
        site: the parts to work with.
        answer: takes what was released in answer to a parcel.
    """

    def __init__(self, site: Site, *, answer: Callable[["Parcel", Released], None]) -> None:
        self._site = site
        self._answer = answer

    def release(self, parcel: "Parcel", message: Message, record: StudyRecord, *, payload: Path | None = None) -> None:
        """Let a message out, and its update if there is one; raises as `Egress.release`."""
        contract = record.contract(self._site.name)
        self._answer(parcel, self._site.egress.release(message, contract=contract, payload=payload))

    def refuse(self, parcel: "Parcel", refusal: Refusal, *, address: Address, record: StudyRecord | None) -> None:
        """Say no: the code, and the key of the policy, if the policy says so; the operator may hear it, too."""
        if refusal.wire_code not in NOT_YET:  # what waits is told when it begins to
            self._site.alarm.ring(refusal, study=address.study, number=address.round)
        refused = Refused(address=address, refusal=refusal.wire_code, rule=refusal.rule)
        contract = record.contract(self._site.name) if record else None
        self._answer(parcel, self._site.egress.release(refused, contract=contract))
