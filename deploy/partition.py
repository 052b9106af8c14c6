"""One array file becomes several sites, for benchmarks only; a hospital never needs this.

Decides which patient goes to which site. Three schemes:

    iid               patients dealt at random
    dirichlet:ALPHA   per class, shares of the sites drawn from Dirichlet(ALPHA) (Hsu et al. 2019);
                      train and validation share them, test is dealt as iid so that every site has some
    natural           the file's own `site` array

All images of a patient stay together. Where the file names no test or validation patients, 15 % of
the train patients each become them. Every site gets one flat .npz (see `client/imaging/npz.py`) with
`images, labels, patient, split`, `masks` where the file has them, and whatever else the flat form says of each image in
one number or word, such as its clinical columns; nothing is de-duplicated.
"""

import os
import re
import zipfile
from collections import Counter
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deploy.beside import read_beside
from shared.errors import ConfigError

_SPLITS = ("train", "validation", "test")
_PREFIXES = {"train": "train", "val": "validation", "test": "test"}
_READ = ("images", "labels", "masks", "patient", "split", "site", "site_names")
_CARVED = 0.15
_USUAL_SITES = 4
_FEW = {"train": 8, "validation": 2, "test": 0}  # patients that every site gets, where there are enough


@dataclass(frozen=True)
class PartitionedSite:
    """One site made from the file.

    Attributes:
        name: the site's name.
        file: its .npz.
        counts: images by split and class number; a multilabel image counts by its first finding,
            or as class -1.
    """

    name: str
    file: Path
    counts: dict[str, dict[int, int]]


@dataclass(frozen=True)
class _Table:
    images: NDArray[Any]
    labels: NDArray[Any]
    patients: NDArray[np.str_]
    splits: NDArray[np.str_]
    sites: NDArray[np.str_] | None
    beside: dict[str, NDArray[Any]] = field(default_factory=dict)
    masks: NDArray[Any] | None = None

    @property
    def classes(self) -> NDArray[np.int64]:
        """(n,) the one class number by which an image is dealt and counted."""
        if self.labels.ndim == 1:
            return self.labels.astype(np.int64)
        return np.where(self.labels.any(axis=1), self.labels.argmax(axis=1), -1).astype(np.int64)


def partition(
    file: Path, *, scheme: str, sites: int | None, seed: int, out: Path, beside: Path | None = None
) -> list[PartitionedSite]:
    """Divide an array file over sites and write `out/NAME/images.npz` for each.

    Args:
        file: an .npz in the MedMNIST or the flat form.
        scheme: `iid`, `dirichlet:ALPHA` or `natural`.
        sites: how many; None for as many as are natural, or else four.
        seed: of every draw; equal arguments give equal bytes.
        out: made where absent.
        beside: a CSV whose columns are added to what the file says of its images (`deploy/beside.py`).

    Raises:
        ConfigError: the scheme is unknown, the file is in neither form, a patient is in two splits, the table cannot
            be used, or there are too few patients for the sites.
        ValueError: fewer than one site.
    """
    if sites is not None and sites < 1:
        raise ValueError("there must be at least one site")
    rng = np.random.default_rng(seed)
    table = _load(file)
    if beside is not None:
        found = read_beside(beside, table.beside)
        table = replace(table, beside=table.beside | {name: found[name] for name in found if name not in _READ})
    table = _carved(table, rng)
    names, owner = _assign(table, scheme, sites, rng)
    return [_write(table, np.flatnonzero(owner == number), name, out) for number, name in enumerate(names)]


def _assign(
    table: _Table, scheme: str, sites: int | None, rng: np.random.Generator
) -> tuple[list[str], NDArray[np.int64]]:
    """Names of the sites, and (n,) the number of each image's site."""
    if scheme == "natural":
        return _natural(table, sites)
    sites = sites or _USUAL_SITES
    alpha = _alpha(scheme)
    numbered = [f"site-{number + 1}" for number in range(sites)]
    patients, first, inverse = np.unique(table.patients, return_index=True, return_inverse=True)
    classes, splits = table.classes[first], table.splits[first]
    shares = {} if alpha is None else {int(c): rng.dirichlet([alpha] * sites) for c in np.unique(classes)}
    owner = np.empty(len(patients), dtype=np.int64)
    for split in _SPLITS:
        members = rng.permutation(np.flatnonzero(splits == split))
        if alpha is None or split == "test":
            owner[members] = np.arange(len(members)) % sites
        else:
            for number, share in shares.items():
                group = members[classes[members] == number]
                owner[group] = _by_share(len(group), share)
        _top_up(owner, members, sites=sites, few=_FEW[split])
    return numbered, owner[inverse]


def _natural(table: _Table, sites: int | None) -> tuple[list[str], NDArray[np.int64]]:
    if table.sites is None:
        raise ConfigError("The array file has no `site` array.", remedy="Use --partition iid or dirichlet:ALPHA.")
    found, owner = np.unique(table.sites, return_inverse=True)
    if sites is not None and len(found) != sites:
        raise ConfigError(
            f"The array file has {len(found)} natural sites; {sites} were asked for.",
            remedy=f"Use --sites {len(found)}.",
        )
    names = [_name(str(word)) for word in found]
    if len(set(names)) != len(names):
        raise ConfigError("Two natural sites have the same name.", remedy="Rename them in the array `site_names`.")
    return names, owner.astype(np.int64)


def _alpha(scheme: str) -> float | None:
    if scheme == "iid":
        return None
    kind, _, number = scheme.partition(":")
    try:
        alpha = float(number)
    except ValueError:
        alpha = 0.0
    if kind != "dirichlet" or not 0 < alpha < 1e6:
        raise ConfigError(
            f"There is no partition {scheme[:40]!r}.", remedy="Use iid, natural, or dirichlet:ALPHA with ALPHA > 0."
        )
    return alpha


def _by_share(count: int, share: NDArray[np.float64]) -> NDArray[np.int64]:
    """(count,) site numbers in runs as long as the shares say."""
    edges = np.rint(np.cumsum(share)[:-1] * count).astype(np.int64)
    return np.searchsorted(edges, np.arange(count), side="right").astype(np.int64)


def _top_up(owner: NDArray[np.int64], members: NDArray[np.int64], *, sites: int, few: int) -> None:
    """Move patients from the largest site to those that have fewer than `few`, where there are enough."""
    few = min(few, len(members) // sites)
    sizes = np.bincount(owner[members], minlength=sites)
    while sizes.min() < few:
        poor, rich = int(sizes.argmin()), int(sizes.argmax())
        owner[members[np.flatnonzero(owner[members] == rich)[-1]]] = poor
        sizes[poor] += 1
        sizes[rich] -= 1


def _carved(table: _Table, rng: np.random.Generator) -> _Table:
    patients, first, inverse = np.unique(table.patients, return_index=True, return_inverse=True)
    splits = table.splits[first].astype("<U10")
    if (splits[inverse] != table.splits).any():
        raise ConfigError(
            "The array file puts a patient into more than one split.",
            remedy="Correct its arrays `patient` and `split`.",
        )
    total = len(patients)
    for split in ("test", "validation"):
        if split not in splits:
            train = rng.permutation(np.flatnonzero(splits == "train"))
            splits[train[: round(_CARVED * total)]] = split
    return replace(table, splits=splits[inverse])


def _load(file: Path) -> _Table:
    try:
        with file.open("rb") as stream, np.load(stream, allow_pickle=False) as archive:
            return _flat(archive) if "images" in archive else _medmnist(archive)
    except (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile):
        raise ConfigError(
            "The array file is absent or in neither the MedMNIST nor the flat form.",
            remedy="Give an .npz with train_images, train_labels, ... or with images, labels.",
        ) from None


def _medmnist(archive: Any) -> _Table:
    found = [prefix for prefix in _PREFIXES if f"{prefix}_images" in archive]
    images = [archive[f"{prefix}_images"] for prefix in found]
    patients = [f"{_PREFIXES[p]}-{i}" for p, block in zip(found, images, strict=True) for i in range(len(block))]
    splits = [_PREFIXES[p] for p, block in zip(found, images, strict=True) for _ in block]
    labels = np.concatenate([archive[f"{prefix}_labels"] for prefix in found])
    masks = [archive[f"{prefix}_masks"] for prefix in found if f"{prefix}_masks" in archive]
    together = np.concatenate(masks) if masks and len(masks) == len(found) else None
    names = np.array(patients), np.array(splits)
    return _Table(np.concatenate(images), _one_axis(labels), *names, None, masks=together)


def _flat(archive: Any) -> _Table:
    images, labels = archive["images"], _one_axis(archive["labels"])
    count = len(images)
    patients = (
        archive["patient"].astype(str) if "patient" in archive else np.array([f"image-{i}" for i in range(count)])
    )
    splits = _split_names(archive["split"]) if "split" in archive else np.full(count, "train")
    masks = archive.get("masks")
    if not len(labels) == len(patients) == len(splits) == count == len(images if masks is None else masks):
        raise ValueError("arrays of different length")
    sites = _site_names(archive) if "site" in archive else None
    others = {name: archive[name] for name in archive.files if name not in _READ}
    beside = {name: array for name, array in others.items() if array.shape == (count,) and array.dtype.kind in "iufbUS"}
    return _Table(images, labels, patients, splits, sites, beside, masks)


def _split_names(split: NDArray[Any]) -> NDArray[np.str_]:
    if split.dtype.kind in "US":
        names = split.astype(str)
    else:
        names = np.array(_SPLITS if 2 in split else ("train", "test"))[split.astype(np.int64)]
    if not np.isin(names, _SPLITS).all():
        raise ValueError("an unknown split")
    return names


def _site_names(archive: Any) -> NDArray[np.str_]:
    site = archive["site"]
    if "site_names" in archive and site.dtype.kind in "iu":
        return np.asarray(archive["site_names"].astype(str)[site])
    return np.asarray(site.astype(str) if site.dtype.kind in "US" else np.array([f"site-{n}" for n in site.tolist()]))


def _one_axis(labels: NDArray[Any]) -> NDArray[Any]:
    return labels.reshape(-1) if labels.ndim == 2 and labels.shape[1] == 1 else labels


def _name(word: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", word.lower()).strip("-")[:48] or "site"


def _write(table: _Table, rows: NDArray[np.int64], name: str, out: Path) -> PartitionedSite:
    folder = out / name
    folder.mkdir(parents=True, exist_ok=True)
    arrays = {
        "images": table.images[rows],
        "labels": table.labels[rows],
        "patient": table.patients[rows],
        "split": table.splits[rows],
        **{name: array[rows] for name, array in table.beside.items()},
    }
    arrays |= {} if table.masks is None else {"masks": table.masks[rows]}
    partial = folder / ".images.part.npz"
    np.savez(partial, allow_pickle=False, **arrays)
    os.replace(partial, folder / "images.npz")
    classes = table.classes[rows]
    counts = {split: Counter(classes[arrays["split"] == split].tolist()) for split in _SPLITS}
    sorted_counts = {split: dict(sorted(counter.items())) for split, counter in counts.items()}
    return PartitionedSite(name, folder / "images.npz", sorted_counts)
