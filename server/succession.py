"""The federation's mandates on the disk: who leads, and whether the key that lies here is the lead's.

    coordinators.signed   the succession (`shared/mandate.py`); absent while the founder is alone
    hand-over.json        a mandate that the lead has signed and the one to come has not accepted yet

Who may be named, and how the lead changes hands, is decided in `server/coordinators.py`.
"""

from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from shared.errors import ConfigError, TrustError
from shared.keys import identity_hex
from shared.mandate import LARGEST, Succession, read_succession


def succession_path(folder: Path) -> Path:
    """Where the mandates lie."""
    return folder / "coordinators.signed"


def offer_path(folder: Path) -> Path:
    """Where an offer lies that nobody has accepted yet."""
    return folder / "hand-over.json"


def load_succession(folder: Path, *, federation: str) -> Succession | None:
    """The mandates of a federation folder, checked; None if there are none.

    Raises:
        ConfigError: the file cannot be read.
        TrustError: it is not sound, or of another federation.
    """
    path = succession_path(folder)
    try:
        with path.open("rb") as file:
            found = read_succession(file.read(LARGEST + 1))
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ConfigError(f"{path} cannot be read ({error.strerror}).", remedy="Restore it from your backup.") from None
    if found.newest.federation != federation:
        raise TrustError(
            f"{path.name} is of federation {found.newest.federation!r}.", remedy="Restore it from your backup."
        )
    return found


def check_leads(succession: Succession | None, key: Ed25519PublicKey) -> None:
    """Whether the key in the folder is the lead's.

    Raises:
        TrustError: it is a key that has given up the lead, or nobody's; nothing is signed with it.
    """
    if succession is None or identity_hex(key) == succession.newest.leader().key:
        return
    lead = succession.newest.lead
    if former := succession.gave_up(key):
        raise TrustError(
            f"The key is of {former}, and signs nothing any more: {lead} leads.",
            remedy=f"Put {lead}'s key back as coordinator.key, or have {lead} finish the take-over.",
        )
    raise TrustError(
        f"coordinator.key is not the key of {lead}, who leads.", remedy="Restore it, or the folder, from your backup."
    )
