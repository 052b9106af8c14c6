"""`wardround bench privacy`: what a model loses for what it keeps to itself of a patient, and the bound behind that.

For each epsilon and seed one study among several sites. The AUROC of a point is the mean over its seeds, on the test
patients of all sites together. The images are always divided alike, so every study is scored on the same patients,
and a private one is held against the plain one (`inf`) on them. The bound is measured first (`sensitivity.py`).
What a study asks is `private_study.py`'s matter.
"""

import math
import os
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Group, RenderableType
from rich.text import Text

from client.work.device import use_threads
from deploy.bench.bed import workplace
from deploy.bench.pictures import draw_file
from deploy.bench.private_study import DELTA, Setting, Trained, noise_for, setting_of, train
from deploy.bench.sensitivity import measure
from shared.console import progress_console, table
from shared.errors import ConfigError
from shared.metrics import Integers
from shared.resampling import Figure, bootstrap_interval, difference

DRAWS = 2000
SLACK = 0.01  # between the sites' accountant and the auditor's: other orders of the same composition
_DRAWN_IMAGES = 4800
_KNOWN = Path("pneumoniamnist", "pneumoniamnist.npz")
_METHOD = (
    "AUROC: of the final models on the test patients of all sites, mean over the seeds; its 95 % interval is over "
    "these patients, drawn again within each site, and does not say how far another seed may lead. epsilon_spent: the "
    "most that a site's ledger says a patient paid, recomputed by the auditor's accountant."
)


def run(
    *, epsilons: Sequence[float], npz: Path | None, scheme: str, sites: int, rounds: int, rate: float, seeds: int
) -> dict[str, Any]:
    """Measure the bound, then train at each epsilon.

    Args:
        epsilons: of a whole study, for a patient who is in every round; infinity trains plainly.
        npz: the images; without them, PneumoniaMNIST where the tests' images are, and drawn ones elsewhere.
        scheme, sites: how they are divided; see `deploy.partition`.
        rounds: of each study.
        rate: the probability that a patient enters a step.
        seeds: how many, from 0; a seed decides the start model and never the noise.

    Raises:
        ConfigError: the images cannot be divided.
        StudyError: a study did not finish.
    """
    started = time.monotonic()
    use_threads(1)  # for scoring; the sites have a thread each
    with workplace(None) as root:
        file = npz or known_images() or draw_file(root / "drawn.npz", _DRAWN_IMAGES, seed=0)
        setting = setting_of(file, root / "images", scheme=scheme, sites=sites, rounds=rounds, rate=rate)
        bound = measure(setting.asked(seed=0, noise=1.0), next(iter(setting.data.values())).train)
        points, plain = [], None
        for epsilon in sorted(set(epsilons), reverse=True):  # the plain one first
            noise = noise_for(epsilon, rate=rate, steps=setting.steps)
            trained = [_trained(setting, root, epsilon, noise=noise, seed=seed) for seed in range(seeds)]
            points.append(_point(setting, epsilon, noise, trained, plain))
            plain = _mean(trained) if noise is None else plain
    return {
        "file": file.name,
        "partition": scheme,
        "sites": sites,
        "rounds": rounds,
        "patients_per_step": setting.patients_per_step,
        "delta": DELTA,
        "unit": "patient",
        "method": _METHOD,
        "points": points,
        "sensitivity": bound,
        "duplicated_patient_bound_holds": bound["holds"],
        "seconds": round(time.monotonic() - started, 1),
        "load_after": [round(value, 2) for value in os.getloadavg()],
    }


def missed(data: dict[str, Any]) -> Iterator[str]:
    """What a run promised and did not keep."""
    if not data["duplicated_patient_bound_holds"]:
        yield "A patient changed a step's sum by more than one clip norm, or the clip norm was not what bounded it."
    for point in data["points"]:
        spent = point["epsilon_spent"]
        if spent is not None and spent > float(point["epsilon"]) * (1 + SLACK):
            yield f"At epsilon {point['epsilon']} the ledgers say that a patient paid {spent:.2f}."


def show(data: dict[str, Any]) -> RenderableType:
    """A row per epsilon, then the bound."""
    columns = ("epsilon", "spent", "noise", "steps", "AUROC", "95 % interval", "minus plain", "of each seed")
    bound = data["sensitivity"]
    added = ", ".join(f"{norm:.3f}" for norm in bound["removed"])
    again = ", ".join(f"{norm:.3f} if each comes {times} times" for times, norm in bound["duplicated"].items())
    words = (
        f"\n{data['file']}, {data['sites']} sites, delta {data['delta']:g}, {data['seconds']:.0f} s. What a patient of"
        f" {', '.join(map(str, bound['images_of_patients']))} images adds to a step's sum, in clip norms: {added}; the"
        f" first, {again}.\n\n{data['method']}"
    )
    return Group(table(columns, map(_row, data["points"])), Text(words))


def known_images() -> Path | None:
    """PneumoniaMNIST under WARDROUND_DATA, or in shared/data beside this checkout; None if it is not there."""
    folder = os.environ.get("WARDROUND_DATA") or Path(__file__).parents[3] / "shared" / "data"
    file = Path(folder) / _KNOWN
    return file if file.is_file() else None


def epsilons_of(text: str) -> tuple[float, ...]:
    """Numbers divided by commas, `inf` among them.

    Raises:
        ConfigError: one is no number above zero.
    """
    try:
        found = tuple(float(part) for part in text.split(","))
    except ValueError:
        found = ()
    if not found or not all(epsilon > 0 for epsilon in found):
        raise ConfigError(
            f"--epsilon takes numbers above zero, or inf, divided by commas; found {text!r}.",
            remedy="Write for example --epsilon 8,inf.",
        )
    return found


def _trained(setting: Setting, root: Path, epsilon: float, *, noise: float | None, seed: int) -> Trained:
    progress_console().print(f"Epsilon {epsilon:g}, seed {seed} ...")
    return train(setting, root / f"epsilon-{epsilon:g}-{seed}", seed=seed, noise=noise)


def _point(
    setting: Setting, epsilon: float, noise: float | None, trained: Sequence[Trained], plain: Figure | None
) -> dict[str, Any]:
    mean, strata = _mean(trained), trained[0].strata
    return {
        "epsilon": "inf" if math.isinf(epsilon) else epsilon,
        "epsilon_spent": None if noise is None else max(one.epsilon or 0.0 for one in trained),
        "noise_multiplier": noise,
        "sampling_rate": None if noise is None else setting.rate,
        "steps": setting.steps,
        **(_interval(mean, strata) or {"auroc": None, "interval": None}),
        "minus_plain": None if noise is None else _interval(difference(mean, plain), strata),
        "seeds": [{"seed": n} | (_interval(one.auroc, strata) or {}) for n, one in enumerate(trained)],
    }


def _mean(trained: Sequence[Trained]) -> Figure | None:
    """Of all seeds; None if one has no figure."""
    figures = [one.auroc for one in trained if one.auroc is not None]
    if len(figures) < len(trained):
        return None
    return lambda weights: np.asarray(np.mean([figure(weights) for figure in figures], axis=0))


def _interval(figure: Figure | None, strata: Integers) -> dict[str, Any] | None:
    found = bootstrap_interval(figure, strata, rng=np.random.default_rng(0), draws=DRAWS)
    if found is None:
        return None
    return {"auroc": round(found.value, 4), "interval": [round(found.low, 4), round(found.high, 4)]}


def _row(point: dict[str, Any]) -> tuple[str, ...]:
    spent, noise, less = point["epsilon_spent"], point["noise_multiplier"], point["minus_plain"]
    return (
        str(point["epsilon"]),
        "" if spent is None else f"{spent:.2f}",
        "" if noise is None else f"{noise:.2f}",
        str(point["steps"]),
        "none" if point["auroc"] is None else f"{point['auroc']:.4f}",
        _span(point["interval"], ".3f"),
        "" if less is None else _span(less["interval"], "+.3f"),
        ", ".join(f"{one['auroc']:.3f}" for one in point["seeds"] if "auroc" in one),
    )


def _span(interval: Sequence[float] | None, form: str) -> str:
    return "" if interval is None else f"{interval[0]:{form}} to {interval[1]:{form}}"
