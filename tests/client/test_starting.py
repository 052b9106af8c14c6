"""A site that starts with other software or keys than before says so in its ledger, and else nothing."""

import platform
from collections.abc import Iterator
from pathlib import Path

import pytest
from lone_site import LoneSite

from client.evidence import look_at_ledger
from client.software import Software, installed
from client.starting import note_start
from deploy.audit.vocabulary import unknown_in
from shared.keys import make_transport_key, save_key
from shared.ledger import read_entries
from shared.version import VERSION


@pytest.fixture
def site(tmp_path: Path) -> Iterator[LoneSite]:
    lone = LoneSite(tmp_path)
    yield lone
    lone.close()


def test_software_and_keys_are_written_down_once(site: LoneSite) -> None:
    for _ in range(3):
        site.start()
        note_start(site.site)
    (software,), (keys,) = site.entries("software"), site.entries("keys")
    assert (software["version"], software["code"]) == (VERSION, installed().code)
    assert software["packages"]["python"] == platform.python_version() and "torch" in software["packages"]
    card = look_at_ledger(site.folder).card
    assert (keys["fingerprint"], keys["coordinator_fingerprint"]) == (
        card.fingerprint(),
        card.coordinator_fingerprint(),
    )
    assert [list(unknown_in(entry)) for entry in read_entries(site.folder / "ledger.jsonl")] == [[], []]


def test_another_wheel_is_written_down_and_so_is_the_way_back(site: LoneSite) -> None:
    for software in (None, Software(code="0" * 64, wheel="1" * 64), None):
        site.start(software=software)
        note_start(site.site)
    assert [entry["wheel"] for entry in site.entries("software")] == [installed().wheel, "1" * 64, installed().wheel]
    assert len(site.entries("keys")) == 1


def test_another_transport_key_is_written_down(site: LoneSite) -> None:
    note_start(site.site)
    place = site.folder / "keys" / "transport.pem"
    place.unlink()
    save_key(place, make_transport_key())
    site.start()
    note_start(site.site)
    before, after = site.entries("keys")
    assert before["fingerprint"] != after["fingerprint"] and before["ca_certificate"] == after["ca_certificate"]
