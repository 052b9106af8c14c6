"""A pull against a PACS that breaks off, names nonsense, or has nothing but failures."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from pacs_bed import PARTS, ROOT, SERIES, instances

from client.pacs.account import Account
from client.pacs.archive import Away, Intake
from client.pacs.inflow import MOST_FAILURES, Inflow
from client.pacs.pull import Pull
from client.pacs.query import Keys, Level, Query, Series
from client.pacs.settings import QuerySettings
from client.pacs.shelf import Shelf
from shared.errors import DiskFull, LinkError, Refusal, WireCode

FILES = instances("CR", "MR")
EXAMS = {f"{ROOT}.{facts['AccessionNumber'][-1]}": facts for facts, _ in SERIES[:4]}


class Held:
    """A PACS in memory with the exams of `pacs_bed`.

    `breaks` says before which fetches the line breaks, `bad` at which instance it always does, `fetches` after how
    many it is away for good.
    """

    def __init__(
        self, breaks: Sequence[int] = (), *, named: Sequence[str] = (), bad: str = "", fetches: int = 1000
    ) -> None:
        self._fetches = fetches
        self._bad = bad
        self.asked: list[str] = []
        self._breaks = set(breaks)
        self._named = named

    def find(self, level: Level, keys: Keys) -> Iterator[Keys]:
        if len(self.asked) > self._fetches:
            raise Away("It is away.", remedy="Wait.")
        if level is Level.EXAM:
            yield from ({"StudyInstanceUID": exam} | facts for exam, facts in EXAMS.items())
        elif level is Level.SERIES:
            for number, part in enumerate(PARTS[:4]):
                uid = f"{keys['StudyInstanceUID']}.{number}"
                if any(file.startswith(f"{uid}.") for file in FILES):
                    modality = EXAMS[keys["StudyInstanceUID"]]["Modality"]
                    yield {"SeriesInstanceUID": uid, "Modality": modality, "BodyPartExamined": part}
        else:
            yield from ({"SOPInstanceUID": uid} for uid in FILES if uid.startswith(f"{keys['SeriesInstanceUID']}."))
            yield from ({"SOPInstanceUID": uid} for uid in self._named)

    def fetch(self, series: Series, instances: Sequence[Keys], intake: Intake) -> None:
        for instance in instances:
            intake.turn()
            uid = instance["SOPInstanceUID"]
            self.asked.append(uid)
            if len(self.asked) in self._breaks or uid == self._bad or len(self.asked) > self._fetches:
                raise Away("It broke off.", remedy="Wait.")
            if uid in FILES:
                intake.take(uid, [FILES[uid]])
            else:
                intake.fail(uid, "gone")

    def close(self) -> None:
        pass


Run = Callable[..., Account]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Pull into one folder; `error` is what the pull must end with."""

    def go(
        held: Held,
        *,
        error: type[Exception] | None = None,
        lanes: int = 1,
        back_off_s: Sequence[float] = (0.0, 0.0),
        in_hours: Callable[[], bool] = lambda: True,
        dry: bool = False,
        **query: Any,
    ) -> Account:
        shelf, account = Shelf(tmp_path, free_bytes=0), Account()
        inflow = Inflow(shelf, account, in_hours=in_hours)
        asked = Query(QuerySettings.model_validate(query or {"modalities": ("CR", "MR")}))
        with shelf.open():
            pull = Pull(held, asked, shelf=shelf, inflow=inflow, account=account, dry=dry, back_off_s=back_off_s)
            exams = pull.exams()
            if error is None:
                pull.run(exams, lanes=lanes)
            else:
                with pytest.raises(error):
                    pull.run(exams, lanes=lanes)
        return account

    return go


@pytest.mark.parametrize("lanes", [1, 4])
def test_what_is_found_is_pulled_once(run: Run, lanes: int) -> None:
    first, held = Held(), Held()
    account = run(first, lanes=lanes)
    assert (account.exams, account.series, account.instances) == (3, 4, 8)
    assert (account.pulled, account.already_there, account.others) == (8, 0, 0)
    assert account.pulled_bytes == sum(map(len, FILES.values()))
    assert sorted(first.asked) == sorted(FILES)
    again = run(held, lanes=lanes)
    assert (again.pulled, again.already_there, held.asked) == (0, 8, [])


def test_a_narrower_query_says_what_else_lies_here(run: Run) -> None:
    run(Held())
    account = run(Held(), body_parts=("CHEST",))
    assert (account.exams, account.series, account.instances, account.others) == (3, 2, 5, 3)
    assert account.as_json()["left_out"] == {"body_part": 1, "body_part_unstated": 1}


def test_a_dry_run_fetches_nothing(run: Run) -> None:
    held = Held()
    account = run(held, dry=True, in_hours=lambda: False)
    assert (account.instances, account.pulled, held.asked) == (8, 0, [])


def test_a_line_that_breaks_and_comes_back_costs_one_file_each_time(run: Run) -> None:
    held = Held(breaks=(2, 4, 6, 9))
    account = run(held)
    assert account.pulled == 8
    assert len(held.asked) == 8 + 4


def test_a_line_that_stays_away_ends_the_pull_which_goes_on_later(run: Run) -> None:
    account = run(Held(fetches=2), error=Away)
    assert (account.pulled, account.others) == (2, None)
    later = run(Held())
    assert (later.pulled, later.already_there) == (6, 2)


def test_an_instance_that_breaks_the_line_each_time_fails_alone(run: Run) -> None:
    account = run(Held(bad=next(iter(FILES))))
    assert (account.pulled, account.as_json()["failed"]) == (7, {"broke_off": 1})


def test_the_hours_end_a_pull(run: Run) -> None:
    answers = iter([True] * 4 + [False] * 100)
    account = run(Held(), error=Refusal, in_hours=lambda: next(answers))
    assert 0 < account.pulled < 8


def test_outside_the_hours_the_pacs_is_not_even_asked(tmp_path: Path) -> None:
    shelf, account = Shelf(tmp_path, free_bytes=0), Account()
    inflow = Inflow(shelf, account, in_hours=lambda: False)
    query = Query(QuerySettings(modalities=("CR",)))
    with pytest.raises(Refusal):
        Pull(Held(fetches=-1), query, shelf=shelf, inflow=inflow, account=account).exams()


@pytest.mark.parametrize(("limits", "rested"), [({"instances_per_s": 4}, 2.0), ({"mb_per_s": 0.001}, None), ({}, 0.0)])
def test_what_comes_keeps_to_the_rate(tmp_path: Path, limits: dict[str, float], rested: float | None) -> None:
    clock = [0.0]

    def wait(seconds: float) -> None:
        clock[0] += seconds

    shelf, account = Shelf(tmp_path, free_bytes=0), Account()
    inflow = Inflow(shelf, account, in_hours=lambda: True, clock=lambda: clock[0], wait=wait, **limits)
    query, held = Query(QuerySettings(modalities=("CR",))), Held()
    with shelf.open():
        pull = Pull(held, query, shelf=shelf, inflow=inflow, account=account)
        pull.run(pull.exams(), lanes=1)
    assert account.pulled == 6
    last = len(FILES[held.asked[-1]])
    paid = (account.pulled_bytes - last) / 1000 if rested is None else rested
    assert clock[0] == pytest.approx(paid)


def test_the_refusal_of_the_hours_names_its_line(tmp_path: Path) -> None:
    with pytest.raises(Refusal) as caught:
        Inflow(Shelf(tmp_path, free_bytes=0), Account(), in_hours=lambda: False).turn()
    assert (caught.value.wire_code, caught.value.rule) == (WireCode.OUT_OF_HOURS, "hours")


def test_uids_that_are_none_are_left_out_and_those_that_are_gone_fail(run: Run) -> None:
    account = run(Held(named=("../../../etc/passwd", "1.2.3")), modalities=("MR",))
    assert (account.pulled, account.instances) == (2, 3)
    assert account.as_json()["left_out"] == {"bad_uid": 1, "modality": 3}
    assert account.as_json()["failed"] == {"gone": 1}


def test_a_pacs_that_fails_everything_is_not_asked_for_all_of_it(run: Run) -> None:
    held = Held(named=[f"1.2.{n}" for n in range(2 * MOST_FAILURES)])
    account = run(held, error=LinkError, modalities=("MR",))
    assert len(account.failed) == MOST_FAILURES
    assert len(held.asked) == 2 + MOST_FAILURES


def test_a_full_disk_ends_all_lanes(tmp_path: Path) -> None:
    shelf, account = Shelf(tmp_path, free_bytes=1e18), Account()
    inflow = Inflow(shelf, account, in_hours=lambda: True)
    with shelf.open():
        query = Query(QuerySettings(modalities=("CR", "MR")))
        pull = Pull(Held(), query, shelf=shelf, inflow=inflow, account=account)
        with pytest.raises(DiskFull):
            pull.run(pull.exams(), lanes=4)
    assert account.pulled == 0
