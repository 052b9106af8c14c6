"""The comparison that a demo owes: each site alone, federated, pooled, on the same test patients.

Runs in a process of its own (`python -m deploy.demo.compare`), because it needs torch and all
sites' images at once, which no real federation has. Each local model gets its site's own number of
optimiser steps, the pooled model the sum of all, at the learning rates of the study's rounds and by its loss and
sampling; all start from the study's start model. By which figures they
are compared is `deploy/demo/yardstick.py`'s.
"""

import json
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from client.imaging.augmentations import augmentation
from client.imaging.cache import prepare
from client.imaging.examples import Examples, SiteData
from client.settings import load_settings
from client.work.device import use_threads
from client.work.evaluate import measured_by_patient
from client.work.networks import start_network
from client.work.train import fit
from deploy.demo.yardstick import Named, beside, counted, figure_of, named
from shared.enrolment import read_invitation
from shared.metrics import Interval
from shared.models import load_state
from shared.networks.freezing import slower_parameters
from shared.parent import end_if_asked
from shared.randomness import StudyRandom
from shared.resampling import Figure, bootstrap_interval, difference
from shared.study import Study
from shared.tasks import task_for
from shared.update import PackedFile

DRAWS = 2000


@dataclass(frozen=True)
class Scored:
    """One model on the union of all sites' test patients, and on that of validation patients."""

    test: np.ndarray[Any, Any]  # (patients, columns), what the task measures
    validation: np.ndarray[Any, Any]


class Comparison:
    """All models of one demo, scored on the same patients.

    Args:
        study: what was run.
        sites: each site's images by name; in the order of the names.
        start: the packed start model.
        backbone: the file of the study's backbone, if it has one.
        say: hears which model is trained next.
    """

    def __init__(
        self,
        study: Study,
        sites: Mapping[str, SiteData],
        *,
        start: Path,
        backbone: Path | None = None,
        say: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._study, self._say = study, say
        self._sites = dict(sorted(sites.items()))
        trained = dict(PackedFile(backbone).items()) if backbone else {}
        self._start = trained | dict(PackedFile(start).items())  # of a frozen backbone the start is the head alone
        self._task = task_for(study.task, spacing_mm=study.images.spacing_mm)
        self._model = start_network(study)
        self._slower = slower_parameters(self._model, study.backbone, name=study.model.name)
        self._test = _union([data.test for data in self._sites.values()])
        self._validation = _union([data.validation for data in self._sites.values()])
        strata = [np.full(data.test.patient_count, i) for i, data in enumerate(self._sites.values())]
        self._strata = np.concatenate(strata)

    def run(self, final: Path) -> dict[str, Any]:
        """Score the federated model, train and score the others; JSON values."""
        load_state(self._model, dict(PackedFile(final).items()))
        federated, local, many = self._score(), {}, len(self._sites) + 1
        for number, (name, data) in enumerate(self._sites.items(), start=1):
            self._say(f"{number} of {many}: {name} alone")
            local[name] = self._trained([data.train])
        self._say(f"{many} of {many}: all pooled")
        pooled = self._trained([data.train for data in self._sites.values()])
        return {
            "test_patients": int(self._test.patient_count),
            "federated": self._figures(federated),
            "local": [{"site": name, **self._figures(scored)} for name, scored in local.items()],
            "pooled": self._figures(pooled),
            "pooled_minus_federated": self._difference(pooled, federated),
            "federated_minus_local": [
                {"site": name, **self._difference(federated, scored)} for name, scored in local.items()
            ],
        }

    def _trained(self, parts: list[Examples]) -> Scored:
        """A model trained on `parts` together, with as many steps as these sites take in the study."""
        spec = self._study.training
        assert spec is not None
        load_state(self._model, self._start)
        examples = parts[0] if len(parts) == 1 else _union(parts)
        random = StudyRandom(self._study.study.seed).child("comparison")
        rounds = self._study.rounds.count
        for number in range(1, rounds + 1):
            steps = sum(_steps(len(part), spec.batch_size, spec.epochs_per_round or 0) for part in parts)
            fit(
                self._model,
                examples,
                spec.at(number, of=rounds).model_copy(
                    update={
                        "epochs_per_round": None,
                        "steps_per_round": len(parts) * (spec.steps_per_round or 0) or steps,
                    }
                ),
                task=self._task,
                random=random.child(number, len(parts)),
                device="cpu",
                augment=augmentation(self._study.images.augment),
                slower=self._slower,
            )
        return self._score()

    def _score(self) -> Scored:
        test, _ = measured_by_patient(self._model, self._test, task=self._task, device="cpu")
        validation, _ = measured_by_patient(self._model, self._validation, task=self._task, device="cpu")
        return Scored(test, validation)

    def _figures(self, scored: Scored) -> dict[str, Any]:
        counts = counted(self._task, scored.test, self._interval)
        return {**named(self._task, self._interval(self._figure(scored))), **self._beside(scored), **counts}

    def _beside(self, scored: Scored) -> Named:
        parts = {"validation": (scored.validation, self._validation), "test": (scored.test, self._test)}
        scores = {
            split: self._task.score(measured, self._targets(part), model_digest="0" * 64, split=split)  # type: ignore[arg-type]
            for split, (measured, part) in parts.items()
        }
        return beside(self._task, scores["validation"], scores["test"])

    def _difference(self, first: Scored, second: Scored) -> Named:
        return named(self._task, self._interval(difference(self._figure(first), self._figure(second))))

    def _figure(self, scored: Scored) -> Figure | None:
        return figure_of(self._task, scored.test, self._targets(self._test))

    def _interval(self, figure: Figure | None) -> Interval | None:
        rng = np.random.default_rng(self._study.study.seed)
        return bootstrap_interval(figure, self._strata, rng=rng, draws=DRAWS)

    def _targets(self, part: Examples) -> np.ndarray[Any, Any]:
        measured = np.zeros((len(part), self._task.columns), np.float32)
        return self._task.by_patient(measured, part.labels, part.patients)[1]


def _steps(examples: int, batch: int, epochs: int) -> int:
    return -(-examples // batch) * epochs


def _union(parts: list[Examples]) -> Examples:
    """Several sites' examples as one; patients stay apart."""
    masks = [part.masks for part in parts if part.masks is not None]
    offsets = np.cumsum([0, *(part.patient_count for part in parts[:-1])])
    return Examples(
        images=np.concatenate([part.images for part in parts]),
        labels=np.concatenate([part.labels for part in parts]),
        patients=np.concatenate([part.patients + o for part, o in zip(parts, offsets, strict=True)]),
        clinical=np.concatenate(known) if (known := [p.clinical for p in parts if p.clinical is not None]) else None,
        masks=np.concatenate(masks) if masks else None,
    )


def _load(folder: Path, study: Study) -> SiteData:
    """A site's images, from the cache that the site itself made."""
    settings = load_settings(folder / "site.toml")
    salt = bytes.fromhex(read_invitation((folder / "invitation.json").read_bytes()).patient_salt)
    return prepare(
        settings.data,
        task=study.task,
        images=study.images,
        salt=salt,
        base=folder,
        cache=folder / "cache",
        labels=settings.labels,
        clinical=study.clinical,
    )


def main() -> None:
    """Read one JSON job from standard input; write what is trained, and in the end what was found, one JSON a line."""
    end_if_asked()
    job = json.load(sys.stdin)
    use_threads(job["threads"])
    torch.use_deterministic_algorithms(mode=True)
    study = Study.model_validate(job["study"])
    sites = {name: _load(Path(folder), study) for name, folder in job["sites"].items()}
    comparison = Comparison(
        study,
        sites,
        start=Path(job["start"]),
        backbone=Path(job["backbone"]) if job["backbone"] else None,
        say=lambda doing: print(json.dumps({"doing": doing}), flush=True),
    )
    print(json.dumps(comparison.run(Path(job["final"]))))


if __name__ == "__main__":
    main()
