"""A command on a folder that is no site's, or in which a folder lies in a file's place, says so and what to do."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from few_patients import site_of_few
from live_federation import wardround
from lone_site import LoneSite

from shared.errors import ConfigError

BUDGET = [
    ("budget", "show"),
    ("budget", "reconcile"),
    ("budget", "reconcile", "--dismiss", "--reason", "it is false", "--yes"),
    ("budget", "give-back", "lungs", "--yes"),
]
COMMANDS = [*BUDGET, ("withdraw", "patient 0"), ("image-list", "lungs", "--to", "shown.json"), ("ledger",), ("start",)]


@pytest.fixture
def site(tmp_path: Path) -> Iterator[LoneSite]:
    lone = site_of_few(tmp_path)
    lone.site.ledger.close()
    yield lone
    lone.close()


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_a_folder_that_has_not_joined_is_named(site: LoneSite, tmp_path: Path, words: tuple[str, ...]) -> None:
    (tmp_path / "empty").mkdir()
    (site.folder / "invitation.json").unlink()
    for folder in (tmp_path / "absent", tmp_path / "empty", site.folder):
        refused = wardround("site", *words, "--config", folder / "site.toml")
        assert refused.exit_code == ConfigError.exit_code, refused.output
        assert "wardround site join" in " ".join(refused.stderr.split())
    assert not (tmp_path / "absent").exists() and not list((tmp_path / "empty").iterdir())


@pytest.mark.parametrize("name", ["ledger.jsonl", "receipts.jsonl", "withdrawn.jsonl", "budget.json"])
def test_a_folder_in_a_file_s_place_is_named(site: LoneSite, name: str) -> None:
    (site.folder / name).unlink(missing_ok=True)
    (site.folder / name).mkdir()
    for words in COMMANDS:
        refused = wardround("site", *words, "--config", site.folder / "site.toml")
        assert refused.exit_code == ConfigError.exit_code, (words, refused.output)
        assert f"{name} in the site's folder is a folder" in " ".join(refused.stderr.split())
    shutil.rmtree(site.folder / name)
