"""A real SuperLink with TLS on loopback ports, keys, and a `Puppet` for the ServerApp's side."""

import datetime
import hashlib
import ipaddress
import json
import os
import socket
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from cryptography.x509.oid import NameOID

from client.link import Link
from server.engine.superlink import SuperLink
from shared.loopback import free_port

DAY = datetime.timedelta(days=1)


TESTS = Path(__file__).parent
PATHS = os.pathsep.join([str(TESTS.parent), str(TESTS)])  # ours first: there are folders of the same names in the tests


def new_key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP384R1())


def public_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def private_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def issue(folder: Path, *, ends: datetime.timedelta = DAY, name: str = "localhost", loopback: bool = True) -> Path:
    """Write ca.pem, server.pem and server.key of a new CA into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    now, ca_key, key = datetime.datetime.now(datetime.UTC), new_key(), new_key()
    issuer = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"test CA {os.urandom(4).hex()}")])
    names: list[x509.GeneralName] = [x509.DNSName(name)]
    if loopback:
        names.append(x509.IPAddress(ipaddress.ip_address("127.0.0.1")))

    def certificate(subject: x509.Name, public: Any, extension: Any) -> x509.Certificate:
        builder = x509.CertificateBuilder(issuer, subject, public, x509.random_serial_number())
        builder = builder.not_valid_before(now - 9 * DAY).not_valid_after(now + ends)
        return builder.add_extension(extension, critical=True).sign(ca_key, hashes.SHA256())

    ca = certificate(issuer, ca_key.public_key(), x509.BasicConstraints(ca=True, path_length=None))
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "server")])
    server = certificate(subject, key.public_key(), x509.SubjectAlternativeName(names))
    (folder / "ca.pem").write_bytes(ca.public_bytes(Encoding.PEM))
    (folder / "server.pem").write_bytes(server.public_bytes(Encoding.PEM))
    (folder / "server.key").write_bytes(private_pem(key))
    return folder


@dataclass(frozen=True)
class Out:
    """What egress would release."""

    envelope: bytes
    payload: Path | None = None

    @property
    def payload_sha256(self) -> str | None:
        return hashlib.sha256(self.payload.read_bytes()).hexdigest() if self.payload else None


class Puppet:
    """The far end of `flower_puppet`: its methods, called from the test."""

    def __init__(self, line: socket.socket) -> None:
        self._line, self._answers = line, line.makefile("r")
        self._arrived: list[dict] = []

    def __getattr__(self, name: str) -> Any:
        def call(*arguments: Any) -> Any:
            self._line.sendall(json.dumps([name, *arguments]).encode() + b"\n")
            answer = json.loads(self._answers.readline())
            return answer.get("value", answer)

        return call

    def await_reply(self, *, patience_s: float = 60.0) -> dict:
        deadline = time.monotonic() + patience_s
        while time.monotonic() < deadline:
            self._arrived += self.poll()
            if self._arrived:
                return self._arrived.pop(0)
            time.sleep(0.02)
        raise AssertionError("no reply")

    def close(self) -> None:
        self._answers.close()
        self._line.close()


class Lab:
    """One federation server and any number of sites in a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.port, self._open = issue(folder), free_port(), []
        self.superlink = SuperLink(
            run=folder / "run",
            host="127.0.0.1",
            port=self.port,
            certificate=folder / "server.pem",
            key=folder / "server.key",
            ca=folder / "ca.pem",
            environment={"PYTHONPATH": PATHS},
        )
        self.superlink.start(patience_s=180.0)  # on a machine that does much else
        self.ca_pem = (folder / "ca.pem").read_bytes()

    def key(self, name: str) -> ec.EllipticCurvePrivateKey:
        """A new transport key that the server admits."""
        key = new_key()
        self.superlink.register(public_pem(key), name)
        return key

    def visited(self, name: str, folder: Path) -> ec.EllipticCurvePrivateKey:
        """As `key`, of a site that was here once: Flower keeps no message for one that never was."""
        key = self.key(name)
        link = self.link(key, folder)
        link.connect()
        link.close()
        return key

    def link(self, key: ec.EllipticCurvePrivateKey, folder: Path, **options: Any) -> Link:
        where = {"host": "127.0.0.1", "port": self.port, "ca_pem": self.ca_pem}
        link = Link(key=key, folder=folder, **(where | options))
        self._open.append(link)
        return link

    def puppet(self, keys: dict[str, ec.EllipticCurvePrivateKey]) -> Puppet:
        """Start a run whose ServerApp obeys the returned object."""
        path = (
            Path(tempfile.gettempdir()) / f"wardround-{os.getpid()}-{os.urandom(4).hex()}"
        )  # a socket's path is short
        with socket.socket(socket.AF_UNIX) as door:
            door.bind(str(path))
            door.listen()
            door.settimeout(60)
            nodes = {name: self.superlink.register(public_pem(key), name) for name, key in keys.items()}
            self.superlink.start_run({"socket": str(path), "nodes": json.dumps(nodes)}, serverapp="flower_puppet:app")
            try:
                line, _ = door.accept()
            finally:
                path.unlink()
        line.settimeout(120)
        puppet = Puppet(line)
        self._open.append(puppet)
        return puppet

    def close(self) -> None:
        for item in self._open:
            item.close()
        self.superlink.stop()


def random_file(path: Path, size: int) -> Path:
    path.write_bytes(os.urandom(size))
    return path


def pull(link: Link, *, patience_s: float = 30.0) -> Any:
    """The next parcel, waited for."""
    deadline = time.monotonic() + patience_s
    while time.monotonic() < deadline:
        if (parcel := link.pull()) is not None:
            return parcel
        time.sleep(0.02)
    raise AssertionError("no message")
