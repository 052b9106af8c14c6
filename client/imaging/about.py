"""What a header says of how an image was made, in words of fixed lists.

Decides the words. They may be counted and shown: whatever a header says beyond them becomes `other`, and
what it leaves out `unstated`, so that no text of a header passes through here.
"""

from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field

Word = Annotated[str, Field(pattern=r"^[a-z0-9_]{1,32}$")]
View = Literal["pa", "ap", "lateral", "cc", "mlo", "other", "unstated"]
Mark = Literal["for_processing", "localizer", "secondary", "derived", "tilted_gantry"]
BurnedIn = Literal["yes", "no", "possible", "unstated"]

UNSTATED, OTHER = "unstated", "other"


@dataclass(frozen=True)
class About:
    """How one file's images were made.

    Attributes:
        syntax: the compression or encoding of the pixels.
        modality: the kind of machine (DICOM CID 29), in small letters.
        vendor: the maker of the machine.
        view: the projection of a radiograph.
        marks: what is said of the processing, and for a volume of the scan; an image may have several or none.
        burned_in: whether the pixels may hold text; `possible` where the header leaves it open and the kind
            of image often does.
    """

    syntax: Word = UNSTATED
    modality: Word = UNSTATED
    vendor: Word = UNSTATED
    view: View = "unstated"
    marks: tuple[Mark, ...] = ()
    burned_in: BurnedIn = "unstated"
