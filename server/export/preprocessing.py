"""How images are prepared for a released model, in words for its card.

Says what `client/imaging/` does with such images as the study names; no file is read by it.
"""

from shared.images import ImageSpec

_ORDINARY = "the file's own VOI window or its 0.5th to 99.5th percentile; MONOCHROME1 inverted."
_UNASKED = "-1000 to 1000 HU"  # CT where the study names no window


def preprocessing_of(images: ImageSpec) -> tuple[str, ...]:
    """The steps from a file to the tensor of a study of single images, in their order."""
    return (
        *_window(images.hu),
        f"Resized to {images.words} with the aspect ratio kept (Lanczos), padded with black to a square; colour to one"
        " channel by Rec. 601, one channel to three by repetition.",
        *_scale(images.landmarks),
        "Scaled to -1 (black) to 1 (white).",
    )


def _scale(landmarks: tuple[float, float, float] | None) -> tuple[str, ...]:
    if landmarks is None:
        return ()
    places = ", ".join(f"{place:g}" for place in landmarks)
    return (
        f"Each image's percentiles 5, 50 and 95, borders and all, brought to {places} (0 black, 1 white), in straight"
        " lines between them and to black and white.",
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
