"""Whoever has no business here is refused with one clear sentence on both consoles, and the others go on.

A console is what `wardround federation serve` and `wardround site start` write on standard error. Four
sites that must not get in knock at the same time, while a study runs with two good sites.
"""

import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import grpc
import pytest
from cryptography import x509
from flwr.proto.fleet_pb2 import ActivateNodeRequest, DeactivateNodeRequest
from flwr.proto.fleet_pb2_grpc import FleetStub
from live_federation import LiveFederation
from other_versions import FAR_NEWER, PATIENCE_S, Console, console, of_a_later_protocol, running, until

from client.imaging.settings import DataSettings
from client.join import join, load_enrolment
from client.line.fleet import Fleet, NotAdmitted
from client.settings import AboutSite, ComputeSettings, SiteSettings, write_settings
from deploy.local import wardround_command
from deploy.provision import provision
from server.federation import load_federation
from server.membership.authority import SERVER_DAYS, certificate_pem, issue_server
from server.membership.enrolment import invite
from shared.errors import LinkError
from shared.keys import load_transport_key, transport_pem
from shared.loopback import free_port
from shared.protocol import OLDEST, PROTOCOL
from shared.version import VERSION

# ------------------------------------------------------------------ who knocks


def settle(folder: Path, name: str, live: LiveFederation) -> Path:
    """Write a site's configuration."""
    images = DataSettings(kind="npz", file=live.root / "all.npz")
    settings = SiteSettings(site=AboutSite(name=name), data=images, compute=ComputeSettings(threads=1, device="cpu"))
    write_settings(folder / "site.toml", settings)
    return folder / "site.toml"


def unadmitted(live: LiveFederation, root: Path) -> Path:
    """A site that was invited and joined, and that nobody admitted."""
    invitation = invite(live.federation, "unadmitted", now=int(time.time()))
    join(invitation, root / "unadmitted", now=int(time.time()))
    return settle(root / "unadmitted", "unadmitted", live)


def stranger_to(live: LiveFederation, root: Path, name: str, *, port: int) -> Path:
    """A site of another federation, which dials the port."""
    now = int(time.time())
    place = provision(root / name, name="elsewhere", host="127.0.0.1", fleet_port=port, sites=[name], now=now)
    return settle(place.sites[name], name, live)


def let_expire(federation: Path) -> None:
    """Replace a server's certificate by one that was issued long ago."""
    authority = x509.load_pem_x509_certificate((federation / "ca" / "certificate.pem").read_bytes())
    public = load_transport_key(federation / "server" / "key.pem").public_key()
    long_ago = int(time.time()) - (SERVER_DAYS + 1) * 86_400
    old = issue_server(
        authority, load_transport_key(federation / "ca" / "key.pem"), public, host="127.0.0.1", now=long_ago
    )
    (federation / "server" / "certificate.pem").write_bytes(certificate_pem(old))


def listener(port: int, credentials: grpc.ServerCredentials | None) -> grpc.Server:
    """A bare gRPC server."""
    server = grpc.server(ThreadPoolExecutor(max_workers=1))
    where = f"127.0.0.1:{port}"
    assert server.add_secure_port(where, credentials) if credentials else server.add_insecure_port(where)
    server.start()
    return server


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("knocking")


@pytest.fixture(scope="module")
def knocking(federation: LiveFederation, root: Path) -> Iterator[dict[str, Console]]:
    """The consoles of four sites that must not get in, and the server's."""
    live = federation
    expired, plain = free_port(), free_port()
    configs = {
        "unadmitted": unadmitted(live, root),
        "foreign": stranger_to(live, root, "foreign", port=live.port),
        "expired": stranger_to(live, root, "expired", port=expired),
        "plain": stranger_to(live, root, "plain", port=plain),
    }
    let_expire(root / "expired" / "federation")
    keys = [(root / "expired" / "federation" / "server" / f).read_bytes() for f in ("key.pem", "certificate.pem")]
    servers = [listener(expired, grpc.ssl_server_credentials([(keys[0], keys[1])])), listener(plain, None)]
    consoles = {name: console(live, name) for name in ("server", *configs)}
    with pytest.MonkeyPatch.context() as shell:
        shell.delenv("GRPC_VERBOSITY", raising=False)  # which Flower has set here, and nobody in a hospital's shell
        for name, config in configs.items():
            live.start(name, ["site", "start", "--config", str(config)])
    yield consoles
    for name in configs:
        live.processes[name].terminate()
    for name in configs:
        live.stop(name)
    for server in servers:
        server.stop(None).wait()


@contextmanager
def thief(live: LiveFederation, site: str) -> Iterator[Fleet]:
    """Somebody with a copy of a site's key."""
    ca_pem = (live.federation / "ca" / "certificate.pem").read_bytes()
    key = load_enrolment(live.sites[site]).transport_key
    fleet = Fleet(host="127.0.0.1", port=live.port, ca_pem=ca_pem, key=key, clock=time.time)
    yield fleet
    fleet.close()


def key_of(live: LiveFederation, site: str) -> bytes:
    return transport_pem(load_enrolment(live.sites[site]).transport_key.public_key()).encode()


# ------------------------------------------------------------------ each case


def test_an_unknown_key(knocking: dict[str, Console]) -> None:
    knocking["unadmitted"].await_line(
        "The server does not admit this site's key: it is not on the roster, or active elsewhere. "
        "Ask the coordinator whether this site is admitted, and end any second agent of this site."
    )
    knocking["server"].await_line(
        "A caller whose key is not on the roster was refused. "
        "If you expect a new site, admit its join request first; else somebody holds your CA certificate."
    )


def test_a_wrong_ca(federation: LiveFederation, knocking: dict[str, Console]) -> None:
    issuer = f"{load_federation(federation.federation).settings.name} CA"
    knocking["foreign"].await_line(
        f"The certificate of 127.0.0.1:{federation.port} is not from this federation's CA, but issued by {issuer!r}. "
        "If that is your TLS inspection or antivirus, have it leave this line alone: docs/site-network.md has the "
        "words for its team. Else check the address and the invitation."
    )
    knocking["server"].await_line(
        "A caller broke off the TLS handshake: it does not accept this server's certificate. "
        "Ask which site says so on its console; its invitation may be of another federation, or its clock wrong."
    )


def test_an_expired_certificate(federation: LiveFederation, knocking: dict[str, Console], root: Path) -> None:
    until(lambda: bool(knocking["expired"].troubles()), lambda: str(knocking["expired"].lines()))
    (said,) = knocking["expired"].troubles()
    assert said.startswith("The certificate of 127.0.0.1:")
    assert said.endswith(" has expired. Ask the coordinator to renew it and restart the server.")
    serve = [wardround_command(), "federation", "serve", str(root / "expired" / "federation")]
    done = subprocess.run(serve, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
    assert done.returncode == LinkError.exit_code
    assert "The server's certificate has expired, so every site refuses it." in " ".join(done.stderr.split())


def test_plaintext_in_both_directions(federation: LiveFederation, knocking: dict[str, Console]) -> None:
    until(lambda: bool(knocking["plain"].troubles()), lambda: str(knocking["plain"].lines()))
    (said,) = knocking["plain"].troubles()
    assert said.endswith(" does not speak TLS. Check the port; a Wardround server always speaks TLS.")
    with grpc.insecure_channel(f"127.0.0.1:{federation.port}") as channel, pytest.raises(grpc.RpcError) as refused:
        FleetStub(channel).DeactivateNode(DeactivateNodeRequest(node_id=1), timeout=PATIENCE_S)
    assert refused.value.code() is grpc.StatusCode.UNAVAILABLE
    knocking["server"].await_line(
        "A caller without TLS was refused. "
        "If a site complains, have it check that nothing between takes TLS away; else it is a scanner."
    )


def test_a_thief_of_a_key_who_wants_the_place_of_a_site_that_is_there(
    federation: LiveFederation, knocking: dict[str, Console]
) -> None:
    site = next(iter(federation.sites))
    request = ActivateNodeRequest(public_key=key_of(federation, site), heartbeat_interval=1800.0)
    with thief(federation, site) as second, pytest.raises(NotAdmitted, match="or active elsewhere"):
        second.call("ActivateNode", request)
    knocking["server"].await_line(
        f"A second caller tried to take the place of {site}, which is taken, and was refused. "
        f"Ask {site} whether it runs two agents or has just lost its folder; if not, a stranger tried."
    )


@pytest.mark.slow
def test_a_stolen_place_and_a_later_protocol_while_the_others_work(
    federation: LiveFederation,
    knocking: dict[str, Console],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    live, site = federation, list(federation.sites)[-1]
    live.stop(site)
    with thief(live, site) as second:
        second.call("ActivateNode", ActivateNodeRequest(public_key=key_of(live, site), heartbeat_interval=1800.0))
    knocking["server"].await_line(
        f"A stranger holds the place of {site} for 60 more minutes; no message can be read with it. "
        f"Have {site} start its agent, which takes the place back; if it is refused, restart this server."
    )

    later, reads = PROTOCOL + 1, f"reads {OLDEST} to {PROTOCOL}."
    study = live.launch("two-protocols", rounds=1, steps=2, quorum=2)
    with running(live, site, of_a_later_protocol(tmp_path), monkeypatch) as own:
        own.await_line(
            f"A message of protocol 1 has come from Wardround {VERSION}; this is Wardround {FAR_NEWER}, which reads "
            f"{later} to {later}. Have Wardround upgraded on the other side, as docs/upgrade.md says."
        )
        knocking["server"].await_line(
            f"Study two-protocols: {site} does not count in round 0: A message of protocol {later} has come from "
            f"Wardround {FAR_NEWER}; this is Wardround {VERSION}, which {reads} "
            "Upgrade Wardround on this side, as docs/upgrade.md says."
        )
        live.finished(study)  # by the others
        knocking["server"].await_line("Study two-protocols is finished after 1 rounds.")


def test_nothing_else_was_said_and_nothing_twice(federation: LiveFederation, knocking: dict[str, Console]) -> None:
    for name in ("unadmitted", "foreign", "expired", "plain"):
        until(knocking[name].troubles, lambda name=name: f"{name} said nothing")  # type: ignore[misc]
        assert len(knocking[name].troubles()) == 1, knocking[name].lines()
        assert federation.processes[name].poll() is None  # it goes on trying
    heard = [line for line in knocking["server"].lines() if not line.startswith("Study ")]
    assert len(heard) == len(set(heard)), heard
