"""A site's own model: the one that the last round started from, moved by that site's update alone.

The arithmetic is the round's own, with one site and the plain step: the fold of one update, the server's
FedAvg at rate 1, so that BatchNorm's buffers are the site's. The same update gives the same bytes, however
often it is made. When it is made and whom it is sent to, `server/trips.py` decides.
"""

from collections.abc import Iterator
from pathlib import Path

from server.aggregate import fold
from server.desk import Desk
from server.growing import GrowingFile
from server.moments import Moments
from server.optimizers import FedAvg
from server.records import OwnModelMade
from server.rounding import without_rest
from shared.errors import StudyError
from shared.update import PackedFile, Piece, pack_pieces

_NO_MOMENTS = Moments(Path(), kinds=(), tensors=(), number=1)  # FedAvg remembers nothing


def make_own_model(desk: Desk, of: str, *, start: Path, target: Path) -> bool:
    """Write a site's own model and journal its digest; whether there is one.

    There is none if the site did not count in the last round, or with work that was late for its own.

    Args:
        desk: the study's parts; the spool still holds the last round's updates.
        of: the site.
        start: the model that the last round started from.
        target: where the model goes.

    Raises:
        StudyError: it comes out otherwise than it did before.
        ResourceError: the disk refused.
    """
    history = desk.journal.history
    update = history.last_counted.get(of)
    spooled = desk.spool.find(history.last_round, of, update.update_digest) if update else None
    if update is None or update.late_from is not None or spooled is None:
        return False
    digest, known = _write(desk, PackedFile(spooled), PackedFile(start), target), history.own_models.get(of)
    if known is None:
        desk.write(OwnModelMade(of=of, update_digest=update.update_digest, model_digest=digest))
    elif known != digest:
        raise StudyError(
            f"The own model of {of} is another one than before.",
            remedy="Restore the study's models and spool folders from backup.",
        )
    return True


def moved_by(update: PackedFile, start: PackedFile) -> Iterator[Piece]:
    """The model `start` after a round in which this update alone counted, piece by piece in packed order."""
    return without_rest(FedAvg().step(start, fold([(1, update)], start), _NO_MOMENTS), start)


def _write(desk: Desk, update: PackedFile, start: PackedFile, target: Path) -> str:
    with GrowingFile(target) as file:
        for chunk in pack_pieces(desk.tensors, moved_by(update, start)):
            file.write(chunk)
        file.finish()
        return file.digest
