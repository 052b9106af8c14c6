"""What the worker keeps warm: the site's settings, its device, and one `LocalWork` per study."""

import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from client.backbones import Backbones
from client.image_lists import ImageLists
from client.imaging.absent import MANY_ASIDE, absent_classes
from client.imaging.cache import prepare
from client.imaging.catalogue import Row
from client.imaging.examples import Examples, SiteData
from client.imaging.examples import Split as Part
from client.imaging.reasons import Reason
from client.imaging.screening import Screen
from client.jobs import (
    STATE_FILE,
    UPDATE_FILE,
    CloseJob,
    OpenDone,
    OpenJob,
    Place,
    ProbeDone,
    RehearseDone,
    RehearseJob,
    RoundDone,
    RoundJob,
    ScoreJob,
    Split,
)
from client.privacy.patients import patient_key
from client.privacy.training_patients import TrainingPatients
from client.privacy.withdrawn import Withdrawn
from client.settings import load_settings
from client.study_store import open_digests
from client.work.cache_room import CacheRoom
from client.work.device import (
    ResolvedDevice,
    is_lost,
    make_repeatable,
    memory_of,
    resolve_device,
    try_out,
    use_threads,
)
from client.work.failure import is_memory
from client.work.local_work import LocalWork, Worked, free_memory, software
from client.work.networks import Networks
from client.work.rehearsed_work import Rehearsing
from client.work.sharing import keep_within, wait_until_free, yield_to_others
from shared.enrolment import read_invitation
from shared.errors import Refusal, ResourceError, WardroundError, WireCode
from shared.study import Study


class Workbench:
    """All studies of one site, by study digest; data and models load once.

    Args:
        folder: the site's.
        networks: those of the process, where several sites share it.
    """

    def __init__(self, folder: Path, networks: Networks | None = None) -> None:
        self._networks = networks or Networks()
        self._folder = folder
        self._settings = load_settings(folder / "site.toml")
        yield_to_others(self._settings.compute)
        self._threads = use_threads(self._settings.compute.threads)
        self._device: ResolvedDevice | None = None
        self._works: dict[str, LocalWork] = {}
        self._training = TrainingPatients(folder)
        self._withdrawn: frozenset[bytes] = frozenset()  # of whom nothing is warm

    def probe(self) -> ProbeDone:
        """Find the device that the configuration asks for, and compute on it."""
        device = self._resolve()
        try:
            try_out(device)
        except (ResourceError, RuntimeError) as error:
            raise Refusal(WireCode.OUT_OF_MEMORY if is_memory(error) else WireCode.DEVICE) from error
        free, whole = memory_of(device)
        share = self._settings.compute.gpu_memory_fraction if device.kind == "cuda" else 1.0
        return ProbeDone(place=self._place(), free_bytes=min(free, int(share * whole)), whole_bytes=whole)

    def has_lost_its_device(self) -> bool:
        """Whether nothing can be computed any more in this process."""
        return self._device is not None and is_lost(self._device)

    def open(self, job: OpenJob) -> OpenDone:
        """Read the data anew, check the model's tensors, and count; of a private study say who would train instead."""
        self._resolve()
        screen = Screen(patient_key(self._folder), withdrawn=Withdrawn(self._folder).patients())
        lists, digest = ImageLists(self._folder), job.study.digest()
        data = self._data(job.study, screen, note=lambda rows: lists.offer(digest, rows))
        if not len(data.train.labels) and job.study.study.kind == "train":
            raise Refusal(WireCode.NO_DATA)
        self._forget(job.study.digest())  # before the new one: both may not fit the device
        self._work(job.study, data).check_tensors(job.tensors)
        if job.study.privacy:
            self._training.offer(job.study.digest(), frozenset(screen.training))
            self._forget(job.study.digest())  # rounds train those alone whom the budget has taken in
        said = {} if job.study.privacy else _splits(data)  # a private study is opened without counts
        return OpenDone(
            place=self._place(),
            patients={name: _patients(part) for name, part in said.items()},
            examples={name: len(part.labels) for name, part in said.items()},
            software=software(),
            **_unfit(data, job.study),
        )

    def round(self, job: RoundJob, *, on_step: Callable[[int, int | None], None]) -> RoundDone:
        """Train one round; write the update, and what the site keeps of the round, beside the agent's spool."""
        wait_until_free(self._settings.compute, self._resolve().name)
        done = self._work(job.study).train(
            job.model, kept=job.state, model_digest=job.model_digest, number=job.round, on_step=on_step
        )
        assert done.update is not None
        (job.out / UPDATE_FILE).write_bytes(done.update)
        if done.kept is not None:
            (job.out / STATE_FILE).write_bytes(done.kept)
        return _done(done)

    def score(self, job: ScoreJob) -> RoundDone:
        """Score a model on the held-out patients that are asked for."""
        work = self._work(job.study)
        return _done(work.score(job.model, kept=job.state, model_digest=job.model_digest, splits=job.splits))

    def rehearse(self, job: RehearseJob) -> RehearseDone:
        """Do once what a round would ask; nothing of it is kept but the images in the cache."""
        return Rehearsing(
            site=self._settings.site.name,
            place=self._place,
            device=self._resolve,
            data=partial(self._data, noting_use=False),
            smallest_cell=self._settings.policy.smallest_cell,
        ).do(job)

    def close(self, job: CloseJob) -> None:
        """Let a study go, and with its model the device's memory."""
        self._forget(job.study_digest)
        free_memory()

    def _forget(self, study_digest: str) -> None:
        if self._works.pop(study_digest, None) is not None:
            self._networks.forget(study_digest)

    def _resolve(self) -> ResolvedDevice:
        if self._device is None:
            try:
                self._device = resolve_device(self._settings.compute.device)
            except WardroundError as error:
                raise Refusal(WireCode.DEVICE) from error
            print(f"Results are {make_repeatable(self._device)}.", file=sys.stderr)
            keep_within(self._settings.compute, self._device.name)
        return self._device

    def _place(self) -> Place:
        device = self._resolve()
        fell_back = self._settings.compute.device == "auto" and device.kind == "cpu"
        return Place(device=device.name, reason=device.reason, fell_back=fell_back, threads=self._threads)

    def _data(
        self,
        study: Study,
        screen: Screen | None = None,
        note: Callable[[tuple[Row, ...]], None] | None = None,
        noting_use: bool = True,
    ) -> SiteData:
        invitation = read_invitation((self._folder / "invitation.json").read_bytes())
        return prepare(
            self._settings.data,
            task=study.task,
            images=study.images,
            salt=bytes.fromhex(invitation.patient_salt),
            base=self._folder,
            cache=self._folder / "cache",
            labels=self._settings.labels,
            clinical=study.clinical,
            screen=screen or self._screen(study),
            note=note,
            room=self._room(study, noting_use=noting_use),
        )

    def _room(self, study: Study, *, noting_use: bool) -> CacheRoom:
        return CacheRoom(
            self._folder / "cache",
            self._settings.disk,
            user=study.digest() if noting_use else None,
            running=lambda: open_digests(self._folder / "state"),
            clock=time.time,
        )

    def _screen(self, study: Study) -> Screen:
        """Once a private study is open, nobody trains who was not there then."""
        agreed = self._training.agreed(study.digest()) if study.privacy else None
        if agreed is not None and not agreed:
            raise Refusal(WireCode.UNKNOWN_STUDY)
        return Screen(patient_key(self._folder), withdrawn=self._withdrawn, agreed=agreed)

    def _work(self, study: Study, data: SiteData | None = None) -> LocalWork:
        key, withdrawn = study.digest(), Withdrawn(self._folder).patients()
        if data is None and withdrawn != self._withdrawn:  # what is warm may hold who has withdrawn since
            for other in tuple(self._works):
                self._forget(other)
            self._withdrawn = withdrawn
        if key not in self._works:
            self._works[key] = LocalWork(
                study,
                site=self._settings.site.name,
                data=data or self._data(study),
                device=self._resolve(),
                networks=self._networks,
                backbone=self._backbone(study),
                withdrawn=withdrawn,
            )
        return self._works[key]

    def _backbone(self, study: Study) -> Path | None:
        """The file of a frozen one; an opening brings it, so a study whose backbone is gone is opened anew."""
        if study.backbone is None or not study.backbone.frozen:
            return None
        found = Backbones(self._folder).find(study.backbone.sha256)
        if found is None:
            raise Refusal(WireCode.UNKNOWN_STUDY)
        return found


def _splits(data: SiteData) -> dict[Split, Examples]:
    return {"train": data.train, "validation": data.validation, "test": data.test}


def _patients(part: Examples) -> int:
    return len(set(part.patients.tolist()))


def _unfit(data: SiteData, study: Study) -> dict[str, Any]:
    """What of the labels does not fit the study, as `OpenDone` says it."""
    training = data.counts.classes[Part.TRAIN] if study.study.kind == "train" else {}
    unknown = data.counts.set_aside.get(Reason.LABEL_UNKNOWN, 0)
    many = unknown > MANY_ASIDE * data.counts.found
    return {"absent_classes": absent_classes(training, study.task), "unknown_labels": unknown if many else 0}


def _done(done: Worked) -> RoundDone:
    return RoundDone(counts=done.counts, scores=done.scores, seconds=done.seconds, drawn=done.drawn)
