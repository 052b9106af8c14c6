"""How a bundle reads single images of CT: MONAI's loader of DICOM, then the study's window by `ScaleIntensityRange`.

The loader brings stored values to Hounsfield units by the file's own rescale. What a file calls padding is taken by its
value, and each file for one image; a site knows both (`client/imaging/dicom_display.py`).
"""

from server.export.bundle_reading import LISTED, Config, Reading, changed, fitted
from shared.images import ImageSpec

_LISTED = LISTED.format(chosen="p.is_file() and pydicom.misc.is_dicom(p)")
_SIZED = "$lambda image: (lambda d: (d.Columns, d.Rows))(pydicom.dcmread(image, stop_before_pixels=True))"


def single_ct(images: ImageSpec) -> Reading:
    """The reading of DICOM files, each one image of CT, for a network that sees such images in the window `hu`."""
    assert images.hu is not None
    black, white = images.hu
    window = {"a_min": black, "a_max": white, "b_min": 0, "b_max": 65535, "clip": True}
    transforms: list[Config] = [
        {
            **{"_target_": "LoadImaged", "keys": "image", "image_only": True, "ensure_channel_first": True},
            **{"reader": "PydicomReader", "swap_ij": False},
        },
        {"_target_": "ScaleIntensityRanged", "keys": "image", **window},
        changed("$lambda x: np.rint(np.asarray(x, np.float32))"),
        *fitted(images.size_px),
        *([changed("$lambda x: np.repeat(np.asarray(x), 3, axis=0)")] if images.channels == 3 else []),
    ]
    imports = ("import pydicom", "import pydicom.misc", "from PIL import Image")
    return Reading(imports, _LISTED, transforms, entries={"sized": _SIZED}, batch=16)
