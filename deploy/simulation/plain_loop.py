"""The bare loop that a simulation is measured against: the same local work, and nobody between the sites.

Each site scores and trains on the start model by the very code that its ClientApp runs; the changes are
averaged in place. There is no message, no signature, no ledger, no spool and no check.
"""

import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Lock

import numpy as np
import safetensors.numpy
import torch

from client.imaging.cache import prepare
from client.imaging.examples import SiteData
from client.settings import load_settings
from client.work.device import resolve_device, use_threads
from client.work.local_work import LocalWork, Worked
from client.work.networks import Networks
from server.launch import START_MODEL
from server.study_folder import StudyFolder
from shared.canonical import digest
from shared.enrolment import read_invitation
from shared.study import Study
from shared.update import Array


class _Mean:
    """Weighted sum of changes, by tensor; it holds one model however many come."""

    def __init__(self) -> None:
        self._total: dict[str, Array] = {}
        self._lock = Lock()

    def add(self, done: Worked) -> None:
        assert done.update is not None
        with self._lock:
            for name, value in safetensors.numpy.load(done.update).items():
                self._total[name] = self._total.get(name, 0.0) + value.astype(np.float64) * done.counts.examples


class PlainLoop:
    """One round of a study's local work, as often as wanted.

    Args:
        study: as it was queued.
        sites: the folders of its sites, whose images are decoded.
        device: where to compute.
    """

    def __init__(self, study: StudyFolder, sites: Sequence[Path], *, device: str) -> None:
        self._study, self._start = study.study(), study.path / START_MODEL
        self._digest = digest(self._start.read_bytes())
        self._networks = Networks()
        self._place = resolve_device(device)
        self._works = [self._work(folder) for folder in sites]

    def run(self, *, lanes: int) -> float:
        """Seconds of one round on so many threads, the networks built before."""
        mean = _Mean()
        with ThreadPoolExecutor(lanes, initializer=self._begin) as pool:
            list(pool.map(lambda _: time.sleep(0.01), range(2 * lanes)))  # every thread is there
            started = time.monotonic()
            list(pool.map(lambda work: mean.add(self._train(work)), self._works))
            return time.monotonic() - started

    def _begin(self) -> None:
        use_threads(1)
        self._networks.network(self._study, torch.device(self._place.name))

    def _work(self, folder: Path) -> LocalWork:
        data = _data(folder, self._study)
        return LocalWork(self._study, site=folder.name, data=data, device=self._place, networks=self._networks)

    def _train(self, work: LocalWork) -> Worked:
        return work.train(self._start, model_digest=self._digest, number=1)


def _data(folder: Path, study: Study) -> SiteData:
    invitation = read_invitation((folder / "invitation.json").read_bytes())
    settings = load_settings(folder / "site.toml")
    return prepare(
        settings.data,
        task=study.task,
        images=study.images,
        salt=bytes.fromhex(invitation.patient_salt),
        base=folder,
        cache=folder / "cache",
        labels=settings.labels,
        clinical=study.clinical,
    )
