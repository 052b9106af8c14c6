"""One study of `wardround bench privacy`: what it asks at an epsilon, its run, and what its sites' ledgers say it cost.

The noise is the least that keeps a patient of all rounds within the epsilon; an infinite one leaves `[privacy]`
out, and as many steps are trained plainly. The study is run by the ServerApp and the ClientApp themselves, over sites
in this process (`deploy.simulation`), and is scored here on the test patients of all of them.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from client.imaging.cache import prepare
from client.imaging.examples import SiteData, Split
from client.receipts import LEDGER_FILE
from deploy.audit.accounting import epsilon_of_runs
from deploy.audit.spending import spent
from deploy.bench.trial import Trial
from deploy.demo.cast import npz_cast
from deploy.simulation.in_process import available_cores
from deploy.simulation.run import run as simulate
from deploy.simulation.virtual import Wish
from server.clone import toml_of
from server.launch import FINAL_MODEL
from shared.classification import Classification
from shared.ledger import read_entries
from shared.metrics import Integers
from shared.privacy import Mechanism, epsilon_of
from shared.resampling import Figure, macro_auroc
from shared.study import Study

DELTA = 1e-6
_SEED = 0  # of the division, which is the same for all studies
_STEPS_PER_ROUND = 5
_MODEL = {"name": "basic_cnn", "norm": "group", "width": 32}
_PRIVATE = {"optimizer": "sgd", "learning_rate": 1.0, "momentum": 0.0, "batch_size": 64}
_PLAIN = {"optimizer": "sgd", "learning_rate": 0.05, "momentum": 0.9, "batch_size": 64}
_FINEST = 1.001  # between the noise that is found and the least


@dataclass(frozen=True)
class Setting:
    """What all studies of a bench have in common.

    Attributes:
        npz, scheme: the images, and how they are divided; see `deploy.partition`.
        data: what each site gets of them.
        study: task, images and rounds.
        rate: the probability that a patient enters a step.
    """

    npz: Path
    scheme: str
    data: Mapping[str, SiteData]
    study: Study
    rate: float

    @property
    def steps(self) -> int:
        """Of a whole study."""
        return self.study.rounds.count * _STEPS_PER_ROUND

    @property
    def patients_per_step(self) -> int:
        """How many enter a step of a mean site."""
        patients = sum(site.counts.patients[Split.TRAIN] for site in self.data.values())
        return max(1, round(self.rate * patients / len(self.data)))

    def asked(self, *, seed: int, noise: float | None) -> Study:
        """The study with so much noise, in clip norms; None trains plainly."""
        values: dict[str, Any] = self.study.model_dump(exclude_none=True)
        values["study"] |= {"name": "private", "seed": seed}
        values |= {"model": _MODEL, "training": _PLAIN | {"steps_per_round": _STEPS_PER_ROUND}}
        if noise is not None:
            values["training"] |= _PRIVATE
            values["privacy"] = {
                "noise_multiplier": noise,
                "sampling_rate": self.rate,
                "patients_per_step": self.patients_per_step,
                "delta": DELTA,
            }
        return Study.model_validate(values)


class Trained(NamedTuple):
    """What one study gave.

    `auroc` is the final model's on the test patients of all sites (None where they are all alike), `strata` the
    number of each one's site; `epsilon` the most that a ledger says a patient paid, recomputed (None without noise).
    """

    auroc: Figure | None
    strata: Integers
    epsilon: float | None


def setting_of(npz: Path, root: Path, *, scheme: str, sites: int, rounds: int, rate: float) -> Setting:
    """Divide the images over sites, under an empty folder.

    Raises:
        ConfigError: they cannot be divided so.
    """
    cast = npz_cast(root, npz, scheme=scheme, sites=sites, rounds=rounds, seed=_SEED)
    task, images, salt = cast.study.task, cast.study.images, bytes(16)  # patients of a benchmark are nobody's secret
    data = {
        name: prepare(settings, task=task, images=images, salt=salt, base=root, cache=root / name / "cache")
        for name, settings in cast.data.items()
    }
    return Setting(npz, scheme, data, cast.study, rate)


def noise_for(epsilon: float, *, rate: float, steps: int) -> float | None:
    """The least noise multiplier, within a thousandth, that costs no more at `DELTA`; None for an infinite epsilon."""
    if math.isinf(epsilon):
        return None
    low, high = 0.2, 1000.0
    while high / low > _FINEST:
        middle = math.sqrt(low * high)
        run = Mechanism(noise_multiplier=middle, sampling_rate=rate, images_per_patient=1, steps=steps)
        low, high = (low, middle) if epsilon_of((run,), delta=DELTA) <= epsilon else (middle, high)
    return high


def train(setting: Setting, folder: Path, *, seed: int, noise: float | None) -> Trained:
    """Run one study under a new folder.

    Raises:
        StudyError: the study did not finish.
    """
    asked = setting.asked(seed=seed, noise=noise)
    (scored := folder / "scored").mkdir(parents=True)
    (file := folder / "study.toml").write_text(toml_of(asked, asked.name), encoding="utf-8")
    wish = Wish(file, setting.npz, setting.scheme, len(setting.data), rounds=None, seed=_SEED, device="cpu")
    cores = available_cores()
    done = simulate(folder, wish, ray=False, cluster=None, cores=cores, plain_loop=False, say=lambda _: None)
    trial = Trial(asked, setting.data, scored)
    trial.model = Path(done["study_folder"]) / FINAL_MODEL
    logits, targets, strata = trial.test_logits()
    ledgers = (folder / "sites" / name / LEDGER_FILE for name in setting.data)
    return Trained(
        macro_auroc(*Classification(asked.task).one_vs_rest(logits, targets)),
        strata,
        None if noise is None else max(map(_charged, ledgers)),
    )


def _charged(ledger: Path) -> float:
    """By the auditor's own accounting."""
    return epsilon_of_runs(spent(read_entries(ledger)).history, delta=DELTA)
