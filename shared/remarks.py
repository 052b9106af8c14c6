"""What a process says of its work: one line for a person, and beside it what a log may hold of it.

1. A `Remark` is the line itself, so that whoever prints lines prints it as any other.
2. Its event is the sentence with its blanks open (`Study {study} is open.`). Of what fills the blanks a log gets those
   named in `LOGGED` alone: names of studies and sites, numbers and codes. Persons, paths, commands, figures of patients
   and the words of an error stay on the console.
3. Of an error the log gets its code. Of a line that is no remark it gets that there was one.

How a log is written is decided in `shared/log_file.py`.
"""

import json
from collections.abc import Mapping
from typing import Any, Self

from shared.errors import Refusal, WardroundError

LOGGED = ("study", "round", "site", "code", "amendment", "rounds", "counted", "asked", "port", "pid", "device", "job")
LEVELS = ("info", "warning", "error")
UNNAMED, TROUBLE = "line", "trouble"  # the events of what is no remark, and of an error


class Remark(str):
    """One line, and what a log may hold of it.

    Attributes:
        event: the sentence with its blanks open.
        level: one of `LEVELS`.
        about: of what fills the blanks, what a log may hold.
    """

    __slots__ = ("about", "event", "level")
    event: str
    level: str
    about: Mapping[str, str | int]

    def __new__(cls, text: str, *, event: str, level: str = "info", about: Mapping[str, object] | None = None) -> Self:
        """Make one; of `about` what a log may hold is kept."""
        made = super().__new__(cls, text)
        made.event, made.level = event, level
        made.about = {k: v for k, v in (about or {}).items() if k in LOGGED and isinstance(v, str | int)}
        return made

    def rephrased(self, text: str, **about: object) -> "Remark":
        """The same in other words for the person, and with more that a log may hold."""
        return Remark(text, event=self.event, level=self.level, about={**about, **self.about})


def remark(sentence: str, /, *, level: str = "info", **filling: object) -> Remark:
    """A line made of a sentence and what fills its blanks.

    Args:
        sentence: a literal, with blanks as `str.format` has them.
        level: one of `LEVELS`.
        filling: what goes into the blanks, and what else of `LOGGED` it is about.
    """
    return Remark(sentence.format(**filling), event=sentence, level=level, about=filling)


def trouble(error: WardroundError, frame: str = "{error}", /, **filling: object) -> Remark:
    """An error in its own words and with its remedy, for the console; a log gets its code.

    Args:
        error: the error.
        frame: a literal around it, with the blank `error` and others.
        filling: what goes into these, and what else of `LOGGED` it is about.
    """
    code = error.wire_code.value if isinstance(error, Refusal) else error.code
    text = frame.format(error=f"{error.what} {error.remedy}", **filling)
    event = TROUBLE if frame == "{error}" else frame
    return Remark(text, event=event, level="error", about={**filling, "code": code})


def to_line(said: str) -> str:
    """A remark, or any other line, for another process of this machine, without an end of line."""
    if not isinstance(said, Remark):
        said = Remark(said, event=UNNAMED)
    return json.dumps({"text": said, "event": said.event, "level": said.level, "about": dict(said.about)})


def from_line(line: str) -> Remark | None:
    """What `to_line` wrote; None if it wrote something else."""
    try:
        told: Any = json.loads(line)
        text, event, level, about = (told[key] for key in ("text", "event", "level", "about"))
        if isinstance(text, str) and isinstance(event, str) and level in LEVELS and isinstance(about, dict):
            return Remark(text, event=event, level=level, about=about)
    except (ValueError, LookupError, TypeError):
        pass
    return None
