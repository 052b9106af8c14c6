"""A TLS inspection between a site and the server: refused and named, or accepted and written down."""

import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest
from flower_lab import Lab, Out, issue, pull, random_file
from lone_site import LoneSite

from client.line.way import ServerSettings, Way, way_of
from client.starting import note_start
from deploy.audit.vocabulary import unknown_in
from deploy.bench.relay import Relay
from shared.errors import LinkError
from shared.ledger import read_entries


@pytest.fixture(scope="module")
def inspector(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The inspection's authority, and a certificate that it made for the server's name."""
    folder = issue(tmp_path_factory.mktemp("inspection"))
    (folder / "both.pem").write_bytes((folder / "server.key").read_bytes() + (folder / "server.pem").read_bytes())
    return folder


@pytest.fixture
def inspected(lab: Lab, inspector: Path) -> Iterator[int]:
    """The port of a relay that opens the line and reads along."""
    onward = ssl.create_default_context(cadata=lab.ca_pem.decode())
    onward.check_hostname = False  # it knows where it goes
    with Relay(lab.port, pem=inspector / "both.pem", onward=onward) as relay:
        yield relay.port


def accepting(inspector: Path) -> Way:
    settings = ServerSettings(accept_tls_inspection=True, inspection_ca=inspector / "ca.pem")
    return way_of(settings, inspector, {})


def test_it_is_refused_and_named(lab: Lab, inspected: int, inspector: Path, tmp_path: Path) -> None:
    link = lab.link(lab.key("inspected"), tmp_path, port=inspected)
    with pytest.raises(LinkError) as caught:
        link.connect()
    link.close()
    name = accepting(inspector).inspectors()["authorities"][0]
    assert f"is not from this federation's CA, but issued by {name!r}" in caught.value.what
    assert "docs/site-network.md" in caught.value.remedy


def test_accepted_it_passes_work_and_answers(lab: Lab, inspected: int, inspector: Path, tmp_path: Path) -> None:
    key = lab.visited("opened", tmp_path / "site")
    puppet = lab.puppet({"site": key})
    puppet.push("site", "question", str(random_file(tmp_path / "model", 300_000)))
    link = lab.link(key, tmp_path / "site", port=inspected, way=accepting(inspector))
    link.connect()
    parcel = pull(link)
    link.fetch(parcel, tmp_path / "got", limit=300_000)
    assert (tmp_path / "got").read_bytes() == (tmp_path / "model").read_bytes()
    assert link.send(parcel, Out(b"answer"))
    assert puppet.await_reply()["envelope"] == "answer"
    puppet.close()
    link.close()


def test_it_stands_in_the_ledger_and_so_does_its_end(inspector: Path, tmp_path: Path) -> None:
    site = LoneSite(tmp_path)
    note_start(site.site)
    assert site.entries("tls_inspection") == []
    config, before = site.folder / "site.toml", (site.folder / "site.toml").read_text()
    config.write_text(f'{before}\n[server]\naccept_tls_inspection = true\ninspection_ca = "{inspector / "ca.pem"}"\n')
    for _ in range(2):
        site.start()
        note_start(site.site)
    config.write_text(before)
    site.start()
    note_start(site.site)
    accepted, ended = site.entries("tls_inspection")
    assert accepted == accepting(inspector).inspectors() and accepted["authorities"][0].startswith("test CA")
    assert ended == {"accepted": False, "authorities": [], "ca_certificate": None}
    assert [one for entry in read_entries(site.folder / "ledger.jsonl") for one in unknown_in(entry)] == []
    assert any("TLS inspection is accepted" in line for line in site.said)
    site.close()
