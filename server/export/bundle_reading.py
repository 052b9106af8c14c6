"""How a bundle reads the images of a folder: 8-bit PNG, JPEG and TIFF pictures, as a site reads them.

Says also what a reading is; that of volumes is `bundle_volumes.py`'s, and that of single images of CT `bundle_ct.py`'s.
All end at 0..65535 between black and white.
"""

from dataclasses import dataclass
from typing import Any

from shared.images import ImageSpec
from shared.survey import PERCENTILES

Config = dict[str, Any]


@dataclass(frozen=True)
class Reading:
    """What a configuration needs to read a kind of images.

    Attributes:
        imports: what its expressions need besides the bundle's own.
        listed: the expression of all images of `dataset_dir`.
        transforms: from a file to the network's grid, 0..65535.
        entries: what the transforms name, and of a plane `sized`, the width and height of a file's image.
        batch: images at a time.
    """

    imports: tuple[str, ...]
    listed: str
    transforms: list[Config]
    entries: Config
    batch: int


_ENDINGS = (".png", ".jpg", ".jpeg", ".tif", ".tiff")
LISTED = "$[{{'image': str(p)}} for p in sorted(pathlib.Path(@dataset_dir).rglob('*')) if {chosen}]"
_LISTED = LISTED.format(chosen=f"p.suffix.lower() in {_ENDINGS}")
_SIZED = "$lambda image: ImageOps.exif_transpose(Image.open(image)).size"
_LUMA = "np.array([0.299, 0.587, 0.114], np.float32)"  # ITU-R BT.601
_RESIZED = (
    "$lambda x: np.stack([np.asarray(Image.fromarray(p).resize("
    "(max(1, round(x.shape[2] * {size} / max(x.shape[1:]))), max(1, round(x.shape[1] * {size} / max(x.shape[1:])))),"
    " Image.Resampling.LANCZOS)) for p in np.asarray(x)])"
)
_ENDS = "((0, 0), *((o, to) for o, before, to in zip(own, (0, *own), {landmarks}) if before < o < 1), (1, 1))"
_ON_SCALE = (
    f"$lambda x: (lambda v: ((lambda own: np.rint(np.interp(v / 65535, *zip(*{_ENDS})) * 65535))"
    f"(np.percentile(v[v > 0], {PERCENTILES}) / 65535)"
    " if v.any() else v).astype(np.float32))(np.asarray(x, np.float64))"
)


def pictures(images: ImageSpec) -> Reading:
    """The reading of pictures for a network of such images."""
    grey = f"$lambda x: np.matmul({_LUMA}, np.asarray(x).reshape(3, -1)).reshape(1, *x.shape[1:])"
    transforms: list[Config] = [
        {
            **{"_target_": "LoadImaged", "keys": "image", "image_only": True, "ensure_channel_first": True},
            **{"reader": "PILReader", "reverse_indexing": False},
            "converter": "$lambda picture: ImageOps.exif_transpose(picture).convert('RGB')",
        },
        changed("$lambda x: np.asarray(x, np.float32) * 257"),
        *([changed(grey)] if images.channels == 1 else []),
        *fitted(images.size_px),
    ]
    imports = ("from PIL import Image", "from PIL import ImageOps")
    return Reading(imports, _LISTED, transforms, entries={"sized": _SIZED}, batch=16)


def fitted(size_px: int) -> list[Config]:
    """From a plane of any size to the square that the network sees (`client/imaging/fit.py`)."""
    return [
        changed(_RESIZED.format(size=size_px)),
        {"_target_": "SpatialPadd", "keys": "image", "spatial_size": [size_px] * 2},
        changed("$lambda x: np.rint(np.clip(np.asarray(x), 0, 65535))"),
    ]


def on_scale(landmarks: tuple[float, float, float] | None) -> list[Config]:
    """From 0..65535 to the study's scale, if it has one (`client/imaging/landmarks.py`); MONAI has no such part."""
    return [] if landmarks is None else [changed(_ON_SCALE.format(landmarks=landmarks))]


def changed(expression: str) -> Config:
    """The transform that an expression of an image is."""
    return {"_target_": "Lambdad", "keys": "image", "func": expression}
