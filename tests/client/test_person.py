"""Who does something at a site, and why, is checked by every command before anything is written."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from few_patients import site_of_few
from live_federation import wardround
from lone_site import LoneSite

from client.person import named_person, stated_reason
from client.privacy.claims import Claim, note_claim
from shared.errors import ConfigError
from shared.heads import Head

BAD = ["a\udcff", "a\x1b[2J", "two\nlines", "n" * 501]
RECONCILE = [("budget", "reconcile"), ("budget", "reconcile", "--dismiss", "--yes", "--reason", "it is false")]
COMMANDS: dict[str, list[tuple[object, ...]]] = {
    "--by": [
        *(("approve", "lungs"), ("deny", "lungs")),
        *RECONCILE,
        ("withdraw", "patient 0"),
        ("withdraw", "--complete", "--yes"),
        ("image-list", "lungs", "--to", "shown.json"),
        ("budget", "give-back", "lungs", "--yes"),
    ],
    "--reason": [*RECONCILE, ("deny", "lungs", "--by", "ada")],
}


@pytest.fixture
def site(tmp_path: Path) -> Iterator[LoneSite]:
    lone = site_of_few(tmp_path)
    lone.site.ledger.close()
    note_claim(lone.folder, Claim(study="lungs", round=1, head=Head(n=99, hash="9" * 64)))
    yield lone
    lone.close()


def files(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("option", ["--by", "--reason"])
@pytest.mark.parametrize("text", BAD)
def test_what_the_ledger_does_not_take_is_refused_before_anything_is_written(
    site: LoneSite, option: str, text: str
) -> None:
    before = files(site.folder)
    for words in COMMANDS[option]:
        refused = wardround("site", *words, option, text, "--config", site.folder / "site.toml")
        assert refused.exit_code == ConfigError.exit_code, (words, refused.output)
        assert "nothing was done" in refused.stderr and option in refused.stderr and text not in refused.output
    assert files(site.folder) == before


def test_what_a_person_is_called_and_says_is_one_line_of_any_script() -> None:
    assert named_person(" Ada Byron-\N{CYRILLIC SMALL LETTER YA} ") == "Ada Byron-\N{CYRILLIC SMALL LETTER YA}"
    assert named_person(None)  # of the account
    assert (stated_reason(None), stated_reason("  "), stated_reason(" so ")) == (None, None, "so")
    for empty in ("", "  "):
        with pytest.raises(ConfigError, match="name"):
            named_person(empty)
