"""`wardround health` tells the living from the dead, and a site without a line from a dead one."""

import json
import os
from datetime import UTC, datetime
from pathlib import Path

import pytest
from typer.testing import CliRunner

from deploy.health import SILENCE_S, app, server_state, site_state
from deploy.local import free_port
from server.federation import create_federation
from shared.errors import LinkError, ResourceError

NOW = 1_800_000_000.0


def said(folder: Path, *, state: str = "offline", pid: int | None = None, at: float = NOW) -> Path:
    updated = datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds")
    status = {"state": state, "pid": os.getpid() if pid is None else pid, "updated": updated}
    (folder / "status.json").write_text(json.dumps(status))
    return folder


def test_a_site_without_a_line_is_alive(tmp_path: Path) -> None:
    assert site_state(said(tmp_path), now=NOW + SILENCE_S) == "offline"


@pytest.mark.parametrize(
    "how", [{"state": "stopped"}, {"pid": 2**22 + 1}, {"at": NOW - SILENCE_S - 1}], ids=["stopped", "gone", "silent"]
)
def test_a_site_that_ended_or_hangs_is_dead(tmp_path: Path, how: dict[str, float]) -> None:
    with pytest.raises(ResourceError):
        site_state(said(tmp_path, **how), now=NOW)  # type: ignore[arg-type]


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"state": "waiting", "pid": "x", "updated": "y"}'])
def test_a_site_that_never_started_is_dead(tmp_path: Path, text: str) -> None:
    (tmp_path / "status.json").write_text(text)
    with pytest.raises(ResourceError):
        site_state(tmp_path, now=NOW)


def test_a_server_that_nobody_serves_is_dead(tmp_path: Path) -> None:
    create_federation(tmp_path / "north", name="north", host="127.0.0.1", fleet_port=free_port(), now=int(NOW))
    with pytest.raises(LinkError):
        server_state(tmp_path / "north")


def test_another_folder_is_refused(tmp_path: Path) -> None:
    assert CliRunner().invoke(app, [str(tmp_path)]).exit_code == 3
