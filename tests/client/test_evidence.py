"""A site hands over its ledger as it stands and its public keys, and nothing else."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from live_federation import wardround
from lone_site import LoneSite

from client.evidence import export_ledger, look_at_ledger
from client.intake import open_message
from client.join import load_enrolment
from client.privacy.claims import open_claims
from client.privacy.dismissal import dismiss
from client.receipts import keep_receipts
from shared.canonical import digest
from shared.errors import ConfigError, TrustError
from shared.heads import Head
from shared.key_card import read_key_card
from shared.keys import identity_hex, read_identity_hex
from shared.openings import read_opening_line
from shared.wire import Open


@pytest.fixture
def site(tmp_path: Path) -> Iterator[LoneSite]:
    lone = LoneSite(tmp_path / "ward")
    lone.open()
    lone.tell(lone.coordinator.work(1))
    lone.finish()
    lone.tell(lone.coordinator.close(2))
    yield lone
    lone.close()


def test_the_export_is_the_ledger_and_the_card(site: LoneSite, tmp_path: Path) -> None:
    found = export_ledger(site.folder, tmp_path / "out")
    ledger, card, openings = found.files
    assert sorted((tmp_path / "out").iterdir()) == sorted(found.files)
    assert ledger.read_bytes() == (site.folder / "ledger.jsonl").read_bytes()
    enrolment = load_enrolment(site.folder)
    read = read_key_card(card.read_bytes())
    assert read == found.card == look_at_ledger(site.folder).card
    (kept,) = map(read_opening_line, openings.read_bytes().splitlines())
    asked = open_message(
        bytes.fromhex(kept.envelope), site=read.site, coordinator=read_identity_hex(read.coordinator_key)
    )
    assert isinstance(asked, Open)
    assert asked.study == site.coordinator.study
    assert read.identity_key == identity_hex(enrolment.identity_key.public_key())
    assert read.coordinator_key == enrolment.invitation.coordinator_key
    assert found.verdict.end_signed


def test_receipts_are_handed_over_whole_lines_of_them(site: LoneSite, tmp_path: Path) -> None:
    receipt = site.coordinator.receipt(1)
    (site.folder / "receipts.jsonl").write_bytes(receipt.line() + receipt.line()[:40])
    found = export_ledger(site.folder, tmp_path / "out")
    names = ("ledger.jsonl", "key-card.json", "receipts.jsonl", "openings.jsonl")
    assert [file.name for file in found.files] == [f"north-{name}" for name in names]
    assert found.files[2].read_bytes() == receipt.line()


def test_it_can_be_done_beside_a_running_agent(site: LoneSite, tmp_path: Path) -> None:
    with (site.folder / "ledger.jsonl").open("ab") as file:
        file.write(b'{"data"')  # of an entry that is being written
    found = export_ledger(site.folder, tmp_path / "out")
    assert found.files[0].read_bytes() + b'{"data"' == (site.folder / "ledger.jsonl").read_bytes()


def test_no_secret_of_the_site_and_nothing_of_a_patient_is_in_it(site: LoneSite, tmp_path: Path) -> None:
    files = export_ledger(site.folder, tmp_path / "out").files
    handed = b"".join(file.read_bytes() for file in files).decode()
    invitation = json.loads((site.folder / "invitation.json").read_bytes())
    secrets = [invitation["patient_salt"], invitation["token"], invitation["ca_certificate"], str(site.folder)]
    secrets += [file.read_text() for file in (site.folder / "keys").iterdir()]
    assert not [secret for secret in secrets if secret in handed]
    assert set(json.loads(files[1].read_bytes())) == {
        *("protocol", "federation", "site", "transport_key", "identity_key", "coordinator_key")
    }


def test_an_earlier_export_is_not_written_over(site: LoneSite, tmp_path: Path) -> None:
    export_ledger(site.folder, tmp_path / "out")
    with pytest.raises(ConfigError, match="holds an earlier export of north"):
        export_ledger(site.folder, tmp_path / "out")


def test_a_ledger_that_does_not_hold_is_not_exported(site: LoneSite, tmp_path: Path) -> None:
    path = site.folder / "ledger.jsonl"
    path.write_bytes(path.read_bytes().replace(b'"round":1', b'"round":3', 1))
    with pytest.raises(TrustError, match=r"Line \d+ of ledger.jsonl") as caught:
        export_ledger(site.folder, tmp_path / "out")
    assert "as it is" in caught.value.remedy
    assert list((tmp_path / "out").iterdir()) == []


def test_a_site_that_was_never_started_has_no_ledger(tmp_path: Path) -> None:
    lone = LoneSite(tmp_path)
    lone.close()
    (lone.folder / "ledger.jsonl").unlink()
    with pytest.raises(ConfigError, match="no ledger"):
        look_at_ledger(lone.folder)


@pytest.mark.parametrize("left", [b"", b"x" * 300], ids=["emptied", "garbage"])
def test_a_ledger_without_an_entry_is_none(site: LoneSite, tmp_path: Path, left: bytes) -> None:
    (site.folder / "ledger.jsonl").write_bytes(left)
    for look in (look_at_ledger, lambda folder: export_ledger(folder, tmp_path / "out")):
        with pytest.raises(TrustError, match="no whole entry"):
            look(site.folder)
    assert not list((tmp_path / "out").iterdir())


def test_a_ledger_that_lacks_what_a_receipt_names_is_not_exported(site: LoneSite, tmp_path: Path) -> None:
    ledger = site.folder / "ledger.jsonl"
    lines = ledger.read_bytes().splitlines(keepends=True)
    head = Head(n=3, hash=digest(lines[2].removesuffix(b"\n")))
    keep_receipts(site.folder, [site.coordinator.receipt(1, head=head)])
    assert look_at_ledger(site.folder).verdict.ok
    ledger.write_bytes(b"".join(lines[:2]))
    with pytest.raises(TrustError, match="names an entry 3 that"):
        export_ledger(site.folder, tmp_path / "out")
    assert not list((tmp_path / "out").iterdir())
    site.site.ledger.close()
    claims = open_claims(site.folder)
    dismiss(site.folder, claims, by="ada", why="the receipt errs", now=site.site.now())
    assert look_at_ledger(site.folder).verdict.ok  # a person has said so, in this ledger


def test_a_line_that_is_not_whole_is_named(site: LoneSite) -> None:
    assert look_at_ledger(site.folder).torn_bytes == 0
    with (site.folder / "ledger.jsonl").open("ab") as file:
        file.write(b"x" * 300)
    assert look_at_ledger(site.folder).torn_bytes == 300
    shown = wardround("site", "ledger", "--config", site.folder / "site.toml").stdout
    assert "300 bytes that are no whole entry" in " ".join(shown.split())
    assert max(map(len, shown.splitlines())) <= 80
