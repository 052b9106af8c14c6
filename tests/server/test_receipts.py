"""Each site is told what became of its work, once the round is committed; whoever was late or not asked since, too."""

from server.history import LiveHistory
from server.receipts import receipts_for
from server.record import Record
from server.records import EpochClaimed, RoundCommitted, RoundOpened, StudyStarted, UpdateAdmitted, UpdateReady
from shared.heads import Held
from shared.keys import make_identity_key

SITES = ("east", "north", "south")
KEY = make_identity_key()
HELD = Held(root="f" * 64, sites=3)


def digest(number: int) -> str:
    return f"{number:064x}"


def a_round(number: int, *counted: str, announced: tuple[str, ...] = SITES, **others: dict[str, str]) -> list[Record]:
    work = {"update_digest": digest(100 + number), "examples": 9}
    return [
        RoundOpened(round=number, epoch=1, model_digest=digest(number - 1), cohort=SITES),
        *(UpdateReady(round=number, site=s, update_bytes=8, patients=7, steps=3, replayed=False, **work)
          for s in announced),
        *(UpdateAdmitted(round=number, site=site, norm=1.0, **work) for site in counted),
        RoundCommitted(round=number, epoch=1, model_digest=digest(number), previous_digest=digest(number - 1),
                       counted=counted, **others),
    ]  # fmt: skip


def told(*records: Record) -> dict[str, list[tuple[int, str, str | None]]]:
    start = StudyStarted(study="chest", study_digest=digest(99), start_digest=digest(0), cohort=SITES)
    history = LiveHistory.replay([start, EpochClaimed(epoch=1, pid=1), *records])
    found = {site: receipts_for(site, history, HELD, key=KEY, now="2026-01-02T03:04:05Z") for site in SITES}
    assert all(r.model_digest == digest(r.round) for receipts in found.values() for r in receipts)
    return {site: [(r.round, r.outcome, r.update_digest) for r in receipts] for site, receipts in found.items()}


def test_who_counted_was_refused_or_was_late() -> None:
    round_one = a_round(1, "east", refused={"north": "norm"}, late={"south": "granted"})
    update = digest(101)
    assert told(*round_one) == {
        "east": [(1, "counted", update)],
        "north": [(1, "refused", update)],
        "south": [(1, "late", update)],
    }


def test_a_site_that_was_still_at_work_is_late_without_a_digest_and_an_absent_one_is_told_nothing() -> None:
    round_one = a_round(1, "east", announced=("east",), late={"north": "asked"}, absent={"south": "waiting"})
    assert told(*round_one) == {"east": [(1, "counted", digest(101))], "north": [(1, "late", None)], "south": []}


def test_nothing_is_said_of_an_open_round() -> None:
    assert told(*a_round(1, "east")[:-1]) == {site: [] for site in SITES}


def test_a_site_that_was_not_asked_since_is_told_of_its_own_last_round() -> None:
    records = [*a_round(1, *SITES), *a_round(2, "east", announced=("east",))]
    assert told(*records)["north"] == [(1, "counted", digest(101))]
