"""What an auditor is shown is recorded if it is shown, and only then."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from live_federation import wardround
from lone_site import LoneSite

from client.cli.image_list import ENTRY
from client.image_lists import ImageLists
from client.imaging.catalogue import Row
from client.imaging.examples import Split
from client.waiting_entries import FILE_NAME
from shared.canonical import digest
from shared.errors import ConfigError


@pytest.fixture
def site(tmp_path: Path) -> Iterator[LoneSite]:
    lone = LoneSite(tmp_path / "ward")
    row = Row("npz", "images", 0, "a" * 64, "p", labels=(0,), split=Split.TRAIN)
    ImageLists(lone.folder).offer(lone.coordinator.study.digest(), [row])
    lone.open()
    lone.site.ledger.close()
    yield lone
    lone.close()


def show(site: LoneSite, to: Path) -> tuple[int, str]:
    done = wardround("site", "image-list", "lungs", "--to", to, "--by", "ada", "--config", site.folder / "site.toml")
    return done.exit_code, " ".join(done.output.split())


def test_what_was_written_is_recorded(site: LoneSite, tmp_path: Path) -> None:
    assert show(site, tmp_path / "shown.json")[0] == 0
    (said,) = site.entries(ENTRY)
    assert (said["by"], said["file_digest"]) == ("ada", digest((tmp_path / "shown.json").read_bytes()))
    assert (tmp_path / "shown.json").stat().st_mode & 0o077 == 0
    assert json.loads((tmp_path / "shown.json").read_bytes())["study"] == "lungs"


@pytest.mark.parametrize("place", ["absent/shown.json", "file/shown.json", "n" * 250])
def test_what_cannot_be_written_is_not_recorded(site: LoneSite, tmp_path: Path, place: str) -> None:
    (tmp_path / "file").touch()
    code, said = show(site, tmp_path / place)
    assert code == ConfigError.exit_code and "--to" in said
    assert site.entries(ENTRY) == [] and not (site.folder / FILE_NAME).exists()


def test_what_cannot_be_recorded_is_not_shown(site: LoneSite, tmp_path: Path) -> None:
    (site.folder / FILE_NAME).mkdir()
    assert show(site, tmp_path / "shown.json")[0] == ConfigError.exit_code
    assert [path.name for path in tmp_path.iterdir()] == ["ward"]
