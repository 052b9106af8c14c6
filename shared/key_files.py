"""Key files under another passphrase, or under none: all of a folder, or none of them."""

import os
from collections.abc import Sequence
from pathlib import Path

from shared.console import Answer
from shared.durable import fsync_folder, locked
from shared.errors import ConfigError
from shared.keys import load_key, write_key
from shared.passphrase import FILE_VARIABLE, given_passphrase, read_passphrase


def rekey(folder: Path, names: Sequence[str], *, passphrase: str | None) -> tuple[str, ...]:
    """Write keys anew under a passphrase; they are read under the one that is given now.

    Args:
        folder: whose files they are.
        names: paths in it; one that is not there is passed over.
        passphrase: the new one; None leaves them unencrypted. A key that lies under it already, because the
            same was cut short before, is taken, too.

    Returns:
        The names that were written.

    Raises:
        TrustError: a key cannot be read; no file was changed.
    """
    with locked(folder):
        found = [name for name in names if (folder / name).is_file()]
        keys = {name: load_key(folder / name, f"key {name}", or_under=passphrase) for name in found}
        parts = {name: folder / f"{name}.part" for name in found}
        try:
            for name, key in keys.items():
                write_key(parts[name], key, passphrase=passphrase)
            for name, part in parts.items():
                os.replace(part, folder / name)
        finally:
            for part in parts.values():
                part.unlink(missing_ok=True)
        for parent in {(folder / name).parent for name in found}:
            fsync_folder(parent)
        return tuple(found)


def rekeyed(folder: Path, names: Sequence[str], *, new: Path | None, remove: bool) -> Answer:
    """What `passphrase` commands do and say; arguments and errors as of `rekey` and `asked_passphrase`."""
    wanted = asked_passphrase(new, remove=remove)
    written = rekey(folder, names, passphrase=wanted)
    how = "unencrypted" if wanted is None else "encrypted"
    return Answer({"keys": list(written), "encrypted": wanted is not None}, f"{', '.join(written)}: {how}.")


def asked_passphrase(new: Path | None, *, remove: bool) -> str | None:
    """The passphrase that keys are to lie under: that of a file, none, or the one that is given.

    Raises:
        ConfigError: both are asked for, there is none, or the file cannot be read.
        TrustError: the file is open to others.
    """
    if new is not None and remove:
        raise ConfigError("A new passphrase or none: not both.", remedy="Give --new or --remove.")
    if remove:
        return None
    passphrase = given_passphrase() if new is None else read_passphrase(new)
    if passphrase is None:
        raise ConfigError(
            "No passphrase is given.",
            remedy=f"Name a file that holds one by --new, and by {FILE_VARIABLE} from then on.",
        )
    return passphrase
