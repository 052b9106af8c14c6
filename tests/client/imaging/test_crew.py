"""Several decoding processes at once: the answers of one, sooner."""

import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from client.imaging.ahead import ahead
from client.imaging.crew import Crew, fed
from client.imaging.decoder import Limits
from client.imaging.form import Facts
from client.imaging.memory import group_limits
from client.imaging.reasons import Reason
from shared.canonical import digest

LOUD = str(Path(__file__).parents[2] / "loud_decoding.py")
FILES = 50  # enough work for a third process


@pytest.fixture
def command(tmp_path: Path) -> Iterator[tuple[str, ...]]:
    for number in range(FILES):
        text = {30: "crash", 41: "raise"}.get(number, f"P-{number}" if number % 7 else "three")
        (tmp_path / f"{number}").write_text(text)
    before = psutil.Process().children()
    yield sys.executable, LOUD, str(tmp_path), "60", str(2**32)
    assert psutil.Process().children() == before


def test_answers_come_in_the_order_of_the_questions_and_a_crash_costs_itself(command: tuple[str, ...]) -> None:
    names, before = [str(number) for number in range(FILES)], len(psutil.Process().children())
    with Crew(command, Path(command[2]), Limits(), most=3) as crew:
        said = list(crew.facts(names))
        assert len(psutil.Process().children()) == before + 3
        images = list(crew.pixels((str(n), digest(f"P-{n}".encode()), range(n)) for n in (1, 3, 2)))
    assert said[30] == ("", Reason.DECODER_CRASHED)
    assert said[41][1] is Reason.UNREADABLE
    others = [number for number in range(FILES) if number not in (30, 41)]
    patients = [facts.patient for facts in (said[number][1] for number in others) if isinstance(facts, Facts)]
    assert patients == [Path(command[2], str(number)).read_text() for number in others]
    assert [image if isinstance(image, Reason) else image[0, 0] for image in images] == [0, *range(3), *range(2)]


def test_few_files_start_one_process(command: tuple[str, ...]) -> None:
    before = len(psutil.Process().children())
    with Crew(command, Path(command[2]), Limits(), most=8) as crew:
        assert len(list(crew.facts(["1", "2", "3"]))) == 3
        assert len(psutil.Process().children()) == before + 1


@pytest.mark.parametrize("large", ["a large file", "many images of a file"])
def test_a_second_process_joins_for_the_second_of_large_ones(command: tuple[str, ...], large: str) -> None:
    folder, before = Path(command[2]), len(psutil.Process().children())
    first = folder / "0"
    if large == "a large file":
        with first.open("wb") as file:
            file.truncate(24 << 20)
    asked = [(name, digest((folder / name).read_bytes()), (0,)) for name in ("0", "1", "2")]
    if large == "many images of a file":
        asked[0] = (*asked[0][:2], tuple(range(24)))
    with Crew(command, folder, Limits(), most=8) as crew:
        assert not any(isinstance(image, Reason) for image in crew.pixels(asked))
        assert len(psutil.Process().children()) == before + 2


def test_each_process_has_the_memory_that_it_may_take() -> None:
    limits = Limits(memory_bytes=2**30)
    assert [fed(8, memory=gib * 2**30, limits=limits) for gib in (1, 4, 7, 64)] == [1, 2, 3, 8]


def test_memory_is_no_more_than_any_control_group_around_us_says(tmp_path: Path) -> None:
    own, groups = tmp_path / "own", tmp_path / "groups"
    for folder, name, text in (
        ("a/b", "memory.max", "max"),
        ("a", "memory.max", "3000"),
        ("memory/c", "memory.limit_in_bytes", "2000"),
    ):
        (groups / folder).mkdir(parents=True, exist_ok=True)
        (groups / folder / name).write_text(f"{text}\n")
    own.write_text("0::/a/b\n")
    assert list(group_limits(groups, own)) == [3000]
    own.write_text("4:cpu:/x\n3:hugetlb,memory:/c\n")
    assert list(group_limits(groups, own)) == [2000]
    assert list(group_limits(groups, tmp_path / "nowhere")) == []


def test_work_ahead_keeps_its_order_and_takes_no_more_than_is_under_way() -> None:
    taken: list[int] = []

    def things() -> Iterator[int]:
        for number in range(20):
            taken.append(number)
            yield number

    squares = ahead(lambda number: number**2, things(), threads=2)
    assert next(squares) == 0
    assert len(taken) == 3
    assert list(squares) == [number**2 for number in range(1, 20)]


def test_what_fails_ahead_is_heard() -> None:
    with pytest.raises(ZeroDivisionError):
        list(ahead(lambda number: 1 // number, (1, 0), threads=2))
