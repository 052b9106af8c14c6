"""What every command of ours shares: how it answers, and how it fails.

A command returns an `Answer`; this module decides how a person and a program read it. A person
gets Rich text on stdout, or one error and its remedy on stderr. A program asks with ``--json`` and
gets one line on stdout, the envelope::

    {"schema": "wardround.<command>", "version": 1, "ok": bool, "data": {...},
     "error": null | {"code": str, "what": str, "remedy": str}}

The exit code is the error's (docs/exit-codes.md). Progress goes to stderr in both cases, so that
stdout holds the answer alone. What a command does is left to the command.
"""

import errno
import functools
import inspect
import json
import os
import sys
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import typer
from click.exceptions import Abort, ClickException, Exit
from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

from shared.errors import ConfigError, WardroundError, naming_disk_full

ENVELOPE_VERSION = 1
DEBUG_VARIABLE = "WARDROUND_DEBUG"
INTERRUPTED = 130  # 128 + SIGINT, as shells count it
INTERNAL = WardroundError.exit_code
WIDTH = 80
# what an operating system says of a path that cannot be used; what else it says is a fault of ours, or of the disk
_REFUSED = frozenset(
    {
        *(errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.EEXIST),
        *(errno.ENAMETOOLONG, errno.ELOOP, errno.ENOTEMPTY, errno.ENOTSUP),
    }
)

JsonFlag = Annotated[bool, typer.Option("--json", help="Answer with one line of JSON on stdout.")]


@dataclass(frozen=True)
class Answer:
    """What a command found.

    Attributes:
        data: the facts, as JSON values; the same ones that a person is shown.
        shown: how a person reads them; plain strings are printed as they are, never as markup.
        error: set when the command did its work and the answer is no, such as a check that failed.
    """

    data: Mapping[str, Any] = field(default_factory=dict)
    shown: RenderableType = ""
    error: WardroundError | None = None


def answering(schema: str) -> Callable[[Callable[..., Answer]], Callable[..., None]]:
    """Make a Typer command of a function that returns an `Answer`; adds ``--json``.

    Args:
        schema: the command's words joined by dots, such as ``federation.init``.
    """

    def decorate(function: Callable[..., Answer]) -> Callable[..., None]:
        @functools.wraps(function)
        def run(*args: Any, as_json: bool, **kwargs: Any) -> None:
            with guarded(schema, as_json=as_json), naming_disk_full(), _named_paths(kwargs.values()):
                _give(schema, function(*args, **kwargs), as_json=as_json)

        flag = inspect.Parameter("as_json", inspect.Parameter.KEYWORD_ONLY, default=False, annotation=JsonFlag)
        parameters = [*inspect.signature(function).parameters.values(), flag]
        run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]  # what Typer reads
        run.__annotations__ = {**function.__annotations__, "as_json": JsonFlag, "return": None}
        return run

    return decorate


@contextmanager
def guarded(schema: str, *, as_json: bool) -> Iterator[None]:
    """The one place where errors become words and exit codes.

    Raises:
        SystemExit: with the code of the error that was caught, after saying what happened.
    """
    try:
        yield
    except WardroundError as error:
        _fail(schema, Answer(error=error), as_json=as_json)
    except KeyboardInterrupt:
        stopped = Interrupted("Stopped by the keyboard.", remedy="Give the same command again to go on.")
        _fail(schema, Answer(error=stopped), as_json=as_json)
    except (ClickException, Exit, Abort, BrokenPipeError):
        raise  # Click's own: usage errors, --help, and a reader such as `head` that has left
    except Exception as error:
        if os.environ.get(DEBUG_VARIABLE) == "1":
            traceback.print_exc()
        _fail(schema, Answer(error=_Internal(error)), as_json=as_json)


def envelope(schema: str, answer: Answer) -> str:
    """The one line that ``--json`` prints, without its newline.

    Raises:
        ValueError: the data holds NaN or infinity.
        TypeError: the data holds something that is no JSON value.
    """
    error = answer.error
    said = None if error is None else {"code": error.code, "what": error.what, "remedy": error.remedy}
    head = {"schema": f"wardround.{schema}", "version": ENVELOPE_VERSION, "ok": error is None}
    return json.dumps({**head, "data": dict(answer.data), "error": said}, allow_nan=False)


def progress_console() -> Console:
    """Where live progress and remarks go: stderr, so that stdout stays the answer's."""
    return Console(stderr=True)


def facts(pairs: Mapping[str, object]) -> Table:
    """Names and values in two columns, both plain text."""
    grid = Table.grid(padding=(0, 2))
    grid.add_column(no_wrap=True, style="bold")
    grid.add_column(overflow="fold")
    for name, value in pairs.items():
        grid.add_row(Text(name), Text(printable(str(value))))
    return grid


def table(columns: Iterable[str], rows: Iterable[Iterable[object]]) -> Table:
    """A table of plain text; nothing in it is read as markup."""
    grid = Table(*columns, box=None, pad_edge=False, header_style="bold")
    for row in rows:
        grid.add_row(*(Text(printable(str(cell)), overflow="fold") for cell in row))
    return grid


def printable(text: str) -> str:
    """Text without control characters, so that a peer's words cannot drive a terminal."""
    return "".join(c if c.isprintable() or c == "\n" else "\N{REPLACEMENT CHARACTER}" for c in text)


@contextmanager
def _named_paths(arguments: Iterable[object]) -> Iterator[None]:
    """The disk's refusal of a path that the command was given, in words; only that path is named.

    Raises:
        ConfigError: this account may not use it, nothing can be written there, or it leads nowhere.
    """
    try:
        yield
    except OSError as error:
        met = error.filename if error.errno in _REFUSED else None
        given = _given_for(Path(os.fsdecode(met)), arguments) if isinstance(met, str | bytes) and met else None
        if given is None or (error.errno == errno.ENOENT and given.is_dir()):
            raise  # what is missing inside a folder that is there is no fault of who named the folder
        raise ConfigError(
            f"{given} cannot be used ({error.strerror}).",
            remedy="Name another path, or have its owner or mode corrected so that this account may use it.",
        ) from None


def _given_for(met: Path, arguments: Iterable[object]) -> Path | None:
    """The argument that a path lies at, under, or beside: a file is written under a passing name in its folder."""
    paths = [path for path in arguments if isinstance(path, Path)]
    around = [path for path in paths if met.absolute().is_relative_to(path.absolute())]
    beside = [path for path in paths if met.absolute().parent == path.absolute().parent]
    return max(around or beside, key=lambda path: len(path.absolute().parts), default=None)


class Interrupted(WardroundError):
    """The keyboard stopped a command; raised by one that does not go on when it is given again."""

    exit_code = INTERRUPTED
    code = "interrupted"


class _Internal(WardroundError):
    """Names the type alone: the message of an unforeseen exception may hold a path or a value."""

    def __init__(self, error: Exception) -> None:
        super().__init__(
            f"Wardround failed in a way it did not foresee ({type(error).__name__}).",
            remedy=f"Set {DEBUG_VARIABLE}=1 and give the command again to see where; that text may name local files.",
        )


def _give(schema: str, answer: Answer, *, as_json: bool) -> None:
    if answer.error is not None:
        _fail(schema, answer, as_json=as_json)
    if as_json:
        sys.stdout.write(envelope(schema, answer) + "\n")
    else:
        _show(answer)


def _show(answer: Answer) -> None:
    if answer.shown != "":
        Console(highlight=False).print(answer.shown, markup=False)


def _fail(schema: str, answer: Answer, *, as_json: bool) -> None:
    error = answer.error
    assert error is not None
    if as_json:
        sys.stdout.write(envelope(schema, answer) + "\n")
    else:
        _show(answer)
        stderr = Console(stderr=True, highlight=False)
        stderr.width = min(WIDTH, stderr.width)
        stderr.print(Text.assemble(("Error: ", "bold red"), printable(error.what)))
        stderr.print(Text.assemble(("What to do: ", "bold"), printable(error.remedy)))
    raise SystemExit(error.exit_code) from None
