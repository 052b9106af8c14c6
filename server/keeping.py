"""Updates that are kept after their round, so that an auditor can make each model again from them.

Only where the study says so (`rounds.keep_updates`): without it the server forgets an update when its round is
committed. Kept is what counted, under the name that the spool gave it, with the site and the digest:

    STUDY/updates/round-00001/SITE.DIGEST.safetensors

It is a second name of the spooled file, a copy only where the disk knows no hard links, and is there before the round
is in the journal.
"""

import shutil
from collections.abc import Iterable
from pathlib import Path

from server.claim import Admitted
from server.growing import disk_refused
from shared.durable import fsync_folder, name_again

UPDATES = "updates"


def keep_updates(study: Path, number: int, updates: Iterable[Admitted]) -> None:
    """Keep the updates of one round in a study's folder, in the place of any kept for it before.

    Raises:
        ResourceError: the disk refused.
    """
    folder = study / UPDATES / f"round-{number:05d}"
    try:
        shutil.rmtree(folder, ignore_errors=True)  # of an attempt that was not committed
        folder.mkdir(parents=True)
        for update in updates:
            name_again(update.packed.path, folder / update.packed.path.name)
        for place in (folder, folder.parent, study):
            fsync_folder(place)
    except OSError as error:
        raise disk_refused(error) from None
