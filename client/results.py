"""What becomes of the worker's results: an opened study is agreed to, a finished round is spooled and reported.

Which work there is, and what is refused before any is done, `client/answering.py` decides; what may leave, the door.
"""

from typing import TYPE_CHECKING

from client.about_site import about_site
from client.consent import Consent
from client.floors import insist_on_floors
from client.image_lists import ImageLists
from client.jobs import UPDATE_FILE, CloseJob, Drawn, Ending, Failed, OpenDone, RoundDone, RoundJob
from client.opening_evidence import keep_opening
from client.replies import Replies
from client.settings import FILE_NAME
from client.site import Site
from client.spool import Spooled, written_update
from client.study_store import StudyRecord
from client.telling import may_tell
from client.unmoved import insist_on_no_change
from client.workload import RESTART, Task
from shared.amendment import trail
from shared.errors import Refusal, WireCode
from shared.remarks import remark
from shared.study import Study
from shared.wire import Counts, Grant, Open, Opened, Ready, Uploaded, Work

if TYPE_CHECKING:
    from client.link import Parcel

_SEE_LOG = "See worker.log in the site's folder."  # where the worker writes why, whatever its code
_REMEDIES = {WireCode.SOFTWARE_CHANGED: RESTART}


class Results:
    """The results of one site's worker.

    Args:
        site: the parts to work with.
        replies: where the answers go.
        consent: whether so few patients are enough.
    """

    def __init__(self, site: Site, replies: Replies, *, consent: Consent) -> None:
        self._site = site
        self._replies = replies
        self._consent = consent

    def conclude(self, task: Task, event: Ending) -> None:
        """Answer with what an opening, a round or a trip came to.

        Raises:
            Refusal: it failed, or nothing of it may leave.
        """
        match event:
            case Failed():
                raise Refusal(event.code, remedy=_REMEDIES.get(event.code, _SEE_LOG))
            case OpenDone():
                self._opened(task, event)
            case RoundDone():
                self._worked(task, event)

    def _opened(self, task: Task, done: OpenDone) -> None:
        message = task.message
        assert isinstance(message, Open)  # as `may_end` says
        site, before = self._site, self._site.studies.find(message.address.study)
        self._consent.with_patients(message.study, done.patients)
        digests = trail(message.study, message.amendments, coordinator=site.enrolment.coordinators.keys)
        terms = self._consent.terms(message)
        record = StudyRecord.opened(message, before, digests=digests, terms=terms)
        contract = record.contract(site.name)
        site.purse.reserve(message.study)
        agreed: dict[str, object] = {
            "study": message.study.name,
            "study_digest": contract.study_digest,
            "contract": contract.digest(),
            "cohort": contract.cohort,
            **terms.model_dump(mode="json"),
        }
        asked_by = site.enrolment.coordinators.signer_of(task.parcel.envelope, site=site.name)
        agreed |= {"coordinator": asked_by}
        agreed |= self._consent.how_agreed(contract) | may_tell(contract)
        if message.amendments:
            agreed |= {"original_digest": digests[0]}
        if contract.own_models:
            agreed |= {"own_models": ", ".join(contract.own_models)}
            told = "In the end each site's own model goes to all the others: {sites}."
            site.say(remark(told, study=message.study.name, sites=agreed["own_models"]))
        site.ledger.append("contract", agreed, time=site.now())  # before any release can name it
        self._note_images(message.study)
        digest, envelope = contract.study_digest, task.parcel.envelope
        keep_opening(site.folder, envelope, study_digest=digest, cohort=contract.cohort, by=asked_by)
        site.studies.save(record)
        site.spool.forget_models(site.studies.ended(site.now()))
        if before is not None and before.open.study != message.study:
            site.worker.submit(CloseJob(study_digest=before.open.study.digest()))  # its images and model are free now
        answer = Opened(
            address=message.address,
            contract_digest=contract.digest(),
            terms=terms,
            patients=done.patients,
            examples=done.examples,
            device=done.place.device,
            fell_back=done.place.fell_back,
            threads=done.place.threads,
            software=done.software,
        )
        place = {"study": message.study.name, "device": done.place.device}
        site.say(remark("Study {study} is open; working on {device}.", **place))
        self._say_unfit(message.study, done)
        self._replies.release(task.parcel, answer, record)

    def _say_unfit(self, study: Study, done: OpenDone) -> None:
        """Say on the site's own console that its labels may be those of another study; a log gets no more than that."""
        faults = [f"no patient to train on is {name}" for name in done.absent_classes]
        if done.unknown_labels:
            faults.append(f"{done.unknown_labels:,} images have a label that it does not know")
        if faults:
            look = about_site(self._site.folder / FILE_NAME, "data", "--study", "FILE")
            told = "The labels may not fit {study}: {faults}. Look, with its file: {look}"
            self._site.say(remark(told, level="warning", study=study.name, faults="; ".join(faults), look=look))

    def _note_images(self, study: Study) -> None:
        """Hold the site to the list of images that it opens the study with."""
        site, digest = self._site, study.digest()
        if (manifest := ImageLists(site.folder).commit(digest)) is not None:
            said = {"study": study.name, "study_digest": digest, "manifest": manifest}
            site.ledger.append("cohort_manifest", said, time=site.now(), wait=False)  # the release of it waits

    def _worked(self, task: Task, done: RoundDone) -> None:
        message, site = task.message, self._site
        assert isinstance(message, Work) and task.workplace is not None
        record = site.studies.find(message.address.study)
        if record is None:
            raise Refusal(WireCode.UNKNOWN_STUDY)
        update = None
        if isinstance(task.job, RoundJob):
            self._insist(record, done.counts, done.drawn)
            update = written_update(task.workplace, limit=record.contract(site.name).payload_bytes)
            if update is None:
                raise Refusal(WireCode.WORKER_CRASHED)
            if not done.counts.steps:
                insist_on_no_change(site.settings.policy, update=task.workplace / UPDATE_FILE, model=task.job.model)
        asked = task.late or message
        ready = Ready(
            address=asked.address,
            model_digest=asked.model_digest,
            update_digest=update[0] if update else None,
            update_bytes=update[1] if update else 0,
            uploaded=False,
            replayed=False,
            counts=done.counts,
            scores=done.scores,
            seconds=done.seconds,
        )
        (task.workplace / "incoming.safetensors").unlink(missing_ok=True)
        spooled = site.spool.keep(ready, task.workplace, drawn=done.drawn)
        if task.late is not None:
            spooled = site.spool.carry(spooled, message)
        self._report(task.parcel, message, record, spooled, replayed=False)

    def replay(self, parcel: "Parcel", message: Work, record: StudyRecord, done: Spooled) -> None:
        """Report what was finished earlier.

        Raises:
            Refusal: it is below a floor of today, or the door says no.
        """
        self._insist(record, done.ready.counts, done.drawn)
        self._report(parcel, message, record, done, replayed=True)

    def upload(self, parcel: "Parcel", message: Grant, record: StudyRecord, done: Spooled) -> None:
        """Send the update of what was finished and reported; raises as `replay`."""
        self._insist(record, done.ready.counts, done.drawn)
        size = done.ready.update_bytes
        answer = Uploaded(address=message.address, update_digest=message.update_digest, update_bytes=size)
        self._replies.release(parcel, answer, record, payload=done.update)

    def _insist(self, record: StudyRecord, counts: Counts, drawn: Drawn) -> None:
        insist_on_floors(self._site.settings.policy, record.open.study, counts=counts, drawn=drawn)

    def _report(self, parcel: "Parcel", message: Work, record: StudyRecord, done: Spooled, *, replayed: bool) -> None:
        """Say that a round is ready; the update goes along when its slot was granted in advance."""
        payload = done.update if message.slot_bytes >= done.ready.update_bytes > 0 else None
        ready = done.ready.model_copy(
            update={"address": message.address, "uploaded": payload is not None, "replayed": replayed}
        )
        self._replies.release(parcel, ready, record, payload=payload)
