"""A provisioned federation is one whose parties can already talk to each other."""

import ssl
import time
from pathlib import Path

import pytest

from client.join import load_enrolment
from deploy.provision import provision
from server.federation import load_federation
from shared.envelope import open_envelope, seal
from shared.errors import ConfigError
from shared.keys import transport_pem

NOW = 1_800_000_000


def test_every_site_is_on_the_roster_with_the_keys_in_its_folder(tmp_path: Path) -> None:
    made = provision(tmp_path, name="lungs", host="127.0.0.1", fleet_port=9092, sites=["south", "north"], now=NOW)
    roster = load_federation(made.federation).roster
    assert list(made.sites) == ["south", "north"]
    assert roster.sites() == ("north", "south")
    for site, folder in made.sites.items():
        enrolment = load_enrolment(folder)
        public = transport_pem(enrolment.transport_key.public_key())
        assert roster.by_transport_key(public).site == enrolment.invitation.site == site


def test_a_sites_envelope_opens_at_the_server(tmp_path: Path) -> None:
    made = provision(tmp_path, name="lungs", host="127.0.0.1", fleet_port=9092, sites=["north"], now=NOW)
    key = load_enrolment(made.sites["north"]).identity_key
    data = seal(b"ready", key=key, signer="north", purpose="to server")
    keys = load_federation(made.federation).roster.identity_keys(at=NOW)
    assert open_envelope(data, keys=keys, purpose="to server") == ("north", b"ready")


def test_tls_holds_between_the_server_and_a_site_that_has_its_invitation(tmp_path: Path) -> None:
    made = provision(tmp_path, name="lungs", host="fl.example", fleet_port=9092, sites=["north"], now=int(time.time()))
    federation = load_federation(made.federation)
    here = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    here.load_cert_chain(federation.server_certificate, federation.server_key)
    there = ssl.create_default_context(cadata=load_enrolment(made.sites["north"]).invitation.ca_certificate)
    for host in ("fl.example", "localhost", "127.0.0.1"):
        assert handshake(here, there, host) == "TLSv1.3"
    with pytest.raises(ssl.SSLCertVerificationError, match="mismatch"):
        handshake(here, there, "evil.example")


def handshake(here: ssl.SSLContext, there: ssl.SSLContext, host: str) -> str | None:
    up, down = ssl.MemoryBIO(), ssl.MemoryBIO()
    server, client = here.wrap_bio(up, down, server_side=True), there.wrap_bio(down, up, server_hostname=host)
    waiting = [client, server]
    while waiting:
        side = waiting.pop(0)
        try:
            side.do_handshake()
        except ssl.SSLWantReadError:
            waiting.append(side)
    return client.version()


def test_a_second_federation_in_the_same_place_is_refused(tmp_path: Path) -> None:
    provision(tmp_path, name="lungs", host="127.0.0.1", fleet_port=9092, sites=[], now=NOW)
    with pytest.raises(ConfigError, match="not empty"):
        provision(tmp_path, name="lungs", host="127.0.0.1", fleet_port=9092, sites=[], now=NOW)
