"""Of a file that somebody crafted every command of the audit says one thing, ends with a no, and proves nothing."""

from pathlib import Path

import pytest
from audited import KEPT, Handed
from live_federation import wardround
from typer.testing import Result

from shared.errors import ConfigError, TrustError
from shared.keys import make_identity_key, save_key

CRAFTED = {
    "empty": b"",
    "deep": b"[" * 100_000 + b"\n",
    "a line without end": b'{"head":' + b"x" * (2 << 20),
    "NaN": b'{"n":NaN}\n',
    "a key twice": b'{"n":1,"n":2}\n',
    "a number without end": b'{"n":' + b"9" * 5_000 + b"}\n",
    "a terminal's words": b'{"\x1b[2J":"\xe2\x80\xae"}\n',
}
PLACES = {
    "verify": ("verify", "LEDGER", "--key", "CARD", "--head", "JOURNAL"),
    "verify by receipts": ("verify", "LEDGER", "--key", "CARD", "--head", "RECEIPTS"),
    "anchors": ("anchors", "LEDGER"),
    "budget": ("budget", "LEDGER", "--key", "CARD"),
    "reconcile": ("reconcile", "JOURNAL", "LEDGER", "--key", "CARD", "--study", "STUDY"),
    "image-list": ("image-list", "LEDGER", "LISTS", "--key", "CARD"),
    "openings": ("openings", "LEDGER", "OPENINGS", "--key", "CARD"),
    "report": ("report", "LEDGER", "--key", "CARD", "--journal", "JOURNAL", "--sign", "PEM", "--to", "PAGE"),
}


@pytest.fixture(scope="module")
def files(handed: Handed, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Sound ones of each kind."""
    folder = tmp_path_factory.mktemp("crafted")
    save_key(folder / "auditor.pem", make_identity_key())
    shown = ("site", "image-list", KEPT, "--to", folder / "images.json", "--config", handed.site / "site.toml")
    assert wardround(*shown).exit_code == 0
    study = handed.federation / "studies" / KEPT
    return {
        **{"LEDGER": handed.ledger, "CARD": handed.card, "RECEIPTS": handed.receipts, "STUDY": study},
        **{"JOURNAL": study / "journal.jsonl", "OPENINGS": handed.ledger.with_name("north-openings.jsonl")},
        **{"LISTS": folder / "images.json", "PEM": folder / "auditor.pem", "PAGE": folder / "page.html"},
    }


def ended(files: dict[str, Path], command: str) -> Result:
    return wardround("audit", *(files.get(word, word) for word in PLACES[command]))


@pytest.mark.parametrize("command", PLACES)
def test_sound_files_are_a_yes(files: dict[str, Path], command: str) -> None:
    assert ended(files, command).exit_code == 0


@pytest.mark.parametrize("data", CRAFTED.values(), ids=CRAFTED)
@pytest.mark.parametrize("command", PLACES)
def test_a_crafted_file_is_one_clear_no(files: dict[str, Path], tmp_path: Path, command: str, data: bytes) -> None:
    for place in {"LEDGER", "CARD", "RECEIPTS", "JOURNAL", "LISTS", "OPENINGS"} & {*PLACES[command]}:
        (tmp_path / place).write_bytes(data)
        done = ended(files | {place: tmp_path / place}, command)
        assert (place, done.exit_code) in [(place, kind.exit_code) for kind in (ConfigError, TrustError)]
        assert done.stderr.count("Error: ") == 1
        assert not any(
            yes in done.stdout for yes in ("books agree", "consistent", "was charged", "signed each", "is the one")
        )
        assert all(character.isprintable() or character == "\n" for character in done.output)


@pytest.mark.parametrize("command", PLACES)
def test_a_folder_a_link_to_itself_and_nothing_at_all_are_named(
    files: dict[str, Path], tmp_path: Path, command: str
) -> None:
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    for place in {"LEDGER", "JOURNAL", "LISTS", "OPENINGS"} & {*PLACES[command]}:
        for other in (tmp_path, tmp_path / "loop", tmp_path / "none"):
            done = ended(files | {place: other}, command)
            assert done.exit_code == ConfigError.exit_code
            said = " ".join(done.stderr.split())
            assert ("There is no ledger at" in said) == (place == "LEDGER")
            assert ("There is no file of openings at" in said) == (place == "OPENINGS")
