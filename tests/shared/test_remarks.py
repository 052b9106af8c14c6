"""A remark is a line for a person that knows what of it a log may hold."""

import pytest

from shared.errors import DiskFull, Refusal, WireCode
from shared.remarks import Remark, from_line, remark, to_line, trouble


def test_a_remark_reads_as_its_line() -> None:
    said = remark("{site} does not count in round {round}: {why}", site="ward-a", round=3, why="Ada's heart is on fire")
    assert said == "ward-a does not count in round 3: Ada's heart is on fire"
    assert (said.event, said.about) == ("{site} does not count in round {round}: {why}", {"site": "ward-a", "round": 3})


def test_what_is_a_list_or_unknown_is_not_for_a_log() -> None:
    assert remark("{study}", study=["ada"], path="/srv").about == {}


def test_of_an_error_the_code_is_kept_and_its_words_are_not() -> None:
    said = trouble(DiskFull("/srv/ada is full.", remedy="Make room."), "An admission was not taken: {error}")
    assert said == "An admission was not taken: /srv/ada is full. Make room."
    assert (said.level, said.about) == ("error", {"code": "disk_full"})
    assert "ada" not in said.event


def test_of_a_refusal_the_code_of_the_line_is_kept() -> None:
    assert trouble(Refusal(WireCode.NO_DATA), study="lungs").about == {"study": "lungs", "code": "no_data"}


def test_a_remark_goes_from_one_process_to_another() -> None:
    said = remark("Round {round} of {who}.", level="warning", round=1, who="Ada")
    back = from_line(to_line(said))
    assert back == said and isinstance(back, Remark)
    assert (back.event, back.level, back.about) == (said.event, "warning", {"round": 1})


@pytest.mark.parametrize(
    "line",
    [
        *("", "no json", "3", "[]", "{}", '{"text": "a"}', '{"text": 3, "event": "a", "level": "info", "about": {}}'),
        *(
            '{"text": "a", "event": "a", "level": "x", "about": {}}',
            '{"text":"a","event":"a","level":"info","about":3}',
        ),
    ],
)
def test_anything_else_is_no_remark(line: str) -> None:
    assert from_line(line) is None
