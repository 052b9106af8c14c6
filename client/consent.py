"""The policy at work: every study that is opened, worked for or rehearsed at the site is held against it first.

In this order, before any image is read:

1. that the site has not left (`client/leaving.py`);
2. the lines of the policy, which `client/policy.py` reads;
3. of an open study, that the terms it was agreed under still hold (`client/terms.py`);
4. with `studies = "ask"`, a person's approval of this very contract (`client/approvals.py`): without one the study
   waits, and the coordinator asks again;
5. that the site is not paused (`client/pausing.py`), and its hours: meanwhile and outside them it waits, too. What is
   in hand when they end is finished.

The site reads its policy when it starts, so that a line that was changed binds studies that are open already.
"""

from collections.abc import Mapping
from datetime import datetime

from client.about_site import about_site
from client.approvals import Asked, Decision
from client.hours import within
from client.jobs import Split
from client.leaving import has_left
from client.pausing import is_paused
from client.peers import believed, read_peers
from client.policy import permit, permit_patients, permit_peers
from client.privacy.training_patients import TrainingPatients
from client.settings import FILE_NAME
from client.site import Site
from client.study_store import StudyRecord
from client.terms import Terms
from shared.contract import Contract, contract_of, derive_contract
from shared.errors import Refusal, WireCode
from shared.remarks import remark
from shared.site_terms import SiteTerms
from shared.study import Study
from shared.wire import Open, Rehearse


class Consent:
    """Says no, or not yet, to what the policy of a site does not permit."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._policy = site.settings.policy
        self._terms = Terms(self._policy, site.software, now=site.now)
        self._resting: dict[str, str] = {}  # why a study waits, as it was said

    def to_open(self, message: Open, envelope: bytes) -> None:
        """A study is to be opened.

        Args:
            message: the question.
            envelope: as the coordinator signed it.

        Raises:
            Refusal: naming the policy's line.
        """
        self._insist_on_membership()
        contract = derive_contract(message, site=self._site.name)
        _insist(permit(self._policy, message.study, contract))
        self._insist_on_peers(message)
        if self._policy.studies == "ask":
            self._insist_on_approval(contract, self.terms(message), envelope)
        self._insist_on_now(contract.study)

    def to_work(self, record: StudyRecord) -> None:
        """A round of an open study is to be worked on; raises as `to_open`."""
        self._insist_on_membership()
        self.to_upload(record)
        self._insist_on_now(record.open.study.name)

    def to_upload(self, record: StudyRecord) -> None:
        """An update that was made is to leave, at whatever hour; raises as `to_open`."""
        contract = record.contract(self._site.name)
        _insist(permit(self._policy, record.open.study, contract))
        self._insist_on_peers(record.open)
        self._terms.insist(record.terms)
        if self._policy.studies == "ask" and self.approval(contract) is None:
            raise self._not_yet(WireCode.AWAITS_APPROVAL, "studies", self._show(contract.study))

    def to_rehearse(self, message: Rehearse) -> None:
        """A study is to be rehearsed, which nobody approves; raises as `to_open`."""
        self._insist_on_membership()
        contract = contract_of(message.study, message.tensors, site=self._site.name)
        _insist(permit(self._policy, message.study, contract, rehearsed=True))
        if self._policy.studies == "ask":
            raise self._policy.refusal("studies", "nobody has approved what is rehearsed")
        if message.survey and not self._policy.counts_may_be_told:
            raise self._policy.refusal("counts_may_be_told", "the coordinator asks what there is (study cohort)")
        if is_paused(self._site.folder):
            raise Refusal(WireCode.PAUSED, remedy="A rehearsal does not wait for its end.")
        if not within(self._policy.hours, self._local_time()):
            raise self._policy.refusal("hours", "a rehearsal does not wait for them")

    def with_patients(self, study: Study, patients: Mapping[Split, int]) -> None:
        """The images are read; raises as `to_open`.

        Of a private study the worker names no count, so that none can leave; the list that it offers has one.

        Args:
            study: as it is opened.
            patients: how many the site has, by split.
        """
        trains = study.study.kind == "train"
        count = patients.get("train", 0) if trains else sum(patients.values())
        if study.privacy is not None:
            count = len(TrainingPatients(self._site.folder).offered(study.digest()))
        _insist(permit_patients(self._policy, study, patients=count))

    def terms(self, message: Open) -> SiteTerms:
        """Those that the study is agreed to under, or was shown under, while they hold; else fresh ones."""
        derived = derive_contract(message, site=self._site.name)
        record, asked = self._site.studies.find(derived.study), self._site.approvals.asked(derived.study)
        known = [(record.terms, record.contract(self._site.name).digest())] if record is not None else []
        known += [(asked.terms, asked.contract)] if asked is not None else []
        kept = (terms for terms, contract in known if derived.under(terms).digest() == contract)
        return next(filter(self._terms.hold, kept), None) or self._terms.fresh()

    def approval(self, contract: Contract) -> Decision | None:
        """The person's yes to a contract; None if there is none."""
        found = self._site.approvals.decision(contract.study, contract.digest())
        return found if found is not None and found.verdict == "approved" else None

    def how_agreed(self, contract: Contract) -> dict[str, object]:
        """How the site came to agree, as its ledger says it: the policy's line, or a person and when.

        Raises:
            Refusal: nobody has approved what has run out while the images were read.
        """
        if self._policy.studies != "ask":
            return {"approved_by": self._policy.line("studies")}
        decision = self.approval(contract)
        if decision is None:
            raise self._not_yet(WireCode.AWAITS_APPROVAL, "studies", self._show(contract.study))
        return {"approved_by": "person", "person": decision.person, "decided": decision.decided}

    def closed(self, study: str) -> None:
        """The study is over, whether or not somebody had decided about it."""
        self._site.approvals.forget(study)

    def _insist_on_peers(self, opening: Open) -> None:
        peers = read_peers(self._site.folder) if self._policy.peers_at_least else {}
        _insist(permit_peers(self._policy, opening, believed=believed(opening, peers, site=self._site.name)))

    def _insist_on_approval(self, derived: Contract, terms: SiteTerms, envelope: bytes) -> None:
        site, name, contract = self._site, derived.study, derived.under(terms)
        decision = site.approvals.decision(name, contract.digest())
        if decision is None:
            opening = envelope.hex()
            asked = Asked(study=name, contract=contract.digest(), terms=terms, since=site.now(), opening=opening)
            waits = self._not_yet(WireCode.AWAITS_APPROVAL, "studies", self._show(name))
            if site.approvals.ask(asked):
                site.say(remark("The study {study} waits for approval. {how}", study=name, how=self._show(name)))
                site.alarm.ring(waits, study=name, number=0)
            raise waits
        if not site.approvals.noted(decision):
            site.ledger.append("approval", decision.model_dump(mode="json"), time=site.now())
            site.approvals.note(decision)
        if decision.verdict == "denied":
            raise Refusal(WireCode.DENIED, remedy=f"{decision.person} has denied it.", rule="studies")

    def _insist_on_membership(self) -> None:
        if has_left(self._site.folder):
            raise Refusal(WireCode.LEFT, remedy="No study is worked on here any more.")

    def _insist_on_now(self, study: str) -> None:
        if is_paused(self._site.folder):
            resumed = about_site(self._site.folder / FILE_NAME, "resume")
            paused = "The study {study} waits, because this site is paused. To go on: {how}"
            self._say_once(study, remark(paused, study=study, how=resumed))
            raise Refusal(WireCode.PAUSED)
        if not within(self._policy.hours, self._local_time()):
            self._say_once(study, remark("The study {study} waits for this site's hours.", study=study))
            raise self._not_yet(WireCode.OUT_OF_HOURS, "hours", "It goes on when they begin.")
        self._resting.pop(study, None)

    def _say_once(self, study: str, why: str) -> None:
        if self._resting.get(study) != why:
            self._site.say(why)
        self._resting[study] = why

    def _show(self, study: str) -> str:
        command = about_site(self._site.folder / FILE_NAME, "approve", study)
        return f"Show it to whoever decides: {command}"

    def _not_yet(self, code: WireCode, key: str, remedy: str) -> Refusal:
        return Refusal(code, remedy=f"{self._policy.line(key)}. {remedy}", rule=key)

    def _local_time(self) -> datetime:
        return datetime.fromisoformat(self._site.now()).astimezone()


def _insist(refusal: Refusal | None) -> None:
    if refusal is not None:
        raise refusal
