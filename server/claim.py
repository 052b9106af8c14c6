"""What an update claims, what a round expects of it, and the two ways an examination ends.

The types of admission; the rules stand in `server/admission.py`.
"""

from collections.abc import Iterable, Mapping, Set
from dataclasses import dataclass
from enum import StrEnum
from typing import ClassVar

from server.norms import NormHistory
from shared.errors import WardroundError
from shared.update import PackedFile


class AdmissionReason(StrEnum):
    """Why an update was refused, by reception or by admission; the word in the journal and the report."""

    BAD_SIGNATURE = "bad_signature"
    FOREIGN_EPOCH = "foreign_epoch"
    FOREIGN_ROUND = "foreign_round"
    REPLAY = "replay"
    NEGATIVE_COUNT = "negative_count"
    OVERSIZE = "oversize"
    DIGEST = "digest"
    MALFORMED = "malformed"
    MISSING_KEY = "missing_key"
    EXTRA_KEY = "extra_key"
    DTYPE = "dtype"
    SHAPE = "shape"
    NOT_FINITE = "not_finite"
    OUT_OF_RANGE = "out_of_range"
    NORM = "norm"


class Refused(WardroundError):
    """One update does not count; the round goes on with the others.

    Attributes:
        reason: the primary reason.
        reasons: every reason found, the primary one first.
        detail: what was expected and found, without any name or number of a tensor's content.
    """

    exit_code: ClassVar[int] = 5
    code: ClassVar[str] = "refused"

    def __init__(self, *reasons: AdmissionReason, detail: str) -> None:
        super().__init__(f"An update was refused: {detail}.", remedy="See the site's entry in the study's journal.")
        self.reason = reasons[0]
        self.reasons = reasons
        self.detail = detail


@dataclass(frozen=True, kw_only=True)
class Declared:
    """What a site said it brings when the study opened: its training examples and patients."""

    examples: int
    patients: int


@dataclass(frozen=True, kw_only=True)
class Claim:
    """What an update says about itself, as read from its site's answer; nothing in it is believed yet.

    Attributes:
        site: the site that signed the answer.
        examples, patients, steps: what the site says it worked on; any integer.
    """

    site: str
    update_digest: str
    update_bytes: int
    examples: int
    patients: int
    steps: int


@dataclass(frozen=True, kw_only=True)
class Expected:
    """What the server awaits in one round.

    Attributes:
        declared: by site, as the study opened.
        admitted: sites that have already counted in this round.
        seen: by site, digests of its updates in committed rounds whose norm was above zero (a site
            that does not train sends the same zeros each time).
        norms: admitted norms of the last rounds.
    """

    declared: Mapping[str, Declared]
    norms: NormHistory
    admitted: Set[str] = frozenset()
    seen: Mapping[str, Set[str]] | None = None


@dataclass(frozen=True, kw_only=True)
class Admitted:
    """An update that counts; `steps` are the optimizer's at the site.

    Its weight in the fold is `examples` times `discount`, which is 1 unless the update is late.
    """

    site: str
    examples: int
    steps: int
    norm: float
    update_digest: str
    packed: PackedFile
    discount: float = 1.0

    @property
    def weight(self) -> float:
        """What the update weighs against the others of its round."""
        return self.examples * self.discount


def share_of(updates: Iterable[Admitted], declared: Mapping[str, Declared]) -> float:
    """The share of all declared training examples that the sites of these updates hold; 1 without any."""
    held = sum(declared[update.site].examples for update in updates)
    return held / total if (total := sum(site.examples for site in declared.values())) else 1.0
