"""A log is read line by line, from where it stood, through replacement and flood."""

from pathlib import Path

import pytest

from server.engine.tail import BACKLOG_BYTES, TURN_BYTES, Tail


@pytest.fixture
def log(tmp_path: Path) -> Path:
    path = tmp_path / "log"
    path.write_text("before\n")
    return path


def add(log: Path, text: str) -> None:
    with log.open("a", encoding="utf-8") as file:
        file.write(text)


def test_only_what_is_added_is_read(log: Path) -> None:
    tail = Tail(log)
    assert tail.lines() == []
    add(log, "one\ntwo\n")
    assert tail.lines() == ["one", "two"]
    assert tail.lines() == []


def test_or_everything(log: Path) -> None:
    assert Tail(log, from_start=True).lines() == ["before"]


def test_a_line_is_read_when_it_is_whole(log: Path) -> None:
    tail = Tail(log)
    add(log, "ha")
    assert tail.lines() == []
    add(log, "lf\nrest")
    assert tail.lines() == ["half"]


def test_a_file_may_come_later(tmp_path: Path) -> None:
    tail = Tail(tmp_path / "log")
    assert tail.lines() == []
    add(tmp_path / "log", "first\n")
    assert tail.lines() == ["first"]


def test_a_replaced_file_is_read_from_its_start(log: Path) -> None:
    tail = Tail(log)
    add(log, "the old file's unfin")
    tail.lines()
    log.replace(log.with_suffix(".1"))
    assert tail.lines() == []
    add(log, "new\n")
    assert tail.lines() == ["new"]


def test_a_shortened_file_is_read_from_its_start(log: Path) -> None:
    tail = Tail(log)
    log.write_text("x\n")
    assert tail.lines() == ["x"]


def test_a_turn_is_bounded_and_the_next_goes_on(log: Path) -> None:
    tail = Tail(log)
    lines = [f"{number:07}" for number in range(3 * TURN_BYTES // 8)]
    add(log, "\n".join(lines) + "\n")
    first = tail.lines()
    assert len(first) == TURN_BYTES // 8
    assert first + tail.lines() + tail.lines() == lines


def test_an_endless_line_is_left_out(log: Path) -> None:
    tail = Tail(log)
    add(log, "x" * (3 * TURN_BYTES))
    assert [tail.lines() for _ in range(3)] == [[], [], []]
    add(log, "end of it\nnext\n")
    assert tail.lines()[-1] == "next"


def test_a_flood_is_skipped_to_its_last_part(log: Path) -> None:
    tail = Tail(log)
    add(log, ("x" * 99 + "\n") * (BACKLOG_BYTES // 100 + 1000) + "last\n")
    assert tail.lines()[-1] == "last"


def test_bytes_that_are_no_text_do_no_harm(log: Path) -> None:
    tail = Tail(log)
    with log.open("ab") as file:
        file.write(b"\xff\xfe\n")
    assert tail.lines() == ["\ufffd\ufffd"]
