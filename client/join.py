"""Joining: how a site makes its keys, answers its invitation, and finds both again.

    keys/transport.pem   keys/identity.pem   invitation.json   SITE-request.json   admission.json   format.json

The keys are made here and never travel; the join request holds their public halves and goes back
to the coordinator. Joining again keeps the keys; a new invitation ends the admission that an older one
led to. What makes an invitation or a request sound is decided in `shared/enrolment.py`; site.toml is written elsewhere.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from client.about_site import about_site
from client.admission import FILE_NAME as ADMISSION
from client.admission import Reach, load_admission
from client.coordinators import FILE_NAME as MANDATES
from client.coordinators import Coordinators
from client.settings import FILE_NAME
from shared.admission import Admission
from shared.durable import fsync_folder, write_atomically
from shared.enrolment import Invitation, make_join_request, read_invitation
from shared.errors import ConfigError, TrustError
from shared.folder_format import insist_on_format, mark_folder
from shared.keys import (
    load_identity_key,
    load_transport_key,
    make_identity_key,
    make_transport_key,
    read_identity_hex,
    save_key,
    transport_pem,
)
from shared.signed_record import LARGEST_RECORD, insist_on_kind

Key = TypeVar("Key", EllipticCurvePrivateKey, Ed25519PrivateKey)


@dataclass(frozen=True)
class Enrolment:
    """What a site that has joined holds: its invitation, its two private keys, and the admission that it has taken."""

    invitation: Invitation
    transport_key: EllipticCurvePrivateKey = field(repr=False)
    identity_key: Ed25519PrivateKey = field(repr=False)
    admission: Admission | None = None
    coordinators: Coordinators = field(kw_only=True)

    @property
    def reach(self) -> Reach:
        """Where the federation is and whom to trust there."""
        return Reach.known(self.invitation, self.admission)


def join(invitation: Path, folder: Path, *, now: int) -> Path:
    """Make a site's keys and write the join request that goes back to the coordinator.

    Args:
        invitation: the coordinator's file.
        folder: the site's folder; made if it is not there.
        now: Unix seconds.

    Returns:
        The path of the join request.

    Raises:
        ConfigError: no invitation can be read there, or the folder is another site's or of newer software.
        ProtocolError: the invitation is of another format.
        TrustError: the invitation is damaged or has expired, a new one is not by who leads, or a key file is exposed.
    """
    data = _read(invitation)
    insist_on_kind(data, invitation, "invitation")
    invited = read_invitation(data)
    if now >= invited.expires:
        raise TrustError(
            f"The invitation of site {invited.site!r} has expired.", remedy="Ask the coordinator for a new invitation."
        )
    insist_on_format(folder)
    _refuse_other_site(folder, invited)
    known = (folder / "invitation.json").exists()
    for place in (folder, folder / "keys"):
        _make(place)
    if not known:
        mark_folder(folder)
    transport_key = _keep(folder / "keys" / "transport.pem", make_transport_key, load_transport_key)
    identity_key = _keep(folder / "keys" / "identity.pem", make_identity_key, load_identity_key)
    _keep_invitation(folder, data)
    request = folder / f"{invited.site}-request.json"  # told from other sites' where the coordinator has them all
    write_atomically(request, make_join_request(invited, transport_key=transport_key, identity_key=identity_key))
    return request


def load_enrolment(folder: Path) -> Enrolment:
    """Find what `join` left in a site's folder.

    Raises:
        ConfigError: the site has not joined, or the folder is of newer software.
        TrustError: the invitation is damaged, or a key file is exposed, missing or of another kind.
    """
    invitation = load_invitation(folder)
    transport_key = load_transport_key(folder / "keys" / "transport.pem")
    identity_key = load_identity_key(folder / "keys" / "identity.pem")
    admission = load_admission(folder, invitation, transport_key=transport_pem(transport_key.public_key()))
    return Enrolment(invitation, transport_key, identity_key, admission, coordinators=Coordinators(folder, invitation))


def load_invitation(folder: Path) -> Invitation:
    """The invitation in a site's folder, without its keys; raises as `load_enrolment`."""
    insist_on_format(folder)
    return read_invitation(_read(folder / "invitation.json"))


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(LARGEST_RECORD + 1)
    except OSError as error:
        raise ConfigError(
            f"There is no invitation to read at {path} ({error.strerror}).",
            remedy="Run `wardround site join` with the file that the coordinator sent.",
        ) from None


def _keep_invitation(folder: Path, data: bytes) -> None:
    """The newest invitation is in force until it has led to an admission: an older one goes before it is kept."""
    kept = folder / "invitation.json"
    if not kept.exists() or kept.read_bytes() != data:
        (folder / ADMISSION).unlink(missing_ok=True)
        fsync_folder(folder)
        write_atomically(kept, data, mode=0o600)


def _refuse_other_site(folder: Path, invited: Invitation) -> None:
    kept = folder / "invitation.json"
    if not kept.exists():
        return
    known = read_invitation(_read(kept))
    if (known.federation, known.site) != (invited.federation, invited.site):
        raise ConfigError(
            f"{folder} belongs to site {known.site!r} of federation {known.federation!r}.",
            remedy="Name a new folder; each site of each federation has its own keys.",
        )
    if invited != known:
        _insist_on_lead(Coordinators(folder, known), invited, folder / FILE_NAME)


def _insist_on_lead(coordinators: Coordinators, invited: Invitation, config: Path) -> None:
    """A new invitation names the address and its authority anew: whoever leads now may do that."""
    key = read_identity_hex(invited.coordinator_key)
    if key == coordinators.key:
        return
    if former := coordinators.gave_up(key):
        raise TrustError(
            f"The invitation is signed by {former}.", remedy="Ask the coordinator who leads now for a new invitation."
        )
    raise TrustError(
        "The invitation is signed by a coordinator whom this site does not know. Nothing was changed.",
        remedy="If the federation was handed over, have coordinators.signed sent and take it first, then join again:"
        f" `{about_site(config, 'renew', MANDATES)}`. Else call the coordinator by a number that you know.",
    )


def _make(folder: Path) -> None:
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except FileExistsError:
        raise ConfigError(
            f"{folder} is a file; a folder belongs there.", remedy="Move it away, or name another folder."
        ) from None


def _keep(path: Path, make: Callable[[], Key], load: Callable[[Path], Key]) -> Key:
    if not path.exists():
        save_key(path, make())
    return load(path)
