"""Which DICOM objects are images for a study, and what their headers say of how they were made.

Decides from the header alone, by these rules, the first that applies:

1. By SOP class, or by modality where the class is no standard one: a directory, a key object selection, a
   dose report, another report or document, or pixels that are no picture (dose grid, segmentation,
   parametric map) is set aside under that name (PS3.4 B.5, PS3.3 C.7.3.1.1.1).
2. A page of text that a machine stored as an image, as its image type or the name of its series says, is a
   dose report.
3. FOR PROCESSING (PS3.3 C.8.11.3.1.4), LOCALIZER and SECONDARY (PS3.3 C.7.6.1.1.2) are marks; `folder` sets
   aside those that the site does not keep. DERIVED alone says only that the pixels were computed from others,
   as in every processed radiograph: such an image is used, and counted.

What the pixels mean is left to `dicom_display`.
"""

import re
from collections.abc import Iterator

from pydicom.dataset import Dataset

from client.imaging.about import OTHER, UNSTATED, About, BurnedIn, Mark, View
from client.imaging.reasons import Reason

_STORAGE = "1.2.840.10008.5.1.4.1.1."
_BY_CLASS = (
    ("1.2.840.10008.1.3.10", Reason.DIRECTORY),
    (f"{_STORAGE}88.59", Reason.KEY_OBJECT),
    *((f"{_STORAGE}88.{number}", Reason.DOSE_REPORT) for number in (67, 68, 73, 74, 75, 76)),
    *((f"{_STORAGE}{root}.", Reason.REPORT) for root in (88, 104)),
    *((f"{_STORAGE}{root}", Reason.OTHER_OBJECT) for root in ("481.2", "66.4", "66.7", "30", "67")),
)
_BY_MODALITY = {
    "KO": Reason.KEY_OBJECT,
    **dict.fromkeys(("SR", "DOC"), Reason.REPORT),
    **dict.fromkeys(("SEG", "RTDOSE", "RWV"), Reason.OTHER_OBJECT),
}
_SECONDARY_CAPTURE = f"{_STORAGE}7."
_DOSE_TYPES = frozenset({"DOSE_INFO", "DOSE REPORT", "DOSE_REPORT"})
_DOSE_SERIES = re.compile(r"dose (report|record|info|summary)|dosis(protokoll|bericht)|patient protocol", re.IGNORECASE)

_MODALITIES = frozenset(
    {
        *("bi", "cr", "ct", "dx", "ecg", "es", "gm", "io", "ivoct", "ivus", "mg", "mr", "nm", "oct", "op", "opt"),
        *("ot", "pt", "px", "rf", "rg", "rtimage", "sc", "sm", "tg", "us", "xa", "xc"),
    }
)
_TEXT_IN_PIXELS = frozenset({"es", "ivus", "ot", "sc", "us", "xc"})
_VENDORS = (
    *(("siemens", "siemens"), ("ge medical", "ge"), ("ge healthcare", "ge"), ("g.e.", "ge"), ("philips", "philips")),
    *(("toshiba", "canon"), ("canon", "canon"), ("hitachi", "fujifilm"), ("fuji", "fujifilm"), ("agfa", "agfa")),
    *(("hologic", "hologic"), ("lorad", "hologic"), ("samsung", "samsung"), ("medison", "samsung")),
    *(("carestream", "carestream"), ("kodak", "carestream"), ("konica", "konica_minolta"), ("shimadzu", "shimadzu")),
    *(("aloka", "fujifilm"), ("mindray", "mindray"), ("united imaging", "united_imaging"), ("esaote", "esaote")),
)
_VIEWS: dict[str, View] = {
    **{"PA": "pa", "AP": "ap", "CC": "cc", "MLO": "mlo"},
    **dict.fromkeys(("LL", "RL", "LAT", "LATERAL"), "lateral"),
    # Codes of CID 4010 and 4014, SNOMED CT and the SNOMED-RT that older machines write.
    **dict.fromkeys(("399348003", "R-10206"), "ap"),
    **dict.fromkeys(("272479007", "R-10214"), "pa"),
    **dict.fromkeys(("399067008", "399173006", "399198007", "R-10236", "R-10232"), "lateral"),
    **dict.fromkeys(("399162004", "R-10242"), "cc"),
    **dict.fromkeys(("399368009", "R-10226"), "mlo"),
}


def unfit_object(header: Dataset) -> Reason | None:
    """Why an object of this kind is no image for a study, by rules 1 and 2; None if it may be one."""
    kind = _word(header, "SOPClassUID") or _word(header.file_meta, "MediaStorageSOPClassUID")
    for root, reason in _BY_CLASS:
        if kind == root or (root.endswith(".") and kind.startswith(root)):
            return reason
    modality = _word(header, "Modality")
    if not kind.startswith(_STORAGE) and modality in _BY_MODALITY:
        return _BY_MODALITY[modality]
    if _DOSE_TYPES & set(_image_type(header)) or _DOSE_SERIES.search(_word(header, "SeriesDescription")):
        return Reason.DOSE_REPORT
    return None


def about(header: Dataset, *, syntax: str) -> About:
    """What the header says, in the words of `about`."""
    modality = _word(header, "Modality").lower()
    modality = modality if modality in _MODALITIES else OTHER if modality else UNSTATED
    return About(
        syntax=syntax,
        modality=modality,
        vendor=_vendor(header),
        view=_view(header),
        marks=tuple(_marks(header)),
        burned_in=_burned_in(header, modality),
    )


def _marks(header: Dataset) -> Iterator[Mark]:
    values = _image_type(header)
    if _word(header, "PresentationIntentType") == "FOR PROCESSING":
        yield "for_processing"
    if "LOCALIZER" in values[2:]:
        yield "localizer"
    if values[1:2] == ["SECONDARY"]:
        yield "secondary"
    if values[:1] == ["DERIVED"]:
        yield "derived"


def _vendor(header: Dataset) -> str:
    said = _word(header, "Manufacturer").lower()
    known = next((name for part, name in _VENDORS if part in said), OTHER)
    return ("ge" if said in ("ge", "gems") else known) if said else UNSTATED


def _view(header: Dataset) -> View:
    said = _word(header, "ViewPosition").upper()
    codes = [_word(item, "CodeValue") for item in header.get("ViewCodeSequence") or ()]
    found = next((_VIEWS[word] for word in (said, *codes) if word in _VIEWS), None)
    return found or ("other" if said or codes else "unstated")


def _burned_in(header: Dataset, modality: str) -> BurnedIn:
    said = _word(header, "BurnedInAnnotation").upper()
    if said in ("YES", "NO"):
        return "yes" if said == "YES" else "no"
    captured = f"{_word(header, 'SOPClassUID')}.".startswith(_SECONDARY_CAPTURE)
    return "possible" if captured or modality in _TEXT_IN_PIXELS else "unstated"


def _image_type(header: Dataset) -> list[str]:
    value = header.get("ImageType") or ()
    return [str(part).strip().upper() for part in ([value] if isinstance(value, str) else value)]


def _word(header: Dataset, keyword: str) -> str:
    return str(header.get(keyword) or "").strip()
