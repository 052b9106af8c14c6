"""A site's work on one study: a pure function of study, round, site, incoming model and data.

The worker process, the stock Flower ClientApp and the simulation all call this; none of them adds
anything to what is computed. Models, data and device stay warm between rounds.
"""

import gc
import platform
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import nn

from client.imaging.augmentations import augmentation
from client.imaging.examples import Examples, SiteData
from client.jobs import Drawn, HeldOut
from client.work.change import IDENTITY, Change, Step, apply
from client.work.compression import compress, joined, kept_table, taken_apart
from client.work.device import ResolvedDevice
from client.work.evaluate import evaluate
from client.work.methods import Method, State, method_for
from client.work.networks import Networks, start_network
from client.work.train import fit
from shared.backbone import misfits
from shared.errors import Refusal, WireCode
from shared.methods import frozen_tensors, own_tensors, travelling
from shared.metrics import Score
from shared.models import load_state, state_arrays
from shared.networks.freezing import slower_parameters
from shared.private_training import scores_may_leave
from shared.randomness import PrivateRandom, StudyRandom
from shared.study import Study
from shared.tasks import task_for
from shared.training import TrainingSpec
from shared.update import PackedFile, Tensors, model_table, pack, table_of, update_table
from shared.version import VERSION
from shared.wire import Counts, Seconds, Software

HELD_OUT: tuple[HeldOut, ...] = ("validation", "test")
_NOTHING = Counts(examples=0, patients=0, steps=0)


@dataclass(frozen=True)
class Worked:
    """What one trip produced.

    `update` is the packed change, None when only scoring was asked. `kept` is what the site keeps for its
    next round and never releases, packed; None if the study keeps nothing. `drawn` stays here, too.
    """

    update: bytes | None
    kept: bytes | None
    counts: Counts
    scores: tuple[Score, ...]
    seconds: Seconds
    drawn: Drawn = field(default_factory=Drawn)


class LocalWork:
    """One study at one site, warm.

    Args:
        study: what is asked.
        site: the site's name; part of every derived random stream.
        data: the site's images, split by patient.
        device: where to compute.
        networks: where the network comes from; its weights are the incoming ones whenever it is used.
        backbone: the file of a frozen one; without it the seed's weights stand for it, as in a rehearsal.
        steps: what is done to a change before it is packed, first to last.
        private: the randomness of a private study.
        withdrawn: keyed hashes of the patients who have withdrawn from the site.
    """

    def __init__(
        self,
        study: Study,
        *,
        site: str,
        data: SiteData,
        device: ResolvedDevice,
        networks: Networks | None = None,
        backbone: Path | None = None,
        steps: tuple[Step, ...] = IDENTITY,
        private: PrivateRandom | None = None,
        withdrawn: Collection[bytes] = (),
    ) -> None:
        self._study = study
        self._site = site
        self._data = data
        self._device = torch.device(device.name)
        self._steps = steps
        self._withdrawn = withdrawn
        self._task = task_for(study.task, spacing_mm=study.images.spacing_mm)
        self._random = StudyRandom(study.study.seed)
        self._private = private or PrivateRandom()
        self._networks = networks or Networks()
        start = start_network(study)
        self._table = model_table(table_of(travelling(start, study)), study.transfer.model_dtype)
        self._sent = update_table(self._table, study.transfer.update_dtype)
        fresh = state_arrays(start)
        self._own = {name: fresh[name] for name in own_tensors(start, study.training)}
        self._frozen = {name: fresh[name] for name in frozen_tensors(start, study)}
        if backbone is not None:
            if misfits(backbone, table_of(fresh), study.model.name):
                raise Refusal(WireCode.PROTOCOL)  # as with other tensors, below
            self._frozen = {name: PackedFile(backbone).tensor(name) for name in self._frozen}
        self._slower = slower_parameters(start, study.backbone, name=study.model.name)

    def _asked(self, number: int) -> TrainingSpec:
        """What the study asks in a round."""
        assert self._study.training is not None
        return self._study.training.at(number, of=self._study.rounds.count)

    def _method(self, asked: TrainingSpec | None) -> Method:
        return method_for(asked, own=self._own, frozen=self._frozen)

    @property
    def _model(self) -> nn.Module:
        return self._networks.network(self._study, self._device)

    def check_tensors(self, tensors: Tensors) -> None:
        """Insist that this wheel's model has exactly the study's tensors.

        Raises:
            Refusal: it does not, so the two sides run different software.
        """
        if self._table != tensors:
            raise Refusal(WireCode.PROTOCOL)

    def train(
        self,
        incoming: Path,
        *,
        kept: Path | None = None,
        model_digest: str,
        number: int,
        on_step: Callable[[int, int | None], None] | None = None,
    ) -> Worked:
        """Score the incoming model on validation patients, then train on it; in a private study only the latter.

        Args:
            incoming: the packed global model.
            kept: `Worked.kept` of the last round that counted; None before the first.
            model_digest: its SHA-256, which the scores name.
            number: the round, counted from 1.
            on_step: as in `client.train.fit`.
        """
        asked = self._asked(number)
        if self._study.privacy is not None:
            return self._train_privately(incoming, kept, asked, on_step=on_step)
        started = time.monotonic()
        before, (own, residual) = dict(PackedFile(incoming).items()), self._kept(kept)
        method = self._method(asked)
        load_state(self._model, method.begin(before, own))
        scores = (self._score("validation", model_digest),) if len(self._data.validation.labels) else ()
        scored = time.monotonic()
        done = fit(
            self._model,
            self._data.train,
            asked,
            task=self._task,
            random=self._random.child("train", number, self._site),
            device=self._device,
            patch=self._study.images.patch,
            augment=augmentation(self._study.images.augment),
            correction=method.correction(before, own),
            slower=self._slower,
            on_step=on_step,
        )
        change, own = method.end(before, own, state_arrays(self._model), steps=done.steps)
        seconds: Seconds = {"score": scored - started, "train": time.monotonic() - scored}
        counts = Counts(examples=done.examples, patients=done.patients, steps=done.steps)
        update, state = self._finished(change, own, residual, steps=done.steps)
        return Worked(update, state, counts, scores, _rounded(seconds), done.drawn)

    def _finished(self, change: Change, own: State, residual: State, *, steps: int) -> tuple[bytes, bytes | None]:
        """The packed update, and what the site keeps for its next round."""
        change = apply(change, self._steps)
        names = [tensor.name for tensor in self._sent if tensor.dtype == "bfloat16"]
        if names and steps:  # of no step nothing may be told
            change, residual = compress(change, residual, names=names)
        kept = joined(own, residual, withdrawn=self._withdrawn)
        return pack(change, self._sent), pack(kept, kept_table(kept)) if kept else None

    def _train_privately(
        self,
        incoming: Path,
        kept: Path | None,
        asked: TrainingSpec,
        *,
        on_step: Callable[[int, int | None], None] | None,
    ) -> Worked:
        """Train; of what is found besides the noised change, nothing is said."""
        from client.work.private_training import fit_privately  # Opacus takes seconds to import

        study, before = self._study, dict(PackedFile(incoming).items())
        assert study.privacy is not None
        method, (own, residual) = self._method(asked), self._kept(kept)
        load_state(self._model, method.begin(before, own))
        steps = fit_privately(
            self._model,
            self._data.train,
            asked,
            study.privacy,
            task=self._task,
            private=self._private,
            device=self._device,
            patch=study.images.patch,
            augment=augmentation(study.images.augment),
            slower=self._slower,
            on_step=on_step,
        )
        change, own = method.end(before, own, state_arrays(self._model), steps=steps)
        update, state = self._finished(change, own, residual, steps=steps)
        return Worked(update, state, Counts(examples=0, patients=0, steps=steps), (), {})

    def score(
        self, incoming: Path, *, kept: Path | None = None, model_digest: str, splits: Sequence[HeldOut] = HELD_OUT
    ) -> Worked:
        """Score a model on patients that it was not trained on: a validation trip, or the closing trip."""
        started = time.monotonic()
        method = self._method(self._study.training)
        load_state(self._model, method.begin(dict(PackedFile(incoming).items()), self._kept(kept)[0]))
        said = (
            split for split in splits if len(self._part(split).labels) and scores_may_leave(self._study.privacy, split)
        )
        scores = tuple(self._score(split, model_digest) for split in said)
        seconds = {} if self._study.privacy else _rounded({"score": time.monotonic() - started})
        return Worked(None, None, _NOTHING, scores, seconds)

    def _kept(self, kept: Path | None) -> tuple[State, State]:
        """What the method kept, and the residual."""
        found = dict(PackedFile(kept).items()) if kept else {}
        return taken_apart(found, withdrawn=self._withdrawn)

    def _part(self, split: HeldOut) -> Examples:
        return self._data.validation if split == "validation" else self._data.test

    def _score(self, split: HeldOut, model_digest: str) -> Score:
        return evaluate(
            self._model,
            self._part(split),
            task=self._task,
            device=self._device,
            model_digest=model_digest,
            split=split,
            patch=self._study.images.patch,
            traits=self._study.task.subgroups if split == "test" else (),
        )


def free_memory() -> None:
    """Give the device's memory of forgotten models back; torch keeps it for later otherwise."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def software() -> Software:
    """Versions that decide a result."""
    return {
        "wardround": VERSION,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": np.__version__,
    }


def _rounded(seconds: Seconds) -> Seconds:
    return {phase: round(value, 3) for phase, value in seconds.items()}
