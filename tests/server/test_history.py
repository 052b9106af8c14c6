"""What the records add up to, and which of them cannot follow."""

import pytest

from server.claim import AdmissionReason, Declared
from server.history import LiveHistory, StudyHistory
from server.ledger_records import SiteClosed
from server.record import Record
from server.records import (
    RECORDS,
    EpochClaimed,
    RoundCommitted,
    RoundFailed,
    RoundOpened,
    SiteLost,
    SiteOpened,
    SiteRefused,
    SiteScored,
    StudyFailed,
    StudyFinished,
    StudyStarted,
    StudyStopped,
    UpdateAdmitted,
    UpdateReady,
    UpdateRefused,
)
from shared.errors import TrustError, WireCode

START = "0" * 64
SITES = ("north", "south")


def digest(number: int) -> str:
    return f"{number:064x}"


def started() -> StudyStarted:
    return StudyStarted(study="chest", study_digest=digest(99), start_digest=START, cohort=SITES)


def opened(number: int) -> RoundOpened:
    return RoundOpened(round=number, epoch=1, model_digest=digest(number - 1), cohort=SITES)


def admitted(number: int, site: str, norm: float = 1.0) -> UpdateAdmitted:
    return UpdateAdmitted(round=number, site=site, update_digest=digest(1000 + number), examples=10, norm=norm)


def committed(number: int, *counted: str) -> RoundCommitted:
    return RoundCommitted(
        round=number,
        epoch=1,
        model_digest=digest(number),
        previous_digest=digest(number - 1),
        counted=counted,
        absent={site: "line lost" for site in SITES if site not in counted},
    )


def beginning() -> list[Record]:
    return [started(), EpochClaimed(epoch=1, pid=10)]


def one_round(number: int, norm: float = 1.0) -> list[Record]:
    both = [admitted(number, "north", norm), admitted(number, "south", 2 * norm)]
    return [opened(number), *both, committed(number, "north", "south")]


def test_nothing_happened_yet() -> None:
    history = StudyHistory()
    assert (history.last_round, history.model_digest, history.ended) == (0, None, None)


def test_rounds_add_up() -> None:
    history = StudyHistory.replay([*beginning(), *one_round(1), *one_round(2, norm=3.0)])
    assert history.last_round == 2
    assert history.model_digest == digest(2)
    assert history.norms.rounds == ((1.0, 2.0), (3.0, 6.0))
    assert history.seen == {site: {digest(1001), digest(1002)} for site in SITES}
    assert history.pending == {}


def test_only_what_was_committed_has_counted() -> None:
    history = StudyHistory.replay([*beginning(), *one_round(1), opened(2), admitted(2, "north")])
    assert history.last_round == 1
    assert set(history.pending) == {"north"}
    assert digest(1002) not in history.seen["north"]
    history.apply(EpochClaimed(epoch=2, pid=11))
    assert set(history.pending) == {"north"}  # a checkpoint may still be waiting for its entry
    history.apply(opened(2))
    assert (history.pending, set(history.before)) == ({}, {"north"})


def test_what_any_owner_admitted_is_known_until_the_round_is_committed() -> None:
    history = StudyHistory.replay([*beginning(), opened(1), admitted(1, "north"), admitted(1, "south")])
    for number in (2, 3):
        for record in (EpochClaimed(epoch=number, pid=10), opened(1), admitted(1, "north")):
            history.apply(record)
        assert (set(history.pending), set(history.before)) == ({"north"}, set(SITES))
    history.apply(committed(1, "north"))
    assert (history.pending, history.before) == ({}, {})


def test_zeros_may_come_again() -> None:
    history = StudyHistory.replay([*beginning(), opened(1), admitted(1, "north", 0.0), committed(1, "north")])
    assert history.seen == {}
    assert history.norms.rounds == ((0.0,),)


def test_a_site_that_was_admitted_late_does_not_count() -> None:
    records = [opened(1), admitted(1, "north"), admitted(1, "south", 50.0), committed(1, "north")]
    history = StudyHistory.replay([*beginning(), *records])
    assert history.norms.rounds == ((1.0,),)
    assert set(history.seen) == {"north"}


def test_what_sites_said() -> None:
    said = SiteOpened(
        site="north",
        contract_digest=START,
        patients={"train": 7, "test": 2},
        examples={"train": 9},
        device="cpu",
        threads=1,
    )
    ready = UpdateReady(
        round=1,
        site="north",
        update_digest=START,
        update_bytes=8,
        examples=9,
        patients=7,
        steps=3,
        replayed=False,
        seconds={"train": 1.5},
    )
    no = UpdateRefused(round=1, site="south", reasons=(AdmissionReason.NORM,), detail="its norm is above the bound")
    other_no = SiteRefused(round=1, site="south", code=WireCode.NO_DATA)
    lost = SiteLost(round=1, site="south", cause="line lost")
    failed = RoundFailed(round=1, counted=("north",), missing={"south": "norm"})
    scored = SiteScored(site="north", model_digest=START, scores=())
    closed = SiteClosed(site="north", head=START)
    everything = [said, opened(1), ready, no, other_no, lost, failed, scored, closed]
    history = StudyHistory.replay([*beginning(), *everything])
    assert history.declared == {"north": Declared(examples=9, patients=7)}
    assert history.readies == [ready]
    assert history.refusals == [no, other_no]
    assert (history.losses, history.failures) == ([lost], [failed])
    assert (history.scored, history.closed) == ({"north": scored}, {"north": closed})


@pytest.mark.parametrize(
    ("end", "stays"),
    [
        (StudyFinished(model_digest=START), True),
        (StudyStopped(reason="asked"), False),
        (StudyFailed(reason="no quorum"), False),
    ],
)
def test_a_new_owner_reopens_what_was_not_finished(end: Record, stays: bool) -> None:
    history = StudyHistory.replay([*beginning(), end])
    assert history.ended == end
    history.apply(EpochClaimed(epoch=2, pid=11))
    assert (history.ended == end) is stays


@pytest.mark.parametrize(
    "record",
    [
        started(),
        EpochClaimed(epoch=1, pid=3),
        opened(1),
        opened(3),
        RoundOpened(round=2, epoch=1, model_digest=digest(7), cohort=SITES),
        admitted(1, "south"),
        admitted(2, "north"),
        committed(1, "north"),
        committed(2, "north", "south"),
        committed(3, "north"),
        committed(2, "north").model_copy(update={"previous_digest": digest(7)}),
    ],
)
def test_a_contradiction_is_not_believed(record: Record) -> None:
    history = StudyHistory.replay([*beginning(), *one_round(1), opened(2), admitted(2, "north")])
    before = repr(history)
    with pytest.raises(TrustError, match="contradicts"):
        history.apply(record)
    assert repr(history) == before


def test_every_record_has_its_word() -> None:
    assert set(RECORDS) >= {"study_started", "epoch_claimed", "site_opened", "round_opened", "update_ready"}
    assert RECORDS["update_admitted"] is UpdateAdmitted
    assert all(RECORDS[word].entry_type() == word for word in RECORDS)


def test_what_a_conductor_keeps_does_not_grow_with_what_sites_report() -> None:
    history = LiveHistory.replay(beginning())
    for number in range(1, 30):
        reports = [
            UpdateReady(
                round=number, site=site, update_digest=digest(number), update_bytes=8,
                examples=9, patients=7, steps=3, replayed=False,
            )
            for site in SITES
        ]  # fmt: skip
        for record in (*reports, *one_round(number)):
            history.apply(record)
        assert history.worked == {site: (number, digest(number)) for site in SITES}
    assert not hasattr(history, "readies")
