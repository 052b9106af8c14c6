"""What the words for why an image is not used mean to hospital IT.

Which of them applies is left to whoever looks at the file; the first that applies is the one that is counted.
"""

from shared.reasons import Reason

__all__ = ["MEANING", "Reason", "SetAside"]

MEANING = {
    Reason.NOT_AN_IMAGE: "another kind of file",
    Reason.UNREADABLE: "damaged or cut off, with values that are no numbers, or changed since it was indexed",
    Reason.NOT_PERMITTED: "a file or folder that this account may not read",
    Reason.FOLDER_LINK: "a link to a folder, which is not followed",
    Reason.TOO_LARGE: "beyond the limits on bytes, pixels or frames",
    Reason.DECODER_CRASHED: "the decoder crashed on it",
    Reason.DECODER_HUNG: "the decoder did not come to an end",
    Reason.MEMORY_LIMIT: "takes more memory than is allowed",
    Reason.DIRECTORY: "a DICOMDIR, which only lists other files",
    Reason.REPORT: "a structured report or document",
    Reason.DOSE_REPORT: "a dose report",
    Reason.KEY_OBJECT: "a key object selection",
    Reason.OTHER_OBJECT: "no picture: dose grid, mask, map, vectors",
    Reason.NO_PIXELS: "a DICOM object without pixels",
    Reason.MULTI_FRAME: "a picture of several frames",
    Reason.CODEC_MISSING: "a compression that nothing here can decode",
    Reason.COLOUR_UNKNOWN: "a colour model that is not known",
    Reason.COLOUR_VOLUME: "a volume of colours, so no measurement",
    Reason.SIDE_UNKNOWN: "a volume that does not say which side is left",
    Reason.EMPTY_VOLUME: "a volume of one value throughout, such as an empty mask",
    Reason.TIME_SERIES: "several volumes in one: times, echoes, phases",
    Reason.FEW_SLICES: "slices at fewer than three places, so no volume",
    Reason.NO_POSITION: "an image that does not say where it lies, so no slice",
    Reason.DUPLICATE_SLICES: "of a series with two slices at some places",
    Reason.UNEVEN_SLICES: "of a series that lacks slices or has several blocks",
    Reason.NO_HOUNSFIELD: "no CT in Hounsfield units, which the study asks for",
    Reason.FOR_PROCESSING: "raw detector data, FOR PROCESSING (data.keep)",
    Reason.LOCALIZER: "a localizer (data.keep)",
    Reason.SECONDARY: "made from others after the exam (data.keep)",
    Reason.VIEW_NOT_ASKED: "a view that data.views leaves out",
    Reason.DUPLICATE: "the same image as another file",
    Reason.NO_PATIENT: "no patient named",
    Reason.PATIENT_CONSTANT: "one patient id on everything: the table must name patients",
    Reason.PATIENT_CROWDED: "a patient id with more exams than data.exams_per_patient",
    Reason.PATIENT_CONFLICT: "a patient id with two birth dates or sexes",
    Reason.UNLABELLED: "no line, or an empty one, in the label table",
    Reason.LABEL_UNKNOWN: "a label that the study does not know",
    Reason.LABEL_CONFLICT: "two lines of the label table that differ",
    Reason.SPLIT_UNKNOWN: "a split that is not train, validation or test",
    Reason.NO_MASK: "no mask of what the study looks for; an empty one would do",
    Reason.MASK_SEVERAL: "several segmentations of one series",
    Reason.MASK_UNREADABLE: "a mask that is absent, damaged, or none",
    Reason.MASK_SIZE: "a mask of another size than its image",
    Reason.MASK_ELSEWHERE: "a mask that does not lie where its image lies",
    Reason.MASK_UNKNOWN: "a mask with a value or segment that the study does not know",
    Reason.WITHDRAWN: "the patient has withdrawn",
    Reason.NOT_AGREED: "not among those agreed for the private study",
}


class SetAside(Exception):
    """One image cannot be used; carries the reason and nothing from the image."""

    def __init__(self, reason: Reason) -> None:
        super().__init__(reason.value)
        self.reason = reason
