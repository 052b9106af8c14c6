"""The coordinator's commands, typed as a person types them and read as a program reads them."""

import json
import os
import pty
import subprocess
from pathlib import Path

import pytest
from click.testing import Result
from typer.testing import CliRunner

from deploy.cli import app
from deploy.local import wardround_command
from shared.enrolment import make_join_request, read_invitation, read_join_request
from shared.keys import make_identity_key, make_transport_key

PLAIN = {**os.environ, "COLUMNS": "80", "NO_COLOR": "1", "TERM": "dumb"}


def federation(*words: object) -> Result:
    return CliRunner().invoke(app, ["federation", *map(str, words)], env=PLAIN)


def answer(*words: object) -> dict:
    """The data of a command that succeeded."""
    done = federation(*words, "--json")
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)["data"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    where = tmp_path / "ward"
    answer("init", where, "--name", "north", "--host", "localhost", "--port", 9443)
    return where


def request(folder: Path, site: str) -> Path:
    """What a site sends back after it was invited."""
    invitation = read_invitation(Path(answer("invite", folder, site)["invitation"]).read_bytes())
    path = folder.parent / f"{site}.request"
    keys = {"transport_key": make_transport_key(), "identity_key": make_identity_key()}
    path.write_bytes(make_join_request(invitation, **keys))
    return path


def compared(folder: Path, asked: Path) -> tuple[object, ...]:
    """The words of a coordinator whom the site has read its fingerprint."""
    return "admit", folder, asked, "--fingerprint", read_join_request(asked.read_bytes()).fingerprint()


def admit(folder: Path, asked: Path) -> dict:
    return answer(*compared(folder, asked))


def test_init_says_what_to_compare_and_what_comes_next(tmp_path: Path) -> None:
    done = federation("init", tmp_path / "f", "--name", "north", "--host", "localhost")
    assert done.exit_code == 0
    assert "Coordinator's key" in done.stdout
    assert "wardround federation invite" in done.stdout


def test_init_writes_the_port_that_was_asked_for(folder: Path) -> None:
    assert "fleet_port = 9443" in (folder / "federation.toml").read_text()


def test_init_leaves_a_folder_with_something_in_it_alone(folder: Path) -> None:
    before = (folder / "coordinator.key").read_bytes()
    done = federation("init", folder, "--name", "south", "--host", "localhost", "--json")
    assert done.exit_code == 3
    assert json.loads(done.stdout)["error"]["code"] == "config"
    assert (folder / "coordinator.key").read_bytes() == before


def test_an_invited_site_is_admitted_and_listed(folder: Path) -> None:
    admitted = admit(folder, request(folder, "ward-a"))
    listed = answer("roster", folder)
    assert admitted["site"] == "ward-a"
    assert Path(admitted.pop("admission")) == folder / "admissions" / "ward-a.json"
    assert admitted.pop("admitted_before") is False
    assert listed == {"federation": "north", "sites": [admitted]}
    shown = federation("roster", folder).stdout
    assert admitted["fingerprint"] in shown
    assert max(map(len, shown.splitlines())) <= 80


def test_an_empty_roster_says_how_to_fill_it(folder: Path) -> None:
    assert "wardround federation invite" in " ".join(federation("roster", folder).stdout.split())


def test_a_fingerprint_that_was_read_out_must_match(folder: Path) -> None:
    asked = request(folder, "ward-a")
    wrong = federation("admit", folder, asked, "--fingerprint", "0000 " * 8)
    assert wrong.exit_code == 4
    assert answer("roster", folder)["sites"] == []
    admitted = admit(folder, asked)
    again = answer("admit", folder, asked, "--fingerprint", admitted["fingerprint"].upper())
    assert again == admitted | {"admitted_before": True}


def test_nobody_is_admitted_unseen(folder: Path) -> None:
    asked, before = request(folder, "ward-a"), (folder / "roster.signed").read_bytes()
    done = federation("admit", folder, asked, "--json")
    assert done.exit_code == 3
    assert "--fingerprint" in json.loads(done.stdout)["error"]["remedy"]
    assert (folder / "roster.signed").read_bytes() == before


@pytest.mark.parametrize(("said", "sites"), [("y", ["ward-a"]), ("n", [])])
def test_a_person_sees_the_fingerprint_before_anything_is_written(folder: Path, said: str, sites: list[str]) -> None:
    asked, before = request(folder, "ward-a"), (folder / "roster.signed").read_bytes()
    ours, theirs = pty.openpty()
    command = [wardround_command(), "federation", "admit", str(folder), str(asked)]
    with os.fdopen(ours, "r+b", buffering=0) as terminal:
        asking = subprocess.Popen(command, stdin=theirs, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        os.close(theirs)
        assert asking.stderr is not None
        seen = b""
        while b"[y/N]" not in seen:
            seen += os.read(asking.stderr.fileno(), 4096)
        assert read_join_request(asked.read_bytes()).fingerprint() in seen.decode()
        assert (folder / "roster.signed").read_bytes() == before
        terminal.write(f"{said}\n".encode())
        asking.communicate(timeout=60)
    assert asking.returncode == (0 if sites else 4)
    assert [site["site"] for site in answer("roster", folder)["sites"]] == sites


def test_a_renewed_certificate_is_told_with_what_to_do_next(folder: Path) -> None:
    before = (folder / "server" / "certificate.pem").read_bytes()
    done = federation("renew", folder)
    assert done.exit_code == 0
    assert "takes it up between two rounds" in " ".join(done.stdout.split())
    assert (folder / "server" / "certificate.pem").read_bytes() != before


def test_a_site_is_renewed_and_the_status_says_who_has_taken_what(folder: Path) -> None:
    admit(folder, request(folder, "ward-a"))
    (renewed,) = answer("renew", folder, "--site", "ward-a")["sites"]
    assert Path(renewed["admission"]).is_file()
    said = {row["name"]: row for row in answer("status", folder)["endings"]}
    assert said["ward-a"] == {"name": "ward-a", "until": renewed["valid_until"], "warning": None, "taken": False}
    assert said["server certificate"]["taken"] is None
    shown = federation("status", folder).stdout
    assert "not taken yet" in shown
    assert max(map(len, shown.splitlines())) <= 80


def test_a_new_authority_is_told_step_by_step(folder: Path) -> None:
    admit(folder, request(folder, "ward-a"))
    assert answer("renew", folder, "--authority") == {"step": "coming", "waiting": ["ward-a"]}
    assert answer("status", folder)["authorities"] == 2
    early = federation("renew", folder, "--authority", "--json")
    assert early.exit_code == 7
    assert "ward-a" in json.loads(early.stdout)["error"]["what"]
    assert answer("renew", folder, "--authority", "--without", "ward-a")["step"] == "going"
    assert answer("renew", folder, "--authority", "--without", "ward-a")["step"] == "gone"
    assert answer("status", folder)["authorities"] == 1


@pytest.mark.parametrize("words", [("--site", "ward-a", "--authority"), ("--without", "ward-a")])
def test_options_that_do_not_go_together_are_refused(folder: Path, words: tuple[str, ...]) -> None:
    assert federation("renew", folder, *words).exit_code == 3


def test_who_was_not_invited_is_refused(folder: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    answer("init", other, "--name", "south", "--host", "localhost")
    done = federation(*compared(folder, request(other, "ward-a")))
    assert done.exit_code == 4
    assert "What to do:" in done.stderr


def test_a_revoked_site_must_be_invited_again(folder: Path) -> None:
    asked = request(folder, "ward-a")
    admit(folder, asked)
    assert answer("revoke", folder, "ward-a")["sites"] == []
    assert federation(*compared(folder, asked)).exit_code == 4
    assert admit(folder, request(folder, "ward-a"))["site"] == "ward-a"


def test_no_command_prints_a_secret(folder: Path) -> None:
    asked = request(folder, "ward-a")
    said = "".join(
        federation(*words, *more).output
        for words in (("invite", folder, "ward-b"), compared(folder, asked), ("roster", folder))
        for more in ((), ("--json",))
    )
    salt = (folder / "salt").read_text().strip()
    token = json.loads((folder / "invitations/ward-b.json").read_bytes())["token"]
    assert salt not in said
    assert token not in said
    assert "PRIVATE" not in said


@pytest.mark.parametrize("words", [("roster",), ("invite", "ward-a"), ("renew",), ("status",), ("serve",)])
def test_a_folder_that_is_no_federation_is_named(tmp_path: Path, words: tuple[str, ...]) -> None:
    done = federation(words[0], tmp_path, *words[1:], "--json")
    assert done.exit_code == 3
    assert str(tmp_path) in json.loads(done.stdout)["error"]["what"]


def test_a_request_that_is_not_there_is_a_config_error(folder: Path) -> None:
    assert federation("admit", folder, folder / "nothing").exit_code == 3
