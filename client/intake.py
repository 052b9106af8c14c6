"""What comes in: envelopes are opened, models are fetched and checked, before anything acts on them.

Rules, in order:

1. The envelope is signed by the coordinator, for this site.
2. It speaks our protocol.
3. Its epoch is not lower than the highest seen in this study.
4. It tells of no more lost ends of ledgers than the site can write into one entry of its own.
5. A study that is open here changes by the coordinator's signed amendments alone.
6. Work is of the study as it is open here and of an agreed round, and this site counted in an earlier one if at all.
7. A model's bytes have the announced size and SHA-256.
8. A model has exactly the agreed tensors, all finite.
9. A frozen backbone's bytes have the SHA-256 that the study pins, and its tensors are all finite.
"""

from pathlib import Path

import numpy as np

from client.study_store import StudyRecord
from shared.address import Stage
from shared.amendment import trail
from shared.envelope import open_envelope
from shared.errors import ConfigError, ProtocolError, Refusal, TrustError, WireCode
from shared.heads import MOST_TOLD
from shared.identity import COORDINATOR
from shared.keys import VerifyKey
from shared.study import Study
from shared.update import PackedFile, Tensors
from shared.wire import Close, FromServer, Message, Open, Work, decode_to_site, to_site


def open_message(envelope: bytes, *, site: str, coordinator: VerifyKey) -> FromServer:
    """Rules 1 and 2.

    Raises:
        TrustError: not from the coordinator, not for this site, or not a message.
        ProtocolError: another protocol number.
    """
    return decode_to_site(open_envelope(envelope, keys={COORDINATOR: coordinator}, purpose=to_site(site)).body)


def check_epoch(record: StudyRecord | None, message: FromServer) -> None:
    """Rule 3: a replaced owner of the study is not obeyed.

    Raises:
        Refusal: `STALE_EPOCH`.
    """
    if record is not None and message.address.epoch < record.epoch:
        raise Refusal(WireCode.STALE_EPOCH)


def check_amended(record: StudyRecord | None, message: Open, *, coordinator: VerifyKey) -> None:
    """Rule 5; what an amendment may change and how it is traced back, `shared/amendment.py` says.

    Raises:
        Refusal: `CONTRACT`.
    """
    try:
        digests = trail(message.study, message.amendments, coordinator=coordinator)
    except (TrustError, ProtocolError, ConfigError) as error:
        raise Refusal(WireCode.CONTRACT, remedy=error.what) from None
    if record is not None and record.purged:
        raise Refusal(WireCode.STATE_LOST, remedy="It was purged here; it is to be launched by another name.")
    if record is not None and not record.closed and record.open.study.digest() not in digests:
        raise Refusal(WireCode.CONTRACT, remedy="The study is another one than this site agreed to.")


def check_told(message: FromServer) -> None:
    """Rule 4.

    Raises:
        Refusal: `CONTRACT`.
    """
    held = message.heads if isinstance(message, Work | Close) else None
    if held is not None and len(held.lost) > MOST_TOLD:
        said = (
            f"It tells that more than {MOST_TOLD} sites have lost the end of their ledger. Show it to the coordinator."
        )
        raise Refusal(WireCode.CONTRACT, remedy=said)


def check_agreed(record: StudyRecord, message: FromServer, *, site: str) -> None:
    """Rule 6, for work; a study that was amended meanwhile has to be opened anew.

    Raises:
        Refusal: `UNKNOWN_STUDY`, `CONTRACT`.
    """
    if not isinstance(message, Work):
        return
    if message.study_digest != record.open.study.digest():
        raise Refusal(WireCode.UNKNOWN_STUDY)
    if not record.contract(site).allows(message.address.stage, message.address.round):
        raise Refusal(WireCode.CONTRACT, remedy="The study asks for more rounds than were agreed.")
    if message.counted_round >= message.address.round:
        raise Refusal(WireCode.CONTRACT, remedy="The work names a round that is not over as one in which it counted.")


def check_model(path: Path, *, found: str, digest: str, tensors: Tensors) -> None:
    """Rules 7 and 8; one run of a tensor in memory at a time.

    Args:
        path: the model as it arrived.
        found: SHA-256 (hex) of the bytes that were written there.
        digest: the announced one.
        tensors: the agreed table.

    Raises:
        Refusal: `MODEL_UNSOUND`.
    """
    try:
        packed = PackedFile(path)
        sound = found == digest and packed.table() == tensors and _finite(packed)
    except (TrustError, ValueError, OSError):
        sound = False
    if not sound:
        raise Refusal(WireCode.MODEL_UNSOUND)


def check_backbone(path: Path, *, found: str, digest: str) -> None:
    """Rule 9; the arguments are `check_model`'s, and so is the refusal. Its tensors are the worker's to compare."""
    try:
        sound = found == digest and _finite(PackedFile(path))
    except (TrustError, ValueError, OSError):
        sound = False
    if not sound:
        raise Refusal(WireCode.MODEL_UNSOUND)


def outdates(new: Work, old: Message) -> bool:
    """Whether new work leaves nobody to wait for the old: a lower round, or a replaced owner's model."""
    if not isinstance(old, Work) or old.address.study != new.address.study:
        return False
    replaced = old.address.epoch < new.address.epoch and old.model_digest != new.model_digest
    return old.address.round < new.address.round or replaced


def late_rounds(message: Work, study: Study) -> range:
    """The rounds of which this site's work, if it has any, answers this message in the place of new work.

    They are those since the site last counted or was refused, up to the last that closed without it: it may
    have finished work for one of them and never have heard of those that came after.
    """
    if study.rounds.late == "drop" or message.address.stage is not Stage.TRAIN:
        return range(0)
    told = [receipt for receipt in message.receipts if receipt.study == study.name]
    late = (receipt.round for receipt in told if receipt.outcome == "late")
    settled = (receipt.round for receipt in told if receipt.outcome == "refused")
    return range(max(message.counted_round, *settled, 0) + 1, max(late, default=0) + 1)


def _finite(packed: PackedFile) -> bool:
    return all(piece.values.dtype.kind != "f" or np.isfinite(piece.values).all() for piece in packed.pieces())
