"""`wardround bench methods`: our server optimizers beside Flower's, and every method on the same images.

The first part needs no data. The second divides an array file over sites, once for each seed, runs each
method's study in this process (`trial`), and scores the final model on the test patients of all sites
together. A method is compared with FedAvg on the same patients. The method that `study check` would
advise from the sites' label counts has to reach the aim on every seed.
"""

import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from rich.console import Group, RenderableType
from rich.text import Text

from client.device import use_threads
from client.imaging.cache import prepare
from client.imaging.examples import SiteData, Split
from client.imaging.settings import DataSettings
from deploy.bench.bed import workplace
from deploy.bench.flower_rules import differences
from deploy.bench.trial import Trial
from deploy.demo.cast import Cast, npz_cast
from server.advice import advise
from shared.console import progress_console, table
from shared.errors import ConfigError
from shared.metrics import Floats, Integers, Interval, bootstrap_interval, paired_interval
from shared.study import Study
from shared.tasks import task_for

LARGEST_DIFFERENCE = 1e-6
DRAWS = 2000
PLAIN = "fedavg"
METHODS: dict[str, dict[str, dict[str, Any]]] = {
    "fedavg": {},
    "fedprox": {"training": {"algorithm": "fedprox", "proximal_mu": 0.1}},
    "fednova": {"training": {"algorithm": "fednova"}},
    "fedbn": {"training": {"algorithm": "fedbn"}},
    "scaffold": {"training": {"algorithm": "scaffold", "momentum": 0.0, "learning_rate": 0.15}},
    "fedavgm": {"server": {"optimizer": "fedavgm", "momentum": 0.5}},
    "fedadam": {"server": {"optimizer": "fedadam", "learning_rate": 0.01}},
    "fedyogi": {"server": {"optimizer": "fedyogi"}},
    "fedadagrad": {"server": {"optimizer": "fedadagrad", "learning_rate": 0.02}},
}


class Ranked(NamedTuple):
    """What ranks the test patients, who is positive, and the number of each one's site."""

    margins: Floats
    truth: np.ndarray[Any, np.dtype[np.bool_]]
    strata: Integers


def run(
    *,
    npz: Path | None,
    scheme: str,
    sites: int,
    rounds: int,
    seeds: int,
    methods: Sequence[str] = tuple(METHODS),
    aim: float | None = None,
) -> dict[str, Any]:
    """Compare the optimizers with Flower's and, where a file is given, the methods with each other.

    Args:
        npz: the array file; None leaves the second part out.
        scheme, sites: how it is divided; see `deploy.partition`.
        rounds: of each study.
        seeds: how many, from 0.
        methods: of `METHODS`; compared with FedAvg, if it is among them.
        aim: AUROC that the advised method must reach on every seed; None asks for nothing.

    Raises:
        ConfigError: a method is not known, or the file cannot be divided.
    """
    if unknown := set(methods) - METHODS.keys():
        raise ConfigError(
            f"--methods takes other names than {', '.join(sorted(unknown))}.", remedy=f"Known: {', '.join(METHODS)}."
        )
    started = time.monotonic()
    with workplace(None) as root:
        (root / "flower").mkdir()
        data: dict[str, Any] = {"flower": differences(root / "flower"), "aim": aim, "seeds": []}
        if npz is not None:
            use_threads(1)  # more change the last bits, and the machine's number would decide the figures
            asked = [name for name in METHODS if name in methods]
            data |= {"file": npz.name, "partition": scheme, "sites": sites, "rounds": rounds}
            for seed in range(seeds):
                place = root / f"seed-{seed}"
                cast = npz_cast(place, npz, scheme=scheme, sites=sites, rounds=rounds, seed=seed)
                data["seeds"].append(_compare(cast, place, asked))
    return data | {"wall_s": round(time.monotonic() - started, 1)}


def missed(data: dict[str, Any]) -> Iterator[str]:
    """What a run promised and did not keep."""
    for name, difference in data["flower"].items():
        if not difference <= LARGEST_DIFFERENCE:
            yield f"{name} differs from Flower's by {difference:.1e}."
    for case in data["seeds"]:
        found = case["methods"].get(case["advised"], {}).get("auroc")
        if data["aim"] is not None and found is not None and found < data["aim"]:
            yield f"Seed {case['seed']}: the advised {case['advised']} reaches {found:.4f}, below {data['aim']}."


def show(data: dict[str, Any]) -> RenderableType:
    """The differences, then a row per seed and method."""
    parts: list[RenderableType] = [
        table(("optimizer", "largest difference to Flower's"), ((k, f"{v:.1e}") for k, v in data["flower"].items()))
    ]
    if data["seeds"]:
        columns = ("seed", "method", "AUROC", "95 %", "minus FedAvg", "95 %")
        rows = (_row(case, name) for case in data["seeds"] for name in case["methods"])
        parts += [Text(""), table(columns, rows), Text("\n* what `study check` advises from the sites' label counts")]
    return Group(*parts)


def _row(case: dict[str, Any], name: str) -> tuple[str, ...]:
    found, less = case["methods"][name], case["minus_fedavg"].get(name)
    star = " *" if name == case["advised"] else ""
    return (
        *(str(case["seed"]), name + star, *_estimate(found)),
        *(_estimate(less) if less else ("", "")),
    )


def _estimate(found: dict[str, float | None]) -> tuple[str, str]:
    if found["auroc"] is None:
        return "none", ""
    return f"{found['auroc']:.4f}", f"{found['low']:.4f} to {found['high']:.4f}"


def _compare(cast: Cast, folder: Path, methods: Sequence[str]) -> dict[str, Any]:
    """Every method on one division of the file."""
    study, seed = cast.study, cast.study.study.seed
    data = {name: _prepared(settings, study, folder) for name, settings in cast.data.items()}
    ranked, seconds = dict[str, Ranked](), dict[str, float]()
    for name in methods:
        progress_console().print(f"Seed {seed}: {name} ...")
        began = time.monotonic()
        (place := folder / f"study-{name}").mkdir()
        trial = Trial(varied(study, name), data, place)
        trial.run()
        ranked[name], seconds[name] = _ranked(trial), round(time.monotonic() - began, 1)
    others = ranked.keys() - {PLAIN} if PLAIN in ranked else set()
    labels = {name: dict(site.counts.classes[Split.TRAIN]) for name, site in data.items()}
    advised = advise(labels)
    return {
        "seed": seed,
        "labels": labels,
        "skew": round(advised.skew, 4),
        "advised": advised.training["algorithm"],
        "methods": {name: _figures(one, seed) for name, one in ranked.items()},
        "minus_fedavg": {name: _less(one, ranked[PLAIN], seed) for name, one in ranked.items() if name in others},
        "seconds": seconds,
    }


def _prepared(settings: DataSettings, study: Study, folder: Path) -> SiteData:
    salt = bytes(16)  # patients of a benchmark are nobody's secret
    return prepare(settings, task=study.task, images=study.images, salt=salt, base=folder, cache=folder / "cache")


def varied(study: Study, method: str) -> Study:
    """The study by another method."""
    plain = study.model_dump()
    for section, keys in METHODS[method].items():
        plain[section] = keys if section == "server" else plain[section] | keys
    return Study.model_validate(plain)


def _ranked(trial: Trial) -> Ranked:
    logits, targets, strata = trial.test_logits()
    return Ranked(*task_for(trial.study.task).one_vs_rest(logits, targets), strata)


def _figures(one: Ranked, seed: int) -> dict[str, float | None]:
    rng = np.random.default_rng(seed)
    return _named(bootstrap_interval(one.margins, one.truth, one.strata, rng=rng, draws=DRAWS))


def _less(one: Ranked, other: Ranked, seed: int) -> dict[str, float | None]:
    """What a method has more than another, on the same patients."""
    rng = np.random.default_rng(seed)
    return _named(paired_interval(one.margins, other.margins, one.truth, one.strata, rng=rng, draws=DRAWS))


def _named(found: Interval | None) -> dict[str, float | None]:
    value, low, high = (None, None, None) if found is None else (round(float(v), 4) for v in found)
    return {"auroc": value, "low": low, "high": high}
