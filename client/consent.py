"""The policy at work: every study that is opened, worked for or rehearsed at the site is held against it first.

In this order, before any image is read:

1. the lines of the policy, which `client/policy.py` reads;
2. with `studies = "ask"`, a person's approval of this very contract (`client/approvals.py`): without one the study
   waits, and the coordinator asks again;
3. the site's hours: outside them it waits, too. What is in hand when they end is finished.

The site reads its policy when it starts, so that a line that was changed binds studies that are open already.
"""

from collections.abc import Mapping
from datetime import datetime

from client.approvals import Asked, Decision
from client.hours import within
from client.jobs import Split
from client.policy import permit, permit_patients
from client.site import Site
from client.study_store import StudyRecord
from shared.contract import Contract, contract_of, derive_contract
from shared.errors import Refusal, WireCode
from shared.study import Study
from shared.wire import Open, Rehearse

SHOW = "Show it to whoever decides: wardround site approve"


class Consent:
    """Says no, or not yet, to what the policy of a site does not permit."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._policy = site.settings.policy
        self._resting: set[str] = set()

    def to_open(self, message: Open, envelope: bytes) -> None:
        """A study is to be opened.

        Args:
            message: the question.
            envelope: as the coordinator signed it.

        Raises:
            Refusal: naming the policy's line.
        """
        contract = derive_contract(message, site=self._site.name)
        _insist(permit(self._policy, message.study, contract))
        if self._policy.studies == "ask":
            self._insist_on_approval(contract, envelope)
        self._insist_on_hours(contract.study)

    def to_work(self, record: StudyRecord) -> None:
        """A round of an open study is to be worked on; raises as `to_open`."""
        self.to_upload(record)
        self._insist_on_hours(record.open.study.name)

    def to_upload(self, record: StudyRecord) -> None:
        """An update that was made is to leave, at whatever hour; raises as `to_open`."""
        contract = record.contract(self._site.name)
        _insist(permit(self._policy, record.open.study, contract))
        if self._policy.studies == "ask" and self.approval(contract) is None:
            raise self._not_yet(WireCode.AWAITS_APPROVAL, "studies", f"{SHOW} {contract.study}")

    def to_rehearse(self, message: Rehearse) -> None:
        """A study is to be rehearsed, which nobody approves; raises as `to_open`."""
        contract = contract_of(message.study, message.tensors, site=self._site.name)
        _insist(permit(self._policy, message.study, contract, rehearsed=True))
        if self._policy.studies == "ask":
            raise self._policy.refusal("studies", "nobody has approved what is rehearsed")
        if not within(self._policy.hours, self._local_time()):
            raise self._policy.refusal("hours", "a rehearsal does not wait for them")

    def with_patients(self, study: Study, patients: Mapping[Split, int]) -> None:
        """The images are read; raises as `to_open`.

        Args:
            study: as it is opened.
            patients: how many the site has, by split.
        """
        trains = study.study.kind == "train"
        count = patients.get("train", 0) if trains else sum(patients.values())
        _insist(permit_patients(self._policy, study, patients=count))

    def approval(self, contract: Contract) -> Decision | None:
        """The person's yes to a contract; None if there is none."""
        found = self._site.approvals.decision(contract.study, contract.digest())
        return found if found is not None and found.verdict == "approved" else None

    def how_agreed(self, contract: Contract) -> dict[str, object]:
        """How the site came to agree, as its ledger says it: the policy's line, or a person and when."""
        decision = self.approval(contract) if self._policy.studies == "ask" else None
        if decision is None:
            return {"approved_by": self._policy.line("studies")}
        return {"approved_by": "person", "person": decision.person, "decided": decision.decided}

    def closed(self, study: str) -> None:
        """The study is over, whether or not somebody had decided about it."""
        self._site.approvals.forget(study)

    def _insist_on_approval(self, contract: Contract, envelope: bytes) -> None:
        site, name = self._site, contract.study
        decision = site.approvals.decision(name, contract.digest())
        if decision is None:
            asked = Asked(study=name, contract=contract.digest(), since=site.now(), opening=envelope.hex())
            if site.approvals.ask(asked):
                site.say(f"The study {name} waits for approval. {SHOW} {name}")
            raise self._not_yet(WireCode.AWAITS_APPROVAL, "studies", f"{SHOW} {name}")
        if not site.approvals.noted(decision):
            site.ledger.append("approval", decision.model_dump(mode="json"), time=site.now())
            site.approvals.note(decision)
        if decision.verdict == "denied":
            raise Refusal(WireCode.DENIED, remedy=f"{decision.person} has denied it.", rule="studies")

    def _insist_on_hours(self, study: str) -> None:
        if within(self._policy.hours, self._local_time()):
            self._resting.discard(study)
        else:
            if study not in self._resting:
                self._site.say(f"The study {study} waits for this site's hours.")
            self._resting.add(study)
            raise self._not_yet(WireCode.OUT_OF_HOURS, "hours", "It goes on when they begin.")

    def _not_yet(self, code: WireCode, key: str, remedy: str) -> Refusal:
        return Refusal(code, remedy=f"{self._policy.line(key)}. {remedy}", rule=key)

    def _local_time(self) -> datetime:
        return datetime.fromisoformat(self._site.now()).astimezone()


def _insist(refusal: Refusal | None) -> None:
    if refusal is not None:
        raise refusal
