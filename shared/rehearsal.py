"""What a rehearsal may say about a site: for each named check one code of a closed list, and two durations.

A rehearsal is a round that counts for nothing: a site does with its real images all that the round would
ask of it and throws the result away. This module decides the only words in which it may report:

1. a check has one code, and each code but `pass` belongs to one check;
2. a check that was not reached has none;
3. a duration has two significant digits, so that nothing else can be told by its last ones.

No count, score, tensor, digest of data or free text has a place here. Where its question asks for a survey, a site
that permits it adds counts of their own closed form (`shared/survey.py`). A duration still depends on how many
images there are, and each code about images answers a question: so a site answers few rehearsals in a day.
What a code means and what to do about it is a fixed text on each side; it never travels.
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, NamedTuple

from pydantic import AfterValidator, Field

from shared.errors import WireCode
from shared.section import Section

CLOCK_TOLERANCE_S = 5.0
LONGEST_S = 1e7


class Check(StrEnum):
    """What is looked at, in the order in which a site comes to it."""

    VERSION = "version"
    CLOCK = "clock"
    DEVICE = "device"
    IMAGES = "images"
    MEMORY = "memory"
    WORK = "work"
    DISK = "disk"
    CONTRACT = "contract"


class Outcome(StrEnum):
    """How a check came out: well; well enough for a round, but to be known; or not."""

    PASS = "pass"  # noqa: S105  no password
    WARN = "warn"
    FIX = "fix"


class Code(StrEnum):
    """The word on one check; what each means stands in `MEANINGS`."""

    PASS = "pass"  # noqa: S105  no password
    ANOTHER_VERSION = "another_version"
    CLOCK_AHEAD = "clock_ahead"
    CLOCK_BEHIND = "clock_behind"
    NOT_USABLE = "not_usable"
    FELL_BACK_TO_CPU = "fell_back_to_cpu"
    NOT_FOUND = "not_found"
    NONE_USABLE = "none_usable"
    NO_TRAINING_PATIENTS = "no_training_patients"
    NO_VALIDATION_PATIENTS = "no_validation_patients"
    ONE_CLASS = "one_class"
    SOME_UNREADABLE = "some_unreadable"
    OUT_OF_MEMORY = "out_of_memory"
    MODEL_UNSOUND = "model_unsound"
    NO_STEP = "no_step"
    CRASHED = "crashed"
    FAILED = "failed"
    NO_ROOM = "no_room"
    NOT_WRITABLE = "not_writable"
    NOT_FINITE = "not_finite"
    NOT_AS_AGREED = "not_as_agreed"


class Meaning(NamedTuple):
    """What a code says: about which check, how it came out, in a sentence, and what the site should do."""

    check: Check
    outcome: Outcome
    what: str
    remedy: str


MEANINGS: dict[Code, Meaning] = {
    Code.ANOTHER_VERSION: Meaning(
        Check.VERSION,
        Outcome.FIX,
        "The site runs another version of Wardround or of its libraries: another protocol, or another network.",
        "Have the site install the coordinator's version with its constraints.txt, and start it again.",
    ),
    Code.CLOCK_AHEAD: Meaning(
        Check.CLOCK,
        Outcome.WARN,
        f"The site's clock is more than {CLOCK_TOLERANCE_S:.0f} s ahead of the server's.",
        "Have the site's IT keep the clock by NTP; the times in its ledger are wrong meanwhile.",
    ),
    Code.CLOCK_BEHIND: Meaning(
        Check.CLOCK,
        Outcome.WARN,
        f"The site's clock is more than {CLOCK_TOLERANCE_S:.0f} s behind the server's.",
        "Have the site's IT keep the clock by NTP; the times in its ledger are wrong meanwhile.",
    ),
    Code.NOT_USABLE: Meaning(
        Check.DEVICE,
        Outcome.FIX,
        "The device that site.toml names cannot be used.",
        "Have the site look at the driver, or set compute.device to auto.",
    ),
    Code.FELL_BACK_TO_CPU: Meaning(
        Check.DEVICE,
        Outcome.WARN,
        "The site found no GPU and computes on the CPU.",
        "If the site has a GPU, have its IT look at the driver; else plan with its time.",
    ),
    Code.NOT_FOUND: Meaning(
        Check.IMAGES,
        Outcome.FIX,
        "The site's images or labels are not where site.toml says, or cannot be read as a whole.",
        "Have the site compare data in site.toml with its folders and their rights; its worker.log says more.",
    ),
    Code.NONE_USABLE: Meaning(
        Check.IMAGES,
        Outcome.FIX,
        "The site found images, but none that can be used.",
        "Have the site compare its label table and labels.words with the study's classes.",
    ),
    Code.NO_TRAINING_PATIENTS: Meaning(
        Check.IMAGES,
        Outcome.FIX,
        "No patient of the site is for training.",
        "Have the site look at the splits that its labels name, or leave the site out of rounds.sites.",
    ),
    Code.NO_VALIDATION_PATIENTS: Meaning(
        Check.IMAGES,
        Outcome.WARN,
        "No patient of the site is for validation, so that it scores no model.",
        "Have the site raise data.validation_fraction, or the splits of its labels be corrected.",
    ),
    Code.ONE_CLASS: Meaning(
        Check.IMAGES,
        Outcome.WARN,
        "All training images of the site have the same label.",
        "Have the site look at its labels; if they are right, see `study check --labels` for a method that bears it.",
    ),
    Code.SOME_UNREADABLE: Meaning(
        Check.IMAGES,
        Outcome.WARN,
        "Some of the site's files cannot be read as images, and are left out.",
        "Have the site's IT look at which, if it expects all to count.",
    ),
    Code.OUT_OF_MEMORY: Meaning(
        Check.MEMORY,
        Outcome.FIX,
        "The memory of the site's device is too small for this model, image size and batch.",
        "Lower training.batch_size or images.size_px, or have the site free memory.",
    ),
    Code.MODEL_UNSOUND: Meaning(
        Check.WORK,
        Outcome.FIX,
        "The start model arrived damaged, or is not the study's.",
        "Rehearse again; if it comes again, look for a proxy that alters traffic.",
    ),
    Code.NO_STEP: Meaning(
        Check.WORK,
        Outcome.WARN,
        "A round takes no step of training at this site.",
        "If that is not meant: a network with batch norm needs two images in a batch.",
    ),
    Code.CRASHED: Meaning(
        Check.WORK,
        Outcome.FIX,
        "The site's worker ended in the midst of the work, each time it was tried; often for want of memory.",
        "Have the site read worker.log and the system's log; then lower training.batch_size or images.size_px.",
    ),
    Code.FAILED: Meaning(
        Check.WORK,
        Outcome.FIX,
        "The site's work failed.",
        "Have the site read worker.log, which says where.",
    ),
    Code.NO_ROOM: Meaning(
        Check.DISK,
        Outcome.FIX,
        "The site's disk has too little room for its image cache or for two rounds' models and updates.",
        "Have the site make room on the disk of its folder.",
    ),
    Code.NOT_WRITABLE: Meaning(
        Check.DISK,
        Outcome.FIX,
        "The site cannot write into its own folder.",
        "Have the site correct owner and mode of its folders spool and cache.",
    ),
    Code.NOT_FINITE: Meaning(
        Check.CONTRACT,
        Outcome.FIX,
        "The update of one step holds values that are not finite, so that the site's door lets none out.",
        "Lower training.learning_rate; with amp, try without.",
    ),
    Code.NOT_AS_AGREED: Meaning(
        Check.CONTRACT,
        Outcome.FIX,
        "The update or its scores do not match the contract, so that the site's door lets none out.",
        "Have the site install the coordinator's version; its console names the rule.",
    ),
}


_CODES = {
    WireCode.PROTOCOL: Code.ANOTHER_VERSION,
    WireCode.DEVICE: Code.NOT_USABLE,
    WireCode.NO_DATA: Code.NOT_FOUND,
    WireCode.OUT_OF_MEMORY: Code.OUT_OF_MEMORY,
    WireCode.MODEL_UNSOUND: Code.MODEL_UNSOUND,
    WireCode.WORKER_CRASHED: Code.CRASHED,
    WireCode.DISK_FULL: Code.NO_ROOM,
    WireCode.CONTRACT: Code.NOT_AS_AGREED,
}


def code_for(failure: WireCode) -> Code:
    """The word of a rehearsal for a failure that would end the work of a round."""
    return _CODES.get(failure, Code.FAILED)


def told(code: Code) -> dict[Check, Code]:
    """The finding that a code other than `pass` makes, at its own check."""
    return {MEANINGS[code].check: code}


def outcome(code: Code) -> Outcome:
    """How a check with this code came out."""
    return Outcome.PASS if code is Code.PASS else MEANINGS[code].outcome


def codes_of(check: Check) -> tuple[Code, ...]:
    """Every code that a check may have."""
    return (Code.PASS, *(code for code, meaning in MEANINGS.items() if meaning.check is check))


def two_digits(seconds: float) -> float:
    """A duration in seconds as a rehearsal may tell it: two significant digits, at most `LONGEST_S`."""
    bounded = min(max(seconds, 0.0), LONGEST_S)
    return float(f"{bounded:.1e}") if bounded >= 0.001 else 0.0


def _each_its_own(findings: dict[Check, Code]) -> dict[Check, Code]:
    if wrong := [check for check, code in findings.items() if code not in codes_of(check)]:
        raise ValueError(f"a code stands at another check than its own: {wrong[0]}")
    return findings


def _coarse(seconds: float) -> float:
    if seconds != two_digits(seconds):
        raise ValueError("a duration has more than two significant digits")
    return seconds


Findings = Annotated[dict[Check, Code], AfterValidator(_each_its_own)]
Coarse = Annotated[float, Field(ge=0, le=LONGEST_S), AfterValidator(_coarse)]


class Terms(Section):
    """What the coordinator asks of a rehearsal: how long a site may take, in seconds, and whether it counts, too."""

    deadline_s: Annotated[float, Field(gt=0, le=7 * 86400)]
    survey: bool = False


def fixes(findings: Mapping[Check, Code]) -> bool:
    """Whether anything is to be mended before a round."""
    return any(outcome(code) is Outcome.FIX for code in findings.values())
