"""A study's rounds without its line: the sites' real work, the real fold and step, one after the other here.

For comparing methods. What a site computes and what the server makes of it is what a federation computes
and makes; there is no engine, no door, and no disk that is waited for. Decides no figure.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from client.imaging.examples import SiteData
from client.seen_model import model_change
from client.work.device import resolve_device
from client.work.evaluate import measured_by_patient
from client.work.local_work import LocalWork
from client.work.methods import method_for
from client.work.networks import start_network
from server.aggregate import fold
from server.efforts import efforts_of
from server.launch import start_state
from server.moments import Moments
from server.optimizers import optimizer_for
from shared.canonical import digest
from shared.methods import own_tensors
from shared.metrics import Floats, Integers
from shared.models import load_state, state_arrays
from shared.study import Study
from shared.tasks import task_for
from shared.update import PackedFile, join, pack


@dataclass
class Trial:
    """One study among sites that are all here, and always count.

    Attributes:
        study: what to run.
        sites: each site's images.
        folder: an empty one, for everything.
        kept: by site, what it keeps for itself.
        model: the global model, from `run` on the final one.
    """

    study: Study
    sites: Mapping[str, SiteData]
    folder: Path
    kept: dict[str, Path] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.model = _written(self.folder / "model-0", pack(start_state(self.study)))
        self._moments: Path | None = None

    def run(self) -> None:
        """Take the study through its rounds."""
        device = resolve_device("cpu")
        works = {k: LocalWork(self.study, site=k, data=data, device=device) for k, data in self.sites.items()}
        for number in range(1, self.study.rounds.count + 1):
            done = [self._work(name, work, number) for name, work in works.items()]
            self._step(number, [(n, update) for n, _, update in done], [steps for _, steps, _ in done])

    def test_logits(self) -> tuple[Floats, Integers, Integers]:
        """The final model, with each site's own layers at that site, on all test patients.

        Returns:
            (patients, outputs) logits, the patients' targets, and (patients,) the number of each one's site.
        """
        study, incoming = self.study, dict(PackedFile(self.model).items())
        network, task = start_network(study), task_for(study.task)
        fresh = state_arrays(network)
        own = {name: fresh[name] for name in own_tensors(network, study.training)}
        method = method_for(study.training, own=own, frozen={})
        found = []
        for number, (name, data) in enumerate(self.sites.items()):
            kept = dict(PackedFile(self.kept[name]).items()) if name in self.kept else {}
            load_state(network, method.begin(incoming, kept))
            logits, targets = measured_by_patient(network, data.test, task=task, device="cpu")
            found.append((logits, targets, np.full(len(logits), number)))
        logits, targets, strata = (np.concatenate(parts) for parts in zip(*found, strict=True))
        return logits, targets, strata

    def largest_move(self, *, apart: int = 1) -> float:
        """How far the model moved at most in a round, as a site finds that is asked every `apart` rounds."""
        models = [self.folder / f"model-{number}" for number in range(self.study.rounds.count + 1)]
        pairs = zip(models[apart:], models, strict=False)
        found = (model_change(model, before, rounds=apart) for model, before in pairs)
        return max((moved for moved in found if moved is not None), default=0.0)

    def _work(self, name: str, work: LocalWork, number: int) -> tuple[int, int, PackedFile]:
        """One site's round: its examples, its steps, its update."""
        done = work.train(self.model, kept=self.kept.get(name), model_digest=self._digest, number=number)
        assert done.update is not None
        if done.kept is not None:
            self.kept[name] = _written(self.folder / f"kept-{name}", done.kept)
        update = _written(self.folder / f"update-{name}", done.update)
        return done.counts.examples, done.counts.steps, PackedFile(update)

    def _step(self, number: int, updates: Sequence[tuple[int, PackedFile]], steps: Sequence[int]) -> None:
        model, rule = PackedFile(self.model), optimizer_for(self.study.server)
        aggregate = fold(updates, model, efforts=efforts_of(self.study.training, steps))
        target = self.folder / f"moments-{number}"
        with Moments(target, kinds=rule.kinds, tensors=model.table(), number=number, last=self._moments) as moments:
            state = join(model.table(), rule.step(model, aggregate, moments))
            self._moments = target if moments.finish() else None
        self.model = _written(self.folder / f"model-{number}", pack(state))

    @property
    def _digest(self) -> str:
        return digest(self.model.read_bytes())


def _written(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path
