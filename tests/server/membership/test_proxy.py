"""The real nginx in front of the real SuperLink: who shows no certificate that holds is not passed on."""

import os
import shutil
import socket
import ssl
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from flwr.proto.fleet_pb2 import RegisterNodeFleetRequest
from flwr.proto.heartbeat_pb2 import SendNodeHeartbeatRequest
from flwr.proto.node_pb2 import Node
from live_federation import LiveFederation, answer, images

from client.imaging.settings import DataSettings
from client.join import join, load_enrolment
from client.line.fleet import Fleet, Forgotten
from client.settings import AboutSite, SiteSettings, write_settings
from deploy.local import free_port
from server.cli.proxying import told_proxy
from server.federation import Federation, create_federation, load_federation
from server.membership.admissions import admission_path, issue_admission
from server.membership.authority import certificate_pem, issue_authority, issue_site
from server.membership.authority_files import load_authority
from server.membership.enrolment import admit, invite, revoke
from server.membership.proxy import Told, refresh_proxy, write_proxy
from server.membership.renewal import Step, renew_authority
from shared.admission import read_admission
from shared.errors import LinkError
from shared.keys import make_transport_key

Dial = Callable[..., Fleet]
QUESTION = SendNodeHeartbeatRequest(node=Node(node_id=1), heartbeat_interval=10)


@contextmanager
def nginx(found: Federation, *, upstream: int) -> Iterator[int]:
    """An nginx before a federation's server; the port that sites dial."""
    if (command := shutil.which("nginx") or shutil.which("/usr/sbin/nginx")) is None:
        if os.environ.get("CI"):
            pytest.fail("CI must have nginx: apt-get install nginx")
        pytest.skip("no nginx here: apt-get install nginx")
    port = free_port()
    path = write_proxy(found, listen=f"127.0.0.1:{port}", upstream=f"127.0.0.1:{upstream}", now=int(time.time()))
    running = subprocess.Popen([command, "-e", "stderr", "-g", "daemon off;", "-c", str(path)], stderr=subprocess.PIPE)
    try:
        until(lambda: answers(port), "nginx is up")
        yield port
    finally:
        running.terminate()
        running.communicate(timeout=60)
        shutil.rmtree(path.parent)


@pytest.fixture(scope="module")
def port(federation: LiveFederation) -> Iterator[int]:
    with nginx(load_federation(federation.federation), upstream=federation.port) as port:
        yield port


def until(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + 60.0
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.05)


def answers(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


@pytest.fixture
def guest(federation: LiveFederation, tmp_path: Path) -> Path:
    """A site on the roster that runs no agent."""
    now, folder = int(time.time()), tmp_path / "guest"
    request = join(invite(federation.federation, "proxied", now=now), folder, now=now)
    admit(federation.federation, request.read_bytes(), now=now)
    return folder


@pytest.fixture
def dial(federation: LiveFederation, port: int) -> Iterator[Dial]:
    lines: list[Fleet] = []

    def made(key: EllipticCurvePrivateKey, certificate: bytes | None) -> Fleet:
        ca = load_federation(federation.federation).trusted().encode()
        line = Fleet(host="127.0.0.1", port=port, ca_pem=ca, key=key, clock=time.time, certificate_pem=certificate)
        lines.append(line)
        return line

    yield made
    for line in lines:
        line.close()


def certificate(federation: Path, site: str = "proxied") -> bytes:
    public = load_federation(federation).coordinator_key.public_key()
    return read_admission(admission_path(federation, site).read_bytes(), coordinator_key=public).certificate.encode()


def refused(line: Fleet) -> str:
    """Why a call was not answered."""
    with pytest.raises(LinkError) as caught:
        line.call("SendNodeHeartbeat", QUESTION)
    return caught.value.what


def test_only_a_certificate_that_holds_is_passed_on(federation: LiveFederation, guest: Path, dial: Dial) -> None:
    folder, now = federation.federation, int(time.time())
    key, mine = load_enrolment(guest).transport_key, certificate(folder)
    authority, authority_key = load_authority(folder, now=now)
    stranger_key = make_transport_key()
    stranger = issue_authority(stranger_key, name="lungs", now=now)
    name = {"site": "proxied", "now": now - 7200}
    expired = certificate_pem(issue_site(authority, authority_key, key.public_key(), until=now - 60, **name))
    foreign = certificate_pem(issue_site(stranger, stranger_key, key.public_key(), until=now + 3600, **name))

    passed = dial(key, mine)
    with pytest.raises(Forgotten):  # the SuperLink's own word: no such session
        passed.call("SendNodeHeartbeat", QUESTION)
    with pytest.raises(LinkError, match="HTTP 404"):
        passed.call("RegisterNode", RegisterNodeFleetRequest(public_key=passed.public_key))
    for shown in (None, expired, foreign):
        assert "HTTP 400" in refused(dial(key, shown))

    revoke(folder, "proxied")
    assert refresh_proxy(load_federation(folder), now=now) is Told.HEARD
    federation.until(lambda: "HTTP 400" in refused(dial(key, mine)), "a revoked certificate is refused")


def test_a_site_is_cut_off_whichever_authority_certified_it(tmp_path: Path) -> None:
    """While one authority takes the other's place; nobody answers behind the nginx, which says 502 of who passes."""
    now = int(time.time())
    folder = create_federation(tmp_path / "f", name="f", host="127.0.0.1", fleet_port=9092, now=now).folder
    sites = ("north", "south", "west")
    for site in sites:
        admit(folder, join(invite(folder, site, now=now), tmp_path / site, now=now).read_bytes(), now=now)
    assert renew_authority(folder, now=now) is Step.COMING
    papers = {f"{site}, old": certificate(folder, site) for site in sites}
    assert renew_authority(folder, now=now, without=set(sites)) is Step.GOING
    papers |= {f"{site}, new": certificate(folder, site) for site in sites}

    def answered(paper: str, port: int) -> str:
        key, ca = load_enrolment(tmp_path / paper.partition(",")[0]).transport_key, load_federation(folder).trusted()
        line = Fleet(
            host="127.0.0.1", port=port, ca_pem=ca.encode(), key=key, clock=time.time, certificate_pem=papers[paper]
        )
        with closing(line):
            return refused(line).rstrip(".").rpartition(" ")[2]

    def only(passing: set[str], port: int) -> bool:
        return all(answered(paper, port) == ("502" if paper in passing else "400") for paper in papers)

    with nginx(load_federation(folder), upstream=free_port()) as port:
        until(lambda: only(set(papers), port), "all are let through")
        for gone, site in enumerate(sites[:2], start=1):
            revoke(folder, site)
            assert refresh_proxy(load_federation(folder), now=now) is Told.HEARD
            left = {paper for paper in papers if not paper.startswith(sites[:gone])}
            until(lambda left=left: only(left, port), f"{site} is cut off with both its certificates, and nobody else")
        assert renew_authority(folder, now=now, without=set(sites)) is Step.GONE
        assert refresh_proxy(load_federation(folder), now=now) is Told.HEARD
        until(lambda: only({"west, new"}, port), "the old authority is trusted no more")


def test_an_older_tls_is_refused(port: int) -> None:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    with socket.create_connection(("127.0.0.1", port)) as line, pytest.raises(ssl.SSLError, match=r"(?i)version"):
        context.wrap_socket(line)


@pytest.mark.slow
def test_a_site_trains_through_the_proxy(federation: LiveFederation, guest: Path, port: int, tmp_path: Path) -> None:
    found = load_federation(federation.federation)
    behind = replace(found, settings=found.settings.model_copy(update={"fleet_port": port}))
    admission = issue_admission(behind, found.roster.by_site("proxied"), now=int(time.time()))
    data = DataSettings(kind="npz", file=images(tmp_path / "proxied.npz", seed=5))
    write_settings(guest / "site.toml", SiteSettings(site=AboutSite(name="proxied"), data=data))
    taken = answer("site", "renew", admission, "--config", guest / "site.toml")
    assert (taken["site"], taken["port"]) == ("proxied", port)
    federation.start("proxied", ["site", "start", "--config", str(guest / "site.toml")])
    try:
        study = federation.launch("proxied", rounds=2, steps=2, quorum=4)
        federation.finished(study)
        assert all("proxied" in commit.counted for commit in federation.commits(study))
    finally:
        federation.stop("proxied")
        revoke(federation.federation, "proxied")


def test_a_process_that_has_the_number_of_an_ended_proxy_is_left_alone(tmp_path: Path) -> None:
    now = int(time.time())
    found = create_federation(tmp_path / "f", name="f", host="127.0.0.1", fleet_port=9092, now=now)
    assert refresh_proxy(found, now=now) is Told.NO_PROXY
    path = write_proxy(found, listen="127.0.0.1:9092", upstream="127.0.0.1:9093", now=now)
    assert refresh_proxy(found, now=now) is Told.NOT_FOUND
    bystander = subprocess.Popen(["sleep", "60"])
    try:
        (path.parent / "nginx.pid").write_text(f"{bystander.pid}\n")
        assert refresh_proxy(found, now=now) is Told.NOT_FOUND
        assert bystander.poll() is None
        assert "reload it yourself" in told_proxy(found.folder)
    finally:
        bystander.kill()
        bystander.wait()
