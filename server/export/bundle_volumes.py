"""How a bundle reads NIfTI volumes as a study of volumes does: MONAI's loader and orientation, then the study's grid.

MONAI's own resampling takes single points, and the study averages over what a voxel covers (`client/imaging/grid.py`),
so that the weights of each axis are spelled out here, and the black and white of `levels.py` with them. Masks are
brought back to the voxels of the file as `client/imaging/from_grid.py` does, and written as NIfTI on its affine. The
expressions need `numpy as np`, `nibabel`, `pathlib` and `json` imported.
"""

from typing import Any

from server.export.bundle_masks import CALLED, EACH, LIKELIEST, PLACE, SEVERAL, SHARES, TOLD, WRITE
from server.export.bundle_reading import Reading
from shared.images import ImageSpec
from shared.model_card import Inputs

Config = dict[str, Any]
_LISTED = (
    "$[{'image': str(p)} for p in sorted(pathlib.Path(@dataset_dir).rglob('*'))"
    " if p.name.lower().endswith(('.nii', '.nii.gz'))]"
)
_CENTRES = "$lambda n, mm: (np.arange(n) - (n - 1) / 2) * mm"
_THERE = (
    "$lambda n, mm, size, to: (np.clip(1 - abs(@centres(size, to)[:, None] - @centres(n, mm)) / max(mm, to), 0, None)"
    " * (mm / max(mm, to))).astype(np.float32)"
)
_EDGES = "$lambda affine: np.sqrt((np.asarray(affine)[:3, :3] ** 2).sum(0))[::-1]"  # of an LPS volume: z, y, x
_FREE = "$lambda n, mm: (n[0] * mm[0] / {slices}, *[max(n[1] * mm[1], n[2] * mm[2]) / {size}] * 2)"
# Not by the operator for matrices, whose sign is the configuration's for a reference.
_SAMPLED = "$lambda v, w: np.tensordot(w[0], np.stack([w[1].dot(plane).dot(w[2].T) for plane in v]), 1)"
_LIMITS = (
    "$lambda v: (lambda two: two if two[1] > two[0] else (v.min(), v.max()))"
    "(np.percentile(v.astype(np.float64), [0.5, 99.5]))"
)
_LEVELS = (
    "$lambda v, inside: (lambda ends: np.where(inside, np.rint(np.clip("
    "(v.astype(np.float64) - ends[0]) / (ends[1] - ends[0] or 1), 0, 1) * 65535), 0))(@limits(v[inside]))"
)
_FILLED = "$lambda w: w[0].sum(1)[:, None, None] * w[1].sum(1)[:, None] * w[2].sum(1)"
_ON_GRID = (
    "$lambda v, w: (lambda filled: @levels(np.divide(@sampled(v, w), filled, out=np.zeros_like(filled),"
    " where=filled >= 0.4999), filled >= 0.4999))(@filled(w))"
)
_GRID = (
    "$lambda x: @on_grid(@clipped(np.asarray(x)[0].transpose(2, 1, 0).astype(np.float32)),"
    " [@there(n, mm, size, to) for n, mm, size, to in zip(x.shape[:0:-1], @edges(x.affine), {grid},"
    " @spacing(x.shape[:0:-1], @edges(x.affine)))])[None].astype(np.float32)"
)
_BACK = (
    "$lambda n, mm, size, to: (lambda w: np.divide(w, w.sum(1, keepdims=True), out=np.zeros_like(w),"
    " where=w.sum(1, keepdims=True) >= 0.4999))(@there(size, to, n, mm))"
)
_TURN = (
    "$lambda image: nibabel.orientations.ornt_transform(nibabel.io_orientation(image.affine),"
    " nibabel.orientations.axcodes2ornt(('L', 'P', 'S')))"
)
_UPRIGHT = "$lambda image: tuple(int(image.shape[np.flatnonzero(@turn(image)[:, 0] == axis)[0]]) for axis in (2, 1, 0))"
_SIZES = (
    "$lambda image: tuple(float(np.sqrt((image.affine[:3, :3] ** 2).sum(0))"
    "[np.flatnonzero(@turn(image)[:, 0] == axis)[0]]) for axis in (2, 1, 0))"
)
_OUTLINE = (
    "$lambda logits, path: (lambda n, mm: (lambda w: @called(@postprocessing(logits), lambda s: @sampled(s, w)))"
    "([@back(*axis) for axis in zip(n, mm, {grid}, @spacing(n, mm))]))"
    "(@upright(nibabel.load(path)), @sizes(nibabel.load(path)))"
)
_STORED = (
    "$lambda mask, image: nibabel.apply_orientation(mask.transpose(2, 1, 0), nibabel.orientations.ornt_transform("
    "nibabel.orientations.axcodes2ornt(('L', 'P', 'S')), nibabel.io_orientation(image.affine)))"
)
_SAVE = "$lambda mask, place, of: nibabel.save(nibabel.Nifti1Image(@stored(mask, of), of.affine), place)"


def volumes(images: ImageSpec) -> Reading:
    """The reading of NIfTI files, each one volume, for a network of such images."""
    free = _FREE.format(slices=images.slices, size=images.size_px)
    across = images.spacing_mm
    black_white = images.hu
    entries: Config = {
        "centres": _CENTRES,
        "there": _THERE,
        "edges": _EDGES,
        "spacing": f"$lambda n, mm: {tuple(reversed(across))}" if across else free,
        "clipped": f"$lambda v: np.clip(v, {black_white[0]}, {black_white[1]})" if black_white else "$lambda v: v",
        "limits": f"$lambda v: {tuple(black_white)}" if black_white else _LIMITS,
        "levels": _LEVELS,
        "filled": _FILLED,
        "sampled": _SAMPLED,
        "on_grid": _ON_GRID,
        "grid": _GRID.format(grid=images.grid),
    }
    loaded = {"_target_": "LoadImaged", "keys": "image", "image_only": True, "ensure_channel_first": True}
    transforms: list[Config] = [
        loaded | {"reader": "NibabelReader"},
        {"_target_": "Orientationd", "keys": "image", "axcodes": "LPS", "labels": None},
        {"_target_": "Lambdad", "keys": "image", "func": "@grid"},
    ]
    return Reading(("import nibabel",), _LISTED, transforms, entries, batch=1)


def masks_of_volumes(inputs: Inputs) -> Config:
    """The entries from logits to NIfTI files; `evaluator` gives the logits of each volume, one after the other."""
    mode, names = inputs.task.mode, list(inputs.task.classes)
    return {
        "postprocessing": SHARES.get(mode, SEVERAL),
        "called": CALLED.get(mode, LIKELIEST),
        "back": _BACK,
        "turn": _TURN,
        "upright": _UPRIGHT,
        "sizes": _SIZES,
        "outline": _OUTLINE.format(grid=inputs.images.grid),
        "stored": _STORED,
        "write": _SAVE,
        "save": "$lambda mask, place, path: @write(mask, place, nibabel.load(path))",
        "place": PLACE.format(ending=".mask.nii.gz"),
        "told": TOLD.format(unit="voxels", names=names),
        "evaluator": EACH,
        "writer": WRITE,
    }
