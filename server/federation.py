"""The federation folder: what lies where, how it is made, and what makes it sound.

    federation.toml   name, host, port         ca/      the authority's key and certificate
    roster.signed     the roster               server/  the TLS key and certificate
    coordinator.key   the identity key         salt     of the patient keys (hex)
    coordinators.signed   who has led, if it was ever more than one (`server/succession.py`)
    invitations/      one per site             format.json  what older software looks at first

The folders admissions/, studies/ and run/ belong to others.

The folder appears whole or not at all. Who is invited and admitted is decided in
`server/membership/enrolment.py`, which certificates there are in `server/membership/authority.py`.
"""

import contextlib
import re
import shutil
import tempfile
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from secrets import token_hex
from typing import Annotated, Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from pydantic import Field, ValidationError

from server.membership.authority import certificate_pem, issue_authority, issue_server
from server.succession import check_leads, load_succession
from shared.durable import fsync_folder, is_locked, rename_durably, try_lock, write_atomically
from shared.errors import ConfigError, ResourceError, TrustError
from shared.fields import Name
from shared.folder_format import insist_on_format, mark_folder
from shared.identity import Host, Port, Roster, read_roster, sign_roster
from shared.keys import (
    KeysInTurn,
    fingerprint,
    identity_hex,
    load_identity_key,
    make_identity_key,
    make_transport_key,
    save_key,
    write_key,
)
from shared.log_file import LogSettings
from shared.mandate import Succession
from shared.monitoring import MetricsSettings
from shared.section import Section, wrong_keys

_SETTINGS_TEXT = """\
# The federation, as made by `wardround federation init`.
name = "{name}"
host = "{host}"  # the name or address that sites dial; it stands in the server's certificate
fleet_port = {fleet_port}  # TCP, TLS only
"""


class ServerMetrics(MetricsSettings):
    """As a site's; `grpc_port` is where the SuperLink answers the standard health check of gRPC, 0 nowhere."""

    grpc_port: Annotated[int, Field(ge=0, le=65535)] = 0


class FederationSettings(Section):
    """What federation.toml says.

    With `proxied_port` the SuperLink listens there, on the loopback address, and a proxy on `fleet_port`.
    """

    name: Name
    host: Host
    fleet_port: Port
    proxied_port: Port | None = None
    metrics: ServerMetrics = ServerMetrics()
    log: LogSettings = LogSettings()


@dataclass(frozen=True)
class Federation:
    """A federation folder that was read and found sound."""

    folder: Path
    settings: FederationSettings
    roster: Roster
    coordinator_key: Ed25519PrivateKey = field(repr=False)
    patient_salt: str = field(repr=False)  # 32 bytes in hex
    succession: Succession | None = None

    @property
    def coordinator_keys(self) -> KeysInTurn:
        """The public keys that have spoken for the federation, the present one last."""
        return self.succession.keys() if self.succession else KeysInTurn((self.coordinator_key.public_key(),))

    @property
    def speakers(self) -> frozenset[str]:
        """The keys (hex) of all who coordinate or have led."""
        named = (*self.succession.leads, *self.succession.newest.coordinators) if self.succession else ()
        return frozenset((self.roster.coordinator_key, *(one.key for one in named)))

    @property
    def ca_certificate(self) -> Path:
        """PEM certificate of the authority that issues."""
        return self.folder / "ca" / "certificate.pem"

    def trusted(self) -> str:
        """The authorities that sites trust, PEM: the one that issues, and one that is coming or going."""
        others = (self.folder / "ca" / "next" / "certificate.pem", self.folder / "ca" / "old.pem")
        known = dict.fromkeys(path.read_text() for path in (self.ca_certificate, *others) if path.is_file())
        return "".join(known)

    @property
    def server_certificate(self) -> Path:
        """PEM certificate that the server shows."""
        return self.folder / "server" / "certificate.pem"

    @property
    def server_key(self) -> Path:
        """PEM key of that certificate."""
        return self.folder / "server" / "key.pem"

    def fingerprint(self) -> str:
        """The coordinator's key in a form that a site can compare with its invitation."""
        return fingerprint(self.roster.coordinator_key)


class LiveRoster:
    """The roster as it lies on the disk now: a site that is removed is off it at the next look.

    A file that is not sound, or older than one that was read, changes nothing; the supervisor says so.
    """

    def __init__(self, federation: Federation) -> None:
        self._path = federation.folder / "roster.signed"
        self._key = federation.coordinator_key.public_key()
        self._roster = federation.roster
        self._read_at = -1

    def __call__(self) -> Roster:
        """The newest sound roster; read again when its file has changed."""
        changed = self._path.stat().st_mtime_ns
        if changed != self._read_at:
            seen = self._roster.version
            with contextlib.suppress(TrustError):
                self._roster = read_roster(_bytes(self._path), coordinator_key=self._key, at_least=seen)
            self._read_at = changed
        return self._roster


def create_federation(folder: Path, *, name: str, host: str, fleet_port: int, now: int) -> Federation:
    """Make a federation: authority, server certificate, coordinator key, salt, empty roster.

    Args:
        folder: where; it must not exist, or be empty.
        name: the federation's name, a-z, 0-9 and hyphens.
        host: host name or IP address that sites will dial.
        fleet_port: TCP port that sites will dial.
        now: Unix seconds.

    Raises:
        ConfigError: an argument is not allowed, or the folder is not empty.
        ResourceError: the disk refused; nothing is left behind.
    """
    settings = _settings({"name": name, "host": host, "fleet_port": fleet_port})
    folder = folder.absolute()
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ConfigError(f"{folder} already exists and is not empty.", remedy="Name a new folder for the federation.")
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        _build(folder, settings, now=now)
    except OSError as error:
        raise ResourceError(
            f"The federation folder cannot be made ({error.strerror}).", remedy="Name a folder on a disk you can write."
        ) from None
    return load_federation(folder)


def set_proxied_port(federation: Federation, port: int) -> None:
    """Write into federation.toml that the SuperLink stands behind a proxy.

    Raises:
        ConfigError: the port is the one that sites dial.
    """
    settings = federation.settings
    if port == settings.fleet_port:
        raise ConfigError(
            f"Port {port} is the one that sites dial, where the proxy listens.", remedy="Name another one by --behind."
        )
    file = federation.folder / "federation.toml"
    lines = [line for line in _text(file).splitlines() if not line.startswith("proxied_port")]
    place = next(n for n, line in enumerate(lines) if line.startswith("fleet_port")) + 1
    lines.insert(place, f"proxied_port = {port}  # of the server behind the proxy")
    write_atomically(file, "\n".join([*lines, ""]).encode())


def load_federation(folder: Path, *, at_least: int = 1) -> Federation:
    """Read a federation folder.

    Args:
        folder: where it lies.
        at_least: the highest version of the roster that the caller has seen.

    Raises:
        ConfigError: it is not a federation folder, or of newer software, or federation.toml is wrong.
        TrustError: a key is exposed or missing, the roster is not signed by the coordinator, or it is older.
    """
    insist_on_format(folder)
    settings = _parse_settings(_text(folder / "federation.toml"))
    key = load_identity_key(folder / "coordinator.key", role="coordinator's key")
    succession = load_succession(folder, federation=settings.name)
    check_leads(succession, key.public_key())
    roster = read_roster(_bytes(folder / "roster.signed"), coordinator_key=key.public_key(), at_least=at_least)
    if roster.federation != settings.name:
        raise TrustError(
            f"The roster is of federation {roster.federation!r}; federation.toml says {settings.name!r}.",
            remedy="A federation keeps its name; put the old one back.",
        )
    return Federation(folder, settings, roster, key, _salt(folder / "salt"), succession)


def roster_by(folder: Path, keys: KeysInTurn) -> Roster:
    """The roster in a folder, signed by the newest of these keys that signed it: the present, or a former lead's.

    Raises:
        TrustError: none of them did.
    """
    data = _bytes(folder / "roster.signed")
    for key in reversed(keys.keys[1:]):
        with contextlib.suppress(TrustError):
            return read_roster(data, coordinator_key=key)
    return read_roster(data, coordinator_key=keys.keys[0])


def _salt(path: Path) -> str:
    salt = _text(path).strip()
    if not re.fullmatch("[0-9a-f]{64}", salt):
        raise ConfigError(
            "The file salt of the federation is damaged.",
            remedy="Restore it from your backup: without it no site finds the same test patients again.",
        )
    return salt


def _build(folder: Path, settings: FederationSettings, *, now: int) -> None:
    building = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", suffix=".part", dir=folder.parent))
    try:
        _fill(building, settings, now=now)
        rename_durably(building, folder)
    except BaseException:
        shutil.rmtree(building, ignore_errors=True)
        raise


def _fill(folder: Path, settings: FederationSettings, *, now: int) -> None:
    write_atomically(folder / "federation.toml", _SETTINGS_TEXT.format(**settings.model_dump()).encode())
    mark_folder(folder)
    for name in ("ca", "server", "invitations", "studies", "run"):
        (folder / name).mkdir(mode=0o700)
    authority_key, server_key, coordinator_key = make_transport_key(), make_transport_key(), make_identity_key()
    authority = issue_authority(authority_key, name=settings.name, now=now)
    server = issue_server(authority, authority_key, server_key.public_key(), host=settings.host, now=now)
    save_key(folder / "ca" / "key.pem", authority_key)
    write_atomically(folder / "ca" / "certificate.pem", certificate_pem(authority))
    write_key(folder / "server" / "key.pem", server_key, passphrase=None)  # Flower reads it, and asks for none
    write_atomically(folder / "server" / "certificate.pem", certificate_pem(server))
    save_key(folder / "coordinator.key", coordinator_key)
    write_atomically(folder / "salt", token_hex(32).encode(), mode=0o600)
    roster = Roster(federation=settings.name, coordinator_key=identity_hex(coordinator_key.public_key()), version=1)
    write_atomically(folder / "roster.signed", sign_roster(roster, key=coordinator_key))
    fsync_folder(folder)


def _parse_settings(text: str) -> FederationSettings:
    try:
        return _settings(tomllib.loads(text))
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"federation.toml is not valid TOML: {error}", remedy="Correct the line named.") from None


def _settings(values: dict[str, Any]) -> FederationSettings:
    try:
        return FederationSettings.model_validate(values)
    except ValidationError as error:
        what = wrong_keys("federation", FederationSettings, error)
        raise ConfigError(what, remedy="Correct the keys named.") from None


def existing_federation(folder: Path) -> Path:
    """The folder itself, if it is a federation folder.

    Raises:
        ConfigError: it is not, or it is of newer software.
    """
    if not (folder / "federation.toml").is_file():
        raise ConfigError(
            f"{'This folder' if folder == Path() else folder} is not a federation folder.",
            remedy="Make one with `wardround federation init`, or name another (for `study` with --federation).",
        )
    insist_on_format(folder)
    return folder


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        existing_federation(path.parent)
        raise ConfigError(
            f"{path.name} of the federation cannot be read ({error.strerror}).", remedy="Restore it from your backup."
        ) from None


def _text(path: Path) -> str:
    try:
        return _bytes(path).decode()
    except UnicodeDecodeError:
        raise ConfigError(
            f"{path.name} of the federation is not text.", remedy="Restore it from your backup."
        ) from None


def listen_address(host: str) -> str:
    """Where to listen for sites that dial `host`: everywhere, except for a federation on this machine alone."""
    return host if host in ("127.0.0.1", "::1") else "0.0.0.0"  # noqa: S104  (sites dial in; TLS and node keys guard)


def serving_lock(folder: Path) -> Path:
    """The file whose lock `federation serve` holds as long as it lives; its folder `run` is made by who takes it."""
    return folder / "run" / "serve.lock"


def is_served(folder: Path) -> bool:
    """Whether `federation serve` runs on this folder now."""
    return is_locked(serving_lock(folder))


@contextlib.contextmanager
def unserved(folder: Path, why: str) -> Iterator[None]:
    """Nobody serves the federation meanwhile; taken inside the folder's lock, `why` being how the refusal goes on.

    Raises:
        ResourceError: it is served.
    """
    path = serving_lock(folder)
    path.parent.mkdir(mode=0o700, exist_ok=True)
    if (lock := try_lock(path)) is None:
        remedy = "Stop `wardround federation serve`, try again, and serve anew: studies go on where they were."
        raise ResourceError(f"The federation is served, {why}.", remedy=remedy)
    with lock:
        yield
