"""Records hold names, counts, digests and codes, and survive the journal's JSON."""

import pytest
from pydantic import ValidationError

from server.record import Record
from server.records import RECORDS, RoundCommitted, SiteOpened, StudyFailed, UpdateReady, UpdateRefused, reason_of
from shared.canonical import canonical, parse_canonical
from shared.errors import StudyError

DIGEST = "a" * 64
READY = {
    "round": 1,
    "site": "north",
    "update_digest": DIGEST,
    "update_bytes": 8,
    "examples": 3,
    "patients": 2,
    "steps": 1,
    "replayed": False,
}
SAMPLES: list[Record] = [
    UpdateReady.model_validate(READY | {"seconds": {"train": 0.1}}),
    UpdateRefused.model_validate({"round": 1, "site": "north", "reasons": ["norm", "shape"], "detail": "too large"}),
    RoundCommitted.model_validate(
        {
            "round": 2,
            "epoch": 1,
            "model_digest": DIGEST,
            "previous_digest": DIGEST,
            "counted": ["north"],
            "late": {"south": "asked"},
            "refused": {"west": "norm"},
            "absent": {"east": "line lost"},
        }
    ),
    SiteOpened.model_validate(
        {
            "site": "north",
            "contract_digest": DIGEST,
            "patients": {"train": 1},
            "examples": {"train": 2},
            "device": "cpu",
            "threads": 1,
            "software": {"python": "3.11"},
        }
    ),
]


@pytest.mark.parametrize("record", SAMPLES, ids=lambda record: record.entry_type())
def test_a_record_survives_canonical_json(record: Record) -> None:
    data = parse_canonical(canonical(record.model_dump(mode="json")))
    assert RECORDS[record.entry_type()].model_validate(data) == record


@pytest.mark.parametrize(
    "changed",
    [
        {"site": "Jane Doe"},
        {"site": "../x"},
        {"update_digest": "abc"},
        {"update_bytes": -1},
        {"seconds": {"train": float("nan")}},
        {"seconds": {"a name that is far too long": 1.0}},
        {"note": "free text"},
    ],
)
def test_free_text_and_impossible_values_are_refused(changed: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        UpdateReady.model_validate(READY | changed)


def test_a_claimed_count_is_written_down_as_claimed() -> None:
    """Admission refuses it by name; the journal must be able to say what was claimed before that."""
    assert UpdateReady.model_validate(READY | {"examples": -5}).examples == -5


def test_a_reason_is_cut_between_words() -> None:
    names = [f"st-mary-of-the-{number}" for number in range(60)]
    reason = reason_of(StudyError(f"Too few sites: {', '.join(names)}.", remedy="Call them."))
    assert 450 < len(reason) <= 500
    whole = reason.removeprefix("Too few sites: ").removesuffix(", \N{HORIZONTAL ELLIPSIS}").split(", ")
    assert set(whole) < set(names)
    assert StudyFailed(reason=reason).reason == reason
    assert reason_of(StudyError("Short.", remedy="Wait.")) == "Short."


def test_a_refusal_has_a_reason() -> None:
    with pytest.raises(ValidationError):
        UpdateRefused.model_validate({"round": 1, "site": "north", "reasons": [], "detail": ""})
