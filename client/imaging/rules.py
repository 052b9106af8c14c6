"""Which images a site wants of those that it has, by what their headers say of how they were made.

Decides from the fixed words of `about`; a mark counts before a view. What a header must say to earn a mark is
left to the format.
"""

from dataclasses import dataclass

from client.imaging.about import About, Mark, View
from client.imaging.reasons import Reason

_UNWANTED: dict[Mark, Reason] = {
    "for_processing": Reason.FOR_PROCESSING,
    "localizer": Reason.LOCALIZER,
    "secondary": Reason.SECONDARY,
}


@dataclass(frozen=True)
class Rules:
    """The site's choice.

    Attributes:
        keep: marks that do not set an image aside.
        views: the only projections wanted; none named wants all.
    """

    keep: tuple[Mark, ...] = ()
    views: tuple[View, ...] = ()

    def unwanted(self, about: About) -> Reason | None:
        """Why an image made like this is set aside; None if it is wanted."""
        for mark in about.marks:
            if mark in _UNWANTED and mark not in self.keep:
                return _UNWANTED[mark]
        return Reason.VIEW_NOT_ASKED if self.views and about.view not in self.views else None


USUAL = Rules()  # what a site that says nothing wants
