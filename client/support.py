"""What a site's IT may send to whoever helps it: versions, settings, status and the codes of errors, and nothing else.

Nothing is copied and then cleaned. Each part is made anew of what is known to tell nothing of patients, keys or places:

1. of the settings numbers, switches, and those words that the settings themselves define; any other text is `(set)`;
2. of the ledger its types of entries, counted, and of the last entries codes, studies and rounds; no person, no digest;
3. of `worker.log` the kinds of exceptions, and the lines of this software that they came through; no message;
4. of the status all but the words of a trouble, of which its presence is told;
5. of the disk sizes.
"""

import builtins
import io
import json
import platform
import re
import shutil
import zipfile
from collections import Counter, deque
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from client.receipts import LEDGER_FILE
from client.settings import FILE_NAME, SiteSettings, load_settings
from client.software import installed
from client.starting import software_of
from shared.chain import Entry
from shared.disks import bytes_under
from shared.errors import WardroundError
from shared.ledger import read_entries

SET = "(set)"
MOST_ENTRIES, MOST_LOG_BYTES, MOST_FAILURES = 200, 1 << 20, 50
_TELLING = ("study", "round", "stage", "kind", "refusal", "rule", "code", "during", "outcome")
_CODE = re.compile(r"[a-z0-9][a-z0-9_.-]{0,63}")
_FRAME = re.compile(r'  File ".*/((?:shared|client)/[a-z0-9_/]+\.py)", line (\d+), in ([a-z_][a-z0-9_]*)')
_RAISED = re.compile(r"([A-Za-z_][A-Za-z0-9_.]*)(?::|$)")
_LIBRARIES = ("torch", "numpy", "pydicom", "PIL", "nibabel", "pydantic_core", "monai", "client", "shared")
WORKER_LOGS = ("worker.log.1", "worker.log")  # the older one first
_STATUS = ("state", "round", "steps", "steps_planned", "device", "fell_back", "bytes_up", "bytes_down", "updated")


def support_files(folder: Path) -> dict[str, bytes]:
    """The files of an archive for support, by name, as JSON.

    Args:
        folder: the site's.
    """
    parts: dict[str, Any] = {
        "versions": software_of(installed()) | {"system": platform.system(), "machine": platform.machine()},
        "settings": _settings(folder),
        "status": _status(folder),
        "ledger": _ledger(folder / LEDGER_FILE),
        "failures": [failure for name in WORKER_LOGS for failure in _failures(folder / name)],
        "disk": _disk(folder),
    }
    return {f"{name}.json": json.dumps(part, indent=1, sort_keys=True).encode() + b"\n" for name, part in parts.items()}


def archive(files: Mapping[str, bytes]) -> bytes:
    """A zip archive of files; the same files give the same bytes."""
    into = io.BytesIO()
    with zipfile.ZipFile(into, "w", zipfile.ZIP_DEFLATED) as out:
        for name, data in files.items():
            out.writestr(zipfile.ZipInfo(name), data, zipfile.ZIP_DEFLATED)
    return into.getvalue()


def _settings(folder: Path) -> Any:
    try:
        settings = load_settings(folder / FILE_NAME)
    except WardroundError as error:
        return {"unreadable": error.code}
    words, keys = set[str](), set[str]()
    _collect(SiteSettings.model_json_schema(), words, keys)
    return _scrubbed(settings.model_dump(mode="json"), words=words, keys=keys)


def _collect(schema: Any, words: set[str], keys: set[str]) -> None:
    """The words that a schema lists, and the names of its keys."""
    if isinstance(schema, list):
        for part in schema:
            _collect(part, words, keys)
    elif isinstance(schema, dict):
        known = [*schema.get("enum", ()), schema.get("const"), schema.get("default")]
        words.update(word for word in known if isinstance(word, str))
        keys.update(schema.get("properties", {}))
        for part in schema.values():
            _collect(part, words, keys)


def _scrubbed(value: Any, *, words: set[str], keys: set[str]) -> Any:
    if isinstance(value, dict):
        kept = {key: _scrubbed(part, words=words, keys=keys) for key, part in value.items() if key in keys}
        return kept if len(kept) == len(value) else {"entries": len(value)}
    if isinstance(value, list):
        return [_scrubbed(part, words=words, keys=keys) for part in value]
    return SET if isinstance(value, str) and value not in words else value


def _status(folder: Path) -> dict[str, Any]:
    try:
        said = json.loads((folder / "status.json").read_bytes())
        return {key: _told(said.get(key)) for key in _STATUS} | {"in_trouble": said.get("trouble") is not None}
    except (OSError, ValueError, AttributeError):
        return {"state": "never started, or its status cannot be read"}


def _told(value: Any) -> Any:
    """A number or a switch; of texts only a code or a time."""
    if isinstance(value, str):
        return value if _CODE.fullmatch(value.lower().replace(":", "-")) else SET
    return value if isinstance(value, int | float | None) else SET


def _ledger(path: Path) -> dict[str, Any]:
    counts: Counter[str] = Counter()
    last: deque[Entry] = deque(maxlen=MOST_ENTRIES)
    try:
        for entry in read_entries(path):
            counts[entry.type] += 1
            last.append(entry)
    except (OSError, WardroundError) as error:
        return {"unreadable": getattr(error, "code", type(error).__name__), "read": sum(counts.values())}
    told = [
        {"time": one.time, "type": one.type} | {k: _told(one.data[k]) for k in _TELLING if k in one.data}
        for one in last
    ]
    return {"entries": dict(counts), "last": told}


def _failures(log: Path) -> Iterator[dict[str, Any]]:
    """What the worker's exceptions were, the last ones: their kinds and where they came through."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - MOST_LOG_BYTES))
            lines = file.read(MOST_LOG_BYTES).decode(errors="replace").splitlines()
    except OSError:
        return
    found: deque[dict[str, Any]] = deque(maxlen=MOST_FAILURES)
    frames: list[str] | None = None
    for line in lines:
        if line.startswith("Traceback "):
            frames = []
        elif frames is not None and (at := _FRAME.match(line)):
            frames.append(f"{at[1]}:{at[2]} {at[3]}")
        elif frames is not None and line and not line.startswith(" "):
            found.append({"raised": _kind(line), "through": frames})
            frames = None
    yield from found


def _kind(line: str) -> str:
    """The exception's name, if it is one of Python's, of a library's or of ours."""
    raised = _RAISED.match(line)
    name = raised[1] if raised else ""
    known = getattr(builtins, name, None)
    if isinstance(known, type) and issubclass(known, BaseException):
        return name
    head, _, rest = name.partition(".")
    return name if rest and head in _LIBRARIES and name.endswith(("Error", "Refusal", "Exception")) else "another"


def _disk(folder: Path) -> dict[str, int]:
    names = ("cache", "spool", "backbones", "logs", LEDGER_FILE, *WORKER_LOGS)
    parts = {name: bytes_under(folder / name) for name in names}
    return {"free": shutil.disk_usage(folder).free, **parts}
