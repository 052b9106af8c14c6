"""The log of a process, for the collectors of logs of its own house: one JSON object a line.

1. A line has `time` (UTC, RFC 3339), `level`, `event` and what the event is about, among it `study`, `round` and
   `site` where there is one; what that may be, `shared/remarks.py` decides. Nothing else of what is said is written.
2. A file of `max_mb` is renamed, and of those renamed the last `keep` stay: a log's room is bounded.
3. A log that cannot be written stops no work; that is said once on the console.
4. The console has the line as a person reads it; or with `format = "json"` the log's line, on standard output. The
   environment's `WARDROUND_LOG_FORMAT` goes before the file.

structlog makes the lines, and the standard library's handler rotates the files. Neither is set up for the whole
process: what libraries log is none of ours, and stays out.
"""

import contextlib
import logging
import os
import sys
from collections.abc import Callable
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import Annotated, Literal, TextIO

import structlog
from pydantic import Field
from structlog.typing import EventDict, WrappedLogger

from shared.errors import ConfigError
from shared.remarks import UNNAMED, Remark
from shared.section import Section

FORMAT_VARIABLE = "WARDROUND_LOG_FORMAT"
Format = Literal["text", "json"]
_MB = 1_000_000


class LogSettings(Section):
    """Where the log lies, how large it grows, and what the console prints; `max_mb` 0 writes none."""

    folder: Path = Path("logs")
    max_mb: Annotated[float, Field(ge=0, le=10_000)] = 10.0
    keep: Annotated[int, Field(ge=1, le=1000)] = 5
    format: Format = "text"


class Log:
    """What one process says: each line on its console and into its log. Lines come from any of its threads.

    Args:
        name: of the process; its file is `NAME.jsonl`.
        base: the folder from which that of the settings counts.
        now: RFC 3339, UTC.
        console: prints a line for a person; None for a process without a console.
    """

    def __init__(self, name: str, base: Path, *, now: Callable[[], str], console: Callable[[str], None] | None) -> None:
        self._name, self._base, self._now, self._console = name, base, now, console
        self._about: dict[str, str] = {}
        self._format: Format = "text"
        self._file: _File | None = None
        self._lines = structlog.wrap_logger(
            structlog.ReturnLogger(),
            processors=[structlog.processors.add_log_level, self._stamp, structlog.processors.JSONRenderer()],
            wrapper_class=structlog.BoundLogger,
            context_class=dict,
        )

    def follow(self, settings: LogSettings, **about: str) -> None:
        """From now on write by these settings, and that every line is about this.

        Raises:
            ConfigError: the environment names a format that there is not.
        """
        self._format, self._about = _format(settings), about
        self.close()
        if settings.max_mb:
            self._file = _File(self._base / settings.folder / f"{self._name}.jsonl", settings, complain=self._complain)

    def __call__(self, line: str) -> None:
        """Say a line."""
        said = line if isinstance(line, Remark) else Remark(line, event=UNNAMED)
        rendered = str(getattr(self._lines.bind(**{**said.about, **self._about}), said.level)(said.event))
        if self._file is not None:
            self._file.write(rendered)
        if self._console is not None and self._format == "json":
            print(rendered, flush=True)
        elif self._console is not None:
            self._console(line)

    def close(self) -> None:
        """Write into no file any more."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def _stamp(self, _: WrappedLogger, __: str, event: EventDict) -> EventDict:
        """Time, level and event, and behind these what it is about."""
        return {"time": self._now(), "level": event.pop("level"), "event": event.pop("event"), **event}

    def _complain(self, error: OSError) -> None:
        if self._console is not None:
            self._console(f"The log cannot be written ({os.strerror(error.errno or 0)}); the work goes on.")


class _File(RotatingFileHandler):
    """One file and those that it was before, which this account alone can read."""

    def __init__(self, path: Path, settings: LogSettings, *, complain: Callable[[OSError], None]) -> None:
        self._complain, self._complained = complain, False
        most = max(1, round(settings.max_mb * _MB))
        super().__init__(path, maxBytes=most, backupCount=settings.keep, encoding="utf-8", delay=True)

    def write(self, line: str) -> None:
        """Add a line, past the switch that turns the logging of libraries off (`shared/quiet.py`)."""
        self.handle(logging.makeLogRecord({"msg": line}))

    def _open(self) -> TextIO:  # type: ignore[override]  # of the kind that `encoding` asks for
        path = Path(self.baseFilename)
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        return os.fdopen(os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600), "a", encoding="utf-8")

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802  the name is the base class's
        """Say that there is trouble, once; the class above would print a traceback."""
        error = sys.exc_info()[1]
        if not self._complained and isinstance(error, OSError):
            self._complained = True
            self._complain(error)


def rotated(path: Path, *, max_mb: float = LogSettings().max_mb) -> None:
    """Put a file aside that has grown so large, before another process is let write to it; the one before goes."""
    with contextlib.suppress(FileNotFoundError):
        if path.stat().st_size > max_mb * _MB:
            path.replace(path.with_name(f"{path.name}.1"))


def _format(settings: LogSettings) -> Format:
    match os.environ.get(FORMAT_VARIABLE) or settings.format:
        case "json":
            return "json"
        case "text":
            return "text"
    raise ConfigError(f"{FORMAT_VARIABLE} is neither text nor json.", remedy="Correct that variable, or remove it.")
