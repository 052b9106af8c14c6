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

from client.imaging.cache import prepare
from client.imaging.examples import SiteData, Split
from client.imaging.settings import DataSettings
from client.work.device import use_threads
from deploy.bench.bed import workplace
from deploy.bench.flower_rules import differences
from deploy.bench.trial import Trial
from deploy.demo.cast import Cast, npz_cast
from server.advice import advise
from shared.classification import Classification
from shared.console import progress_console, table
from shared.errors import ConfigError
from shared.metrics import Integers, Interval
from shared.resampling import Figure, balanced_accuracy, bootstrap_interval, difference, macro_auroc
from shared.study import Study

LARGEST_DIFFERENCE = 1e-6
DRAWS = 2000
_LEGEND = (
    "* what `study check` advises from the sites' label counts. The 95 % intervals of the differences are of the same "
    "test patients, drawn again within each site; balanced accuracy calls at probability 0.5, or the likeliest class. "
    "move: how far a round moved the model at most, in norms of the earlier one, also over an absent round."
)
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


class Scored(NamedTuple):
    """A method's figures, and the number of the site of each test patient."""

    figures: dict[str, Figure | None]
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
    for name, largest in data["flower"].items():
        if not largest <= LARGEST_DIFFERENCE:
            yield f"{name} differs from Flower's by {largest:.1e}."
    for case in data["seeds"]:
        advised, aim = case["advised"], data["aim"]
        found = case["methods"].get(advised, {}).get("auroc")
        if aim is not None and found is not None and found["value"] < aim:
            yield f"Seed {case['seed']}: the advised {advised} reaches {found['value']:.4f}, below {aim}."


def show(data: dict[str, Any]) -> RenderableType:
    """The differences, then a row per seed and method."""
    parts: list[RenderableType] = [
        table(("optimizer", "largest difference to Flower's"), ((k, f"{v:.1e}") for k, v in data["flower"].items()))
    ]
    if data["seeds"]:
        columns = ("seed", "method", "AUROC", "minus FedAvg", "bal. acc.", "minus FedAvg", "move")
        rows = (_row(case, name) for case in data["seeds"] for name in case["methods"])
        parts += [Text(""), table(columns, rows), Text(f"\n{_LEGEND}")]
    return Group(*parts)


def _row(case: dict[str, Any], name: str) -> tuple[str, ...]:
    found, less = case["methods"][name], case["minus_fedavg"].get(name, {})
    star = " *" if name == case["advised"] else ""
    cells = (cell for figure in found for cell in (_value(found[figure]), _gap(less.get(figure))))
    return str(case["seed"]), name + star, *cells, f"{case['largest_move'][name]:.2f}"


def _value(found: dict[str, float] | None) -> str:
    return "none" if found is None else f"{found['value']:.4f}"


def _gap(found: dict[str, float] | None) -> str:
    return "" if found is None else f"{found['low']:+.3f} to {found['high']:+.3f}"


def _compare(cast: Cast, folder: Path, methods: Sequence[str]) -> dict[str, Any]:
    """Every method on one division of the file."""
    study, seed = cast.study, cast.study.study.seed
    data = {name: _prepared(settings, study, folder) for name, settings in cast.data.items()}
    scored, seconds, moves = dict[str, Scored](), dict[str, float](), dict[str, float]()
    for name in methods:
        progress_console().print(f"Seed {seed}: {name} ...")
        began = time.monotonic()
        (place := folder / f"study-{name}").mkdir()
        trial = Trial(varied(study, name), data, place)
        trial.run()
        scored[name], seconds[name] = _scored(trial), round(time.monotonic() - began, 1)
        moves[name] = round(max(trial.largest_move(apart=apart) for apart in (1, 2)), 4)
    others = scored.keys() - {PLAIN} if PLAIN in scored else set()
    labels = {name: dict(site.counts.classes[Split.TRAIN]) for name, site in data.items()}
    advised = advise(labels)
    return {
        "seed": seed,
        "labels": labels,
        "skew": round(advised.skew, 4),
        "advised": advised.training["algorithm"],
        "methods": {name: _intervals(one, seed) for name, one in scored.items()},
        "minus_fedavg": {name: _intervals(_minus(scored[name], scored[PLAIN]), seed) for name in sorted(others)},
        "largest_move": moves,
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


def _scored(trial: Trial) -> Scored:
    logits, targets, strata = trial.test_logits()
    margins, truth = Classification(trial.study.task).one_vs_rest(logits, targets)
    return Scored(
        {"auroc": macro_auroc(margins, truth), "balanced_accuracy": balanced_accuracy(margins, truth)}, strata
    )


def _minus(one: Scored, other: Scored) -> Scored:
    """What a method has more than another, on the same patients."""
    gaps = {name: difference(figure, other.figures[name]) for name, figure in one.figures.items()}
    return Scored(gaps, one.strata)


def _intervals(one: Scored, seed: int) -> dict[str, dict[str, float] | None]:
    return {
        name: _named(bootstrap_interval(figure, one.strata, rng=np.random.default_rng(seed), draws=DRAWS))
        for name, figure in one.figures.items()
    }


def _named(found: Interval | None) -> dict[str, float] | None:
    return None if found is None else {key: round(float(value), 4) for key, value in found._asdict().items()}
