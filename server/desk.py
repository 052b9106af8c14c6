"""What conducting a study needs at hand, built once by the ServerApp; nothing here decides."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from server.backbones import BACKBONE
from server.heads import Heads
from server.journal import Journal
from server.known_heads import known_by
from server.link import ServerLink
from server.membership.admissions import Admissions
from server.owner import Ownership
from server.reception import Question
from server.record import Record
from server.spool import UpdateSpool
from server.study_folder import StudyFolder
from shared.address import Address, Stage
from shared.contract import Contract, contract_of
from shared.envelope import seal
from shared.identity import COORDINATOR, Roster
from shared.keys import VerifyKey
from shared.mandate import Succession, carry
from shared.rehearsal import Terms
from shared.rehearsal_contract import rehearsal_contract
from shared.remarks import remark
from shared.study import Study
from shared.update import Tensors, payload_limit, update_table
from shared.wire import Close, Message, Open, Refused, Work, encode, to_site

SLOT_FLOOR_BYTES = 256 * 10**6


@dataclass
class Desk:
    """One study's parts.

    `roster` gives the roster as it is now; `say` prints one line on the coordinator's console.
    """

    study: Study
    folder: StudyFolder
    tensors: Tensors
    roster: Callable[[], Roster]
    cohort: tuple[str, ...]
    key: Ed25519PrivateKey
    link: ServerLink
    owner: Ownership
    journal: Journal
    spool: UpdateSpool
    say: Callable[[str], None]
    sent_bytes: int = 0  # of models, by every process of the study so far
    amendments: tuple[str, ...] = ()  # those in force, as they were signed
    openings: dict[str, Question] = field(default_factory=dict)  # on their way, by message; they outlive their round
    rehearsal: Terms | None = None  # how the study is rehearsed, if it is not run
    admissions: Admissions | None = None  # of the sites, in a federation that has any
    succession: Succession | None = None  # by which sites know the key, where it is not the founder's
    carried: dict[str, tuple[str, str]] = field(default_factory=dict)  # by message, whose admission it carries
    heads: Heads = field(init=False)  # of the sites' ledgers

    def __post_init__(self) -> None:
        admitted = {entry.site: entry.not_before for entry in self.roster().entries if entry.site in self.cohort}
        known = known_by(sorted(self.folder.path.parent.glob("*/journal.jsonl")), admitted=admitted)
        heads = {site: one.head for site, one in known.items() if one.head is not None}
        self.heads = Heads(heads, {site: one.lost for site, one in known.items() if one.lost})

    @property
    def keys(self) -> VerifyKey:
        """What the federation has signed so far holds against these."""
        return self.succession.keys() if self.succession else self.key.public_key()

    @property
    def update_tensors(self) -> Tensors:
        """The table that every update must have."""
        return update_table(self.tensors, self.study.transfer.update_dtype)

    @property
    def update_limit(self) -> int:
        """Most bytes one update may have; 0 if the study does not train."""
        return payload_limit(self.update_tensors) if self.study.study.kind == "train" else 0

    @property
    def backbone(self) -> Path | None:
        """What travels with an opening: the backbone, if it is frozen."""
        return self.folder.path / BACKBONE if self.study.freezes else None

    @property
    def slot_bytes(self) -> int:
        """How many bytes of updates may be on their way at once."""
        return self.study.transfer.slot_bytes or max(2 * self.update_limit, SLOT_FLOOR_BYTES)

    def members(self, at: float) -> set[str]:
        """Sites of the cohort that are on the roster, with keys that hold at a time (Unix seconds)."""
        entries = self.roster().entries
        return {entry.site for entry in entries if entry.valid(at)}.intersection(self.cohort)

    def address(self, stage: Stage, number: int, attempt: int) -> Address:
        """Where a question of this owner belongs."""
        return Address(study=self.study.name, epoch=self.owner.epoch, round=number, attempt=attempt, stage=stage)

    def opening(self, number: int, attempt: int) -> Open:
        """The question that opens the study at a site."""
        place = self.address(Stage.OPEN, number, attempt)
        return Open(
            address=place,
            study=self.study,
            tensors=self.tensors,
            cohort=self.cohort,
            fingerprints={e.site: e.fingerprint() for e in self.roster().entries if e.site in self.cohort},
            payload_bytes=self.backbone.stat().st_size if self.backbone else 0,
            amendments=self.amendments,
        )

    def contract(self, site: str) -> Contract:
        """What the site may release."""
        if self.rehearsal is not None:
            return rehearsal_contract(self.study, site=site, survey=self.rehearsal.survey)
        return contract_of(self.study, self.tensors, site=site, cohort=self.cohort)

    def declared_patients(self, site: str) -> Mapping[str, int]:
        """By split, how many patients the site said it has when it opened the study; empty if it did not."""
        said = self.journal.history.opened.get(site)
        return {str(split): count for split, count in said.patients.items()} if said else {}

    def hear_head(self, site: str, answer: Message) -> None:
        """Take the head of its ledger that a site's answer names, and what it declares lost of its end."""
        for said in self.heads.declared(site, answer):
            self.write(said)
            most = f"at most {said.lost.most:,} entries"
            declared = "{site} has declared that it lost the end of its ledger, {most}. Ask the site how that came."
            self.say(remark(declared, level="warning", site=site, most=most))
        if not self.heads.hear(site, answer):
            forked = "{site}'s ledger is another one than it was: it names two hashes for one entry. Ask the site."
            self.say(remark(forked, level="error", site=site))

    def push(self, site: str, message: Message, payload: Path | None = None) -> str:
        """Sign a message for one site and hand it to the engine; returns the engine's message id."""
        admission = (
            self.admissions.pending(site) if self.admissions and isinstance(message, Open | Work | Close) else None
        )
        if admission is not None:
            message = message.model_copy(update={"admission": admission})
        envelope = seal(encode(message), key=self.key, signer=COORDINATOR, purpose=to_site(site))
        message_id = self.link.push(site, carry(self.succession, envelope), payload)
        self.sent_bytes += payload.stat().st_size if payload else 0
        if admission is not None:
            self.carried[message_id] = site, admission
        return message_id

    def answered(self, message_id: str, answer: Message) -> None:
        """A site that did as a message asked has taken the admission that it carried."""
        carried = self.carried.pop(message_id, None)
        if carried is not None and self.admissions is not None and not isinstance(answer, Refused):
            self.admissions.taken(*carried)

    def write(self, record: Record) -> None:
        """Put a record into the journal, if the study is still ours.

        Raises:
            StaleEpoch: another process owns the study now.
        """
        with self.owner.guard():
            self.journal.write(record)
