"""What a coordinator writes cannot pass for something else where a site's people read it."""

import pytest
from lone_site import a_study
from pydantic import TypeAdapter, ValidationError

from shared.errors import ConfigError
from shared.plain_text import PlainLine, PlainText
from shared.study import Study, parse_study

TEXT: TypeAdapter[str] = TypeAdapter(PlainText)
LINE: TypeAdapter[str] = TypeAdapter(PlainLine)
OBEYED = {
    "escape": "\x1b[2J",
    "bell": "\a",
    "return": "nothing leaves\rall leaves",
    "c1": "\x9b31m",
    "override": "\N{RIGHT-TO-LEFT OVERRIDE}gpj",
    "isolate": "\N{LEFT-TO-RIGHT ISOLATE}a",
    "line separator": "a\N{LINE SEPARATOR}b",
    "tag": "\U000e0041",
    "surrogate": "\ud800",
}


@pytest.mark.parametrize("text", OBEYED.values(), ids=OBEYED)
def test_what_a_terminal_would_obey_stands_in_no_plain_text(text: str) -> None:
    for kind in (TEXT, LINE):
        with pytest.raises(ValidationError):
            kind.validate_python(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Lungs [bold red]x[/]",
        "Über 3\N{NO-BREAK SPACE}mm, \N{LESS-THAN OR EQUAL TO}",
        "\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645",
    ],
)
def test_what_people_write_does(text: str) -> None:
    assert (TEXT.validate_python(text), LINE.validate_python(text)) == (text, text)


def test_several_lines_and_tabs_stand_in_a_text_and_in_no_line() -> None:
    assert TEXT.validate_python("one\n\ttwo") == "one\n\ttwo"
    with pytest.raises(ValidationError, match="one line"):
        LINE.validate_python("one\ntwo")


@pytest.mark.parametrize("text", OBEYED.values(), ids=OBEYED)
def test_no_study_carries_it(text: str) -> None:
    with pytest.raises(ValidationError, match=r"study\.description"):
        Study.model_validate(a_study().model_dump() | {"study": {"name": "lungs", "description": text}})


def test_the_coordinator_is_told_which_character_it_is() -> None:
    with pytest.raises(ConfigError, match=r"study\.description: the character U\+001B does not stand in plain text"):
        parse_study(
            '[study]\nname = "lungs"\ndescription = "a\\u001b[31m"\n[task]\nclasses = ["opacity"]\n[training]\n'
        )
