"""A folder of newer software is not opened, one of older software is."""

from pathlib import Path

import pytest
from live_federation import wardround

from client.join import join, load_enrolment
from deploy.provision import Provisioned, provision
from server.federation import load_federation
from server.membership.backup import back_up
from server.membership.enrolment import invite
from shared.errors import ConfigError
from shared.folder_format import FILE_NAME, FOLDER_FORMAT, insist_on_format, mark_folder
from shared.version import VERSION

NEWER = f'{{"format":{FOLDER_FORMAT + 1},"wardround":"7.1.0"}}'


@pytest.fixture
def place(tmp_path: Path) -> Provisioned:
    return provision(tmp_path, name="ward", host="127.0.0.1", fleet_port=9, sites=["north"], now=1_800_000_000)


def test_new_folders_say_their_format_and_who_made_them(place: Provisioned) -> None:
    for folder in (place.federation, place.sites["north"]):
        assert (folder / FILE_NAME).read_text() == f'{{"format":{FOLDER_FORMAT},"wardround":"{VERSION}"}}\n'


def test_a_folder_without_the_file_is_of_the_first_format(place: Provisioned) -> None:
    for folder in (place.federation, place.sites["north"]):
        (folder / FILE_NAME).unlink()
    load_federation(place.federation)
    load_enrolment(place.sites["north"])
    join(invite(place.federation, "south", now=1_800_000_000), place.federation.parent / "south", now=1_800_000_000)


def test_joining_again_does_not_say_that_an_old_folder_is_new(place: Provisioned) -> None:
    folder = place.sites["north"]
    (folder / FILE_NAME).unlink()
    join(folder / "invitation.json", folder, now=1_800_000_000)
    assert not (folder / FILE_NAME).exists()


@pytest.mark.parametrize(
    "words", [("site", "start"), ("site", "pause"), ("federation", "check"), ("federation", "serve"), ("study", "list")]
)
def test_commands_refuse_a_folder_of_newer_software_and_leaves_it(place: Provisioned, words: tuple[str, str]) -> None:
    folder = place.sites["north"] if words[0] == "site" else place.federation
    (folder / FILE_NAME).write_text(NEWER)
    if words[0] == "site":
        (folder / "site.toml").write_text('[site]\nname = "north"\n[data]\nkind = "npz"\nfile = "/srv/a.npz"\n')
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    where = {"site": ("--config", folder / "site.toml"), "federation": (folder,), "study": ("-f", folder)}[words[0]]
    done = wardround(*words, *where)
    said = " ".join(done.stderr.split())
    assert done.exit_code == ConfigError.exit_code, done.output
    assert f"has format {FOLDER_FORMAT + 1}, of Wardround 7.1.0; this is Wardround {VERSION}, which reads" in said
    assert "Install Wardround 7.1.0 or later again, or go back as docs/upgrade.md says." in said
    assert before == {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_folder_of_newer_software_is_not_backed_up_by_older(place: Provisioned, tmp_path: Path) -> None:
    (place.federation / FILE_NAME).write_text(NEWER)
    with pytest.raises(ConfigError, match="has format"):
        back_up(place.federation, tmp_path / "new.backup", passphrases=("correct horse", "battery staple"))
    assert not (tmp_path / "new.backup").exists()


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"format":"1","wardround":"0.1.0"}', '{"format":0,"wardround":"x"}'])
def test_a_damaged_file_says_so(tmp_path: Path, text: str) -> None:
    mark_folder(tmp_path)
    insist_on_format(tmp_path)
    (tmp_path / FILE_NAME).write_text(text)
    with pytest.raises(ConfigError, match=r"format\.json in .* is damaged"):
        insist_on_format(tmp_path)
