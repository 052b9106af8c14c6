"""How a bundle reads the images of a folder: 8-bit PNG, JPEG and TIFF pictures, as a site reads them.

Says also what a reading is; that of volumes is `bundle_volumes.py`'s. Both end at 0..65535 between black and white.
"""

from dataclasses import dataclass
from typing import Any

from shared.images import ImageSpec

Config = dict[str, Any]


@dataclass(frozen=True)
class Reading:
    """What a configuration needs to read a kind of images.

    Attributes:
        imports: what its expressions need besides the bundle's own.
        listed: the expression of all images of `dataset_dir`.
        transforms: from a file to the network's grid, 0..65535.
        entries: what the transforms name.
        batch: images at a time.
    """

    imports: tuple[str, ...]
    listed: str
    transforms: list[Config]
    entries: Config
    batch: int


_ENDINGS = (".png", ".jpg", ".jpeg", ".tif", ".tiff")
_LISTED = (
    f"$[{{'image': str(p)}} for p in sorted(pathlib.Path(@dataset_dir).rglob('*')) if p.suffix.lower() in {_ENDINGS}]"
)
_LUMA = "np.array([0.299, 0.587, 0.114], np.float32)"  # ITU-R BT.601
_RESIZED = (
    "$lambda x: np.stack([np.asarray(Image.fromarray(p).resize("
    "(max(1, round(x.shape[2] * {size} / max(x.shape[1:]))), max(1, round(x.shape[1] * {size} / max(x.shape[1:])))),"
    " Image.Resampling.LANCZOS)) for p in np.asarray(x)])"
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
        _lambda("$lambda x: np.asarray(x, np.float32) * 257"),
        *([_lambda(grey)] if images.channels == 1 else []),
        _lambda(_RESIZED.format(size=images.size_px)),
        {"_target_": "SpatialPadd", "keys": "image", "spatial_size": [images.size_px] * 2},
        _lambda("$lambda x: np.rint(np.clip(np.asarray(x), 0, 65535))"),
    ]
    imports = ("from PIL import Image", "from PIL import ImageOps")
    return Reading(imports, _LISTED, transforms, entries={}, batch=16)


def _lambda(expression: str) -> Config:
    return {"_target_": "Lambdad", "keys": "image", "func": expression}
