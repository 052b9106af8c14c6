"""How images, and clinical columns beside them, are prepared for a released model, in words for its card.

Says what `client/imaging/` does with such images as the study names; no file is read by it.
"""

from collections.abc import Iterator

from shared.clinical import ClinicalColumn, Columns
from shared.images import ImageSpec
from shared.patch import PatchSpec

_ORDINARY = "the file's own VOI window or its 0.5th to 99.5th percentile; MONOCHROME1 inverted."
_SCALED = "Scaled to -1 (black) to 1 (white)."
_UNASKED = "-1000 to 1000 HU"  # CT where the study names no window


def preprocessing_of(images: ImageSpec) -> tuple[str, ...]:
    """The steps from a file to the tensor, in their order."""
    if images.slices is not None:
        return (*_window_of_volumes(images.hu), *_grid(images), _SCALED, *_patches(images.patch))
    return (
        *_window(images.hu),
        f"Resized to {images.words} with the aspect ratio kept (Lanczos), padded with black to a square; colour to one"
        " channel by Rec. 601, one channel to three by repetition.",
        *_scale(images.landmarks),
        _SCALED,
        *_patches(images.patch),
    )


def columns_in_words(columns: Columns) -> Iterator[str]:
    """One sentence for each clinical column: what counts as a value, and what the network makes of it."""
    for name, column in columns.items():
        yield f"{name}: {_column(column)}; else it is missing, which is 0 and a mark of its own."


def _column(column: ClinicalColumn) -> str:
    if column.values:
        return f"one of {', '.join(column.values)}, each a mark of its own"
    unit = f" {column.unit}" if column.unit else ""
    return (
        f"a number from {column.low:g} to {column.high:g}{unit}, less {column.middle:g} and divided by"
        f" {column.spread:g}"
    )


def _patches(patch: PatchSpec | None) -> tuple[str, ...]:
    if patch is None:
        return ()
    return (f"Seen in {patch.words} that overlap by {patch.overlap:.0%} of their edges and count by a Gaussian.",)


def _scale(landmarks: tuple[float, float, float] | None) -> tuple[str, ...]:
    if landmarks is None:
        return ()
    places = ", ".join(f"{place:g}" for place in landmarks)
    return (
        f"Each image's percentiles 5, 50 and 95 of its pixels above black brought to {places} (0 black, 1 white), in"
        " straight lines between them and to black and white.",
    )


def _window(hu: tuple[float, float] | None) -> tuple[str, ...]:
    if hu is not None:
        return (
            f"CT in Hounsfield units alone, in {hu[0]:g} to {hu[1]:g} HU, whatever a file's own window says;"
            " DICOM that is no CT in Hounsfield units is set aside, and so is NIfTI without negative values.",
        )
    return (
        f"DICOM: modality rescale; CT in Hounsfield units in {_UNASKED}, other images in {_ORDINARY}",
        "NIfTI: axial slices, each volume's 0.5th to 99.5th percentile.",
        "PNG, JPEG, TIFF: 0 to 255 (or 65535) spans the window, turned upright as EXIF says.",
    )


def _window_of_volumes(hu: tuple[float, float] | None) -> tuple[str, ...]:
    if hu is not None:
        return (f"CT in Hounsfield units alone, in {hu[0]:g} to {hu[1]:g} HU; outside of the scan is black.",)
    return (
        f"DICOM: modality rescale; CT in Hounsfield units in {_UNASKED}. Other volumes, and NIfTI: the 0.5th to 99.5th"
        " percentile of the volume on its grid. Outside of the scan is black.",
    )


def _grid(images: ImageSpec) -> tuple[str, ...]:
    spacing = "over the volume's whole height, its longer side over the plane's edge"
    if images.spacing_mm is not None:
        spacing = "at {:g} x {:g} x {:g} mm (right to left, front to back, feet to head)".format(*images.spacing_mm)
    return (
        "Slices from the feet up, rows from front to back, columns from the patient's right to the left, by the header;"
        " a tilted scan is not turned.",
        f"Brought to {images.words} about the scan's centre, {spacing}: averaged over what a voxel covers, or"
        " interpolated linearly; cut off or padded with black.",
    )
