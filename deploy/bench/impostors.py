"""Servers that are none of the federation's: a site that is led to one says why it does not speak to it.

Each stands on a port of its own with a certificate that it should not have, and a line like a site's dials it.
"""

import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import grpc
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from flwr.proto.fleet_pb2 import PullMessagesRequest

from client.line.fleet import Fleet
from deploy.bench.intruder_ground import INSIDER, GotIn, Ground
from server.membership.admissions import admission_path
from server.membership.authority import SERVER_DAYS, certificate_pem, issue_authority, issue_server
from server.membership.authority_files import load_authority
from shared.admission import read_admission
from shared.errors import LinkError
from shared.keys import make_transport_key, write_key
from shared.loopback import free_port

DAY_S = 86_400
HOST = "127.0.0.1"


def without_tls(ground: Ground) -> str:
    """Answer in plaintext."""
    with _standing(None) as port:
        return _dialled(ground, port)


def another_authority(ground: Ground) -> str:
    """Show a certificate of one's own authority."""
    key = make_transport_key()
    authority = issue_authority(key, name="demo", now=_now())
    issued = issue_server(authority, key, key.public_key(), host=HOST, now=_now())
    return _shown(ground, certificate_pem(issued), key)


def expired(ground: Ground) -> str:
    """Show a certificate of the federation's that has ended, with its key."""
    return _issued(ground, host=HOST, now=_now() - (SERVER_DAYS + 1) * DAY_S)


def not_yet(ground: Ground) -> str:
    """Show one that does not hold yet."""
    return _issued(ground, host=HOST, now=_now() + DAY_S)


def a_sites_certificate(ground: Ground) -> str:
    """Show, as a site of the roster, the certificate by which the federation knows oneself."""
    said = read_admission(admission_path(ground.federation, INSIDER).read_bytes(), coordinator_key=ground.coordinator())
    return _shown(ground, said.certificate.encode(), ground.enrolment().transport_key)


def _issued(ground: Ground, *, host: str, now: int) -> str:
    key, (authority, authority_key) = make_transport_key(), load_authority(ground.federation, now=_now())
    issued = issue_server(authority, authority_key, key.public_key(), host=host, now=now)
    return _shown(ground, certificate_pem(issued), key)


def _shown(ground: Ground, certificate: bytes, key: EllipticCurvePrivateKey) -> str:
    """A server with this certificate and key; what a site says of it."""
    file = ground.scratch / "impostor.pem"
    file.unlink(missing_ok=True)
    write_key(file, key, passphrase=None)
    with _standing(grpc.ssl_server_credentials([(file.read_bytes(), certificate)])) as port:
        return _dialled(ground, port)


@contextmanager
def _standing(credentials: grpc.ServerCredentials | None) -> Iterator[int]:
    port = free_port()
    server = grpc.server(ThreadPoolExecutor(max_workers=1))
    place = f"{HOST}:{port}"
    server.add_secure_port(place, credentials) if credentials else server.add_insecure_port(place)
    server.start()
    try:
        yield port
    finally:
        server.stop(None).wait()


def _dialled(ground: Ground, port: int) -> str:
    fleet = Fleet(host=HOST, port=port, ca_pem=ground.ca_pem, key=make_transport_key(), clock=time.time)
    try:
        fleet.call("PullMessages", PullMessagesRequest())
    except LinkError as error:
        if "certificate" in error.what or "TLS" in error.what:
            return error.what
        raise GotIn(f"the site spoke to it: {error.what}") from None
    finally:
        fleet.close()
    raise GotIn("the site spoke to it")


def _now() -> int:
    return int(time.time())


IMPOSTORS: Mapping[str, Callable[[Ground], str]] = {
    "a server without TLS": without_tls,
    "a server of another authority": another_authority,
    "a server with an expired certificate": expired,
    "a server whose certificate begins tomorrow": not_yet,
    "a site's certificate for a server's": a_sites_certificate,
}
