"""The account of a pull: counts and fixed words, nothing about a patient."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Account:
    """What a pull found and what became of it.

    Attributes:
        exams, series, instances: found, and wanted by the query.
        left_out: named by the PACS and not wanted, by reason; exams, series or instances.
        pulled: instances that came, and are on the disk.
        pulled_bytes: of those.
        already_there: instances that an earlier pull brought.
        failed: by instance why it did not come; UIDs, so never shown.
        others: files in the folder that this query did not find; None unless it was answered whole.
    """

    exams: int = 0
    series: int = 0
    instances: int = 0
    left_out: Counter[str] = field(default_factory=Counter)
    pulled: int = 0
    pulled_bytes: int = 0
    already_there: int = 0
    failed: dict[str, str] = field(default_factory=dict, repr=False)
    others: int | None = None

    def as_json(self) -> dict[str, Any]:
        """The counts."""
        return {
            "found": {"exams": self.exams, "series": self.series, "instances": self.instances},
            "left_out": dict(sorted(self.left_out.items())),
            "pulled": self.pulled,
            "pulled_bytes": self.pulled_bytes,
            "already_there": self.already_there,
            "failed": dict(sorted(Counter(self.failed.values()).items())),
            "others": self.others,
        }
