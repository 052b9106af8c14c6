"""CT in Hounsfield units: which DICOM images are measured in them, and in which window they are seen.

Decides that the window of a CT is the study's and never the header's, which is a radiographer's choice of the day; a
study that names none sees everything from air to dense bone. What the values are is left to `dicom_display`.
"""

from pydicom.dataset import Dataset

from client.imaging.levels import Limits

UNASKED: Limits = (-1000.0, 1000.0)
_UNITS = ("", "HU", "US")  # PS3.3 C.11.1.1.2; some CTs leave the unit out or unspecified
_GROUPS = ("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence")
_TRANSFORMS = "PixelValueTransformationSequence"  # PS3.3 C.7.6.16.2.9, of enhanced images


def in_hounsfield(header: Dataset) -> bool:
    """Whether an image is a CT that says how its values become Hounsfield units."""
    if str(header.get("Modality") or "").strip().upper() != "CT":
        return False
    groups = (header.get(name) or [Dataset()] for name in _GROUPS)
    spoken = [header, *(item for group in groups for item in group[0].get(_TRANSFORMS) or ())]
    units = {str(words.get("RescaleType") or "").strip().upper() for words in spoken}
    return any("RescaleSlope" in words and "RescaleIntercept" in words for words in spoken) and units <= set(_UNITS)


def ct_window(header: Dataset, hu: Limits | None) -> Limits | None:
    """Black and white of an image in Hounsfield units, by the study's `hu`; None if it is not measured in them."""
    return (hu or UNASKED) if in_hounsfield(header) else None
