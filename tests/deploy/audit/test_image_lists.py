"""A site shows the list of a study's images, and an auditor holds it against the hash in the ledger."""

import json
from pathlib import Path
from typing import Any

import pytest
from audited import STUDIES, Handed
from live_federation import wardround

from deploy.audit.image_lists import Held, hold_against
from deploy.audit.keys import read_signer
from deploy.audit.reading import signed, sound_entries
from deploy.audit.vocabulary import unknown_in
from shared.canonical import digest
from shared.errors import ConfigError, TrustError
from shared.image_list import ShownLists, read_list, read_shown
from shared.ledger import read_entries


@pytest.fixture
def file(handed: Handed, tmp_path: Path) -> Path:
    """What the site wrote for the auditor, by its command."""
    done = wardround("site", "image-list", STUDIES[0], "--to", tmp_path / "images.json", *config(handed))
    assert done.exit_code == 0, done.output
    return tmp_path / "images.json"


def config(handed: Handed) -> tuple[object, ...]:
    return ("--config", handed.site / "site.toml")


def held(handed: Handed, given: ShownLists, *, ledger: Path | None = None, **changes: Any) -> Held:
    return hold_against(read_entries(ledger or handed.ledger), given.model_copy(update=changes), site="north")


def test_the_list_is_the_one_that_the_ledger_holds(handed: Handed, file: Path) -> None:
    done = wardround("audit", "image-list", handed.ledger, file, "--key", handed.card, "--json")
    said = json.loads(done.stdout)["data"]
    assert (done.exit_code, said["agrees"]) == (0, True)
    (shown,) = said["lists"]
    assert shown["images"] == {"train": 16, "validation": 4, "test": 4}
    assert shown["patients"] == shown["images"]
    page = wardround("audit", "image-list", handed.ledger, file, "--key", handed.card).stdout
    assert page.splitlines()[0].strip() == "the list is the one that the ledger holds"
    assert max(map(len, page.splitlines())) <= 80


def test_the_ledger_holds_nothing_of_a_patient(handed: Handed, file: Path) -> None:
    given = read_shown(file.read_bytes())
    ledger, images = handed.ledger.read_text(), read_list(given.lists[0])
    for image in images:
        assert image.patient not in ledger
        assert image.image.partition("/")[0] not in ledger
    assert given.key not in ledger
    manifests = [e.data["manifest"] for e in read_entries(handed.ledger) if e.type == "cohort_manifest"]
    assert len(set(manifests)) == len(STUDIES)  # of the same patients, and nobody can tell


def test_another_list_another_key_and_another_study_do_not_agree(handed: Handed, file: Path) -> None:
    given = read_shown(file.read_bytes())
    (text,) = given.lists
    first, *others = text.splitlines(keepends=True)
    fewer, relabelled = "".join(others), text.replace('"labels":[0]', '"labels":[1]', 1)
    for lists in ((fewer,), (relabelled,), (text, fewer)):
        shown = held(handed, given, lists=lists)
        assert not shown.agrees
        assert [one.entry for one in shown.lists if one.entry is None] == [None]
    assert first not in fewer
    assert not held(handed, given, key="0" * 64).agrees
    assert held(handed, given, lists=()).missing
    assert held(handed, given, site="south").foreign
    assert not held(handed, given, study_digest="0" * 64).agrees
    assert not held(handed, given, study="hearts").agrees  # the name that is shown is the ledger's, too


def test_the_ledger_says_who_showed_the_list_and_nothing_of_a_patient(
    handed: Handed, file: Path, tmp_path: Path
) -> None:
    words = ("site", "image-list", STUDIES[0], "--to", tmp_path / "again.json", "--by", "ada", *config(handed))
    assert json.loads(wardround(*words, "--json").stdout)["data"]["noted"] is True
    site = read_signer(str(handed.card), None)
    entries = list(signed(sound_entries(handed.site / "ledger.jsonl", site.key, site.name)))
    said = [entry.data for entry in entries if entry.type == "image_list_shown"][-1]
    assert (said["by"], said["study"], said["file_digest"]) == ("ada", STUDIES[0], digest(file.read_bytes()))
    assert {entry.type for entry in entries for _ in unknown_in(entry)} == set()
    shown = held(handed, read_shown(file.read_bytes()), ledger=handed.site / "ledger.jsonl")
    assert shown.agrees
    assert shown.told == entries[-2].n


def test_a_list_that_does_not_agree_ends_with_no(handed: Handed, file: Path, tmp_path: Path) -> None:
    given = read_shown(file.read_bytes())
    other = given.model_copy(update={"lists": (given.lists[0].replace('"train"', '"test"', 1),)})
    (tmp_path / "other.json").write_bytes(other.encode())
    done = wardround("audit", "image-list", handed.ledger, tmp_path / "other.json", "--key", handed.card, "--json")
    assert done.exit_code == TrustError.exit_code
    assert "not the one that the ledger holds" in json.loads(done.stdout)["error"]["what"]


@pytest.mark.parametrize("data", [b"", b"{}", b"[1]", b"\xff", b"[" * 100_000])
def test_what_shows_no_lists_is_refused(data: bytes) -> None:
    with pytest.raises(TrustError, match="site image-list"):
        read_shown(data)


def test_the_site_is_told_what_it_cannot_show(handed: Handed, file: Path, tmp_path: Path) -> None:
    for words in (("hearts", "--to", tmp_path / "x"), (STUDIES[0], "--to", file)):
        assert wardround("site", "image-list", *words, *config(handed), "--json").exit_code == ConfigError.exit_code
    done = wardround("audit", "image-list", handed.ledger, tmp_path / "none", "--key", handed.card, "--json")
    assert done.exit_code == ConfigError.exit_code
