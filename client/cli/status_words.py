"""What a running site says of itself (`status.json`), in words."""

from collections.abc import Mapping
from typing import Any

from client.waiting_entries import DAMAGED_FILE, FILE_NAME


def status_in_words(found: Mapping[str, Any]) -> dict[str, str]:
    """Name and words of all that is known; `state` is as the agent or its reader calls it."""
    device = str(found["device"]) if found.get("device") else ""
    if device and found.get("fell_back"):
        device += " (site.toml says auto, and no GPU was found)"
    said = {
        "site": found["site"],
        "state": found["state"],
        "paused": _pause(found.get("paused")),
        "trouble": found.get("trouble"),
        "damaged": _damaged(found),
        "study": _place(found),
        "steps": _steps(found),
        "device": device,
        "agent": f"process {found['pid']}",
        "worker": f"process {found['worker_pid']}" if found.get("worker_pid") else "none: it starts with work to do",
        "traffic": f"{found['bytes_up']:,} bytes sent, {found['bytes_down']:,} bytes received",
        "updated": found["updated"],
    }
    return {name: str(words) for name, words in said.items() if words}


def _damaged(found: Mapping[str, Any]) -> str:
    lines = found.get("damaged_lines")
    if not lines:
        return ""
    which = "a line" if lines == 1 else f"{lines:,} lines"
    return (
        f"{which} of {FILE_NAME}: the ledger says that, and not what stood there. Let the auditor see {DAMAGED_FILE},"
        " then move it away."
    )


def _pause(pause: Mapping[str, Any] | None) -> str:
    if pause is None:
        return ""
    why = f": {pause['reason']}" if pause["reason"] else ""
    return f"since {pause['since'][:19]} by {pause['by']}{why}"


def _place(found: Mapping[str, Any]) -> str:
    if not found.get("study"):
        return ""
    return f"{found['study']}, round {found['round']}" if found.get("round") else str(found["study"])


def _steps(found: Mapping[str, Any]) -> str:
    done, planned, last = found.get("steps"), found.get("steps_planned"), found.get("stepped")
    if done is None:
        return ""
    words = f"{done:,} of {planned:,}" if planned else f"{done:,}"
    return f"{words}, the last at {last}" if last else words
