"""A PACS by DIMSE: C-FIND finds (PS3.4 C.4.1), C-GET or C-MOVE retrieves instances of a series, some at a time.

Decides what is proposed and asked. Each encoding of an image is proposed by itself, so that a PACS sends what it
stored and decodes nothing. What comes is judged by `deliveries`.
"""

import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from pydicom.dataset import Dataset
from pydicom.uid import UID
from pynetdicom import AllStoragePresentationContexts, build_context, build_role, sop_class

from client.pacs.archive import Away, Intake
from client.pacs.caller import Caller, refused, status_of
from client.pacs.deliveries import Batch, Deliveries
from client.pacs.query import Keys, Level, Series
from client.pacs.settings import DimseSettings, PacsSettings
from client.pacs.tls import server_context
from shared.errors import LinkError, ResourceError

_FIND = sop_class.StudyRootQueryRetrieveInformationModelFind
_GET = sop_class.StudyRootQueryRetrieveInformationModelGet
_MOVE = sop_class.StudyRootQueryRetrieveInformationModelMove
_1_2 = "1.2.840.10008.1.2"
# Uncompressed, deflated, JPEG, JPEG-LS, JPEG 2000, HTJ2K, RLE (PS3.5 10).
_SYNTAXES = (
    *(_1_2, f"{_1_2}.1", f"{_1_2}.1.99", f"{_1_2}.2", f"{_1_2}.5"),
    *(f"{_1_2}.4.{number}" for number in (50, 51, 57, 70, 80, 81, 90, 91, 201, 202, 203)),
)
# CR, DX, MG, CT, MR, US, SC: proposed where a PACS does not say what its instances are. 128 contexts are the most.
_USUAL = tuple(f"1.2.840.10008.5.1.4.1.1.{tail}" for tail in ("1", "1.1", "1.2", "2", "4", "6.1", "7"))
_BATCH = 32  # instances of one request
_MOST_ANSWERS = 2_000_000
_ANSWER_BYTES = 1 << 20
_PENDING, _NO_DESTINATION = (0xFF00, 0xFF01), 0xA801


class Dimse:
    """A PACS that speaks DIMSE; several threads may use it.

    Args:
        settings: with `[data.pacs.dimse]`.
        base: the folder that relative paths count from.
        deliveries: what waits for instances.

    Raises:
        TrustError: a certificate cannot be used.
        ResourceError: the port for C-MOVE cannot be opened.
    """

    def __init__(self, settings: PacsSettings, base: Path, *, deliveries: Deliveries | None = None) -> None:
        assert settings.dimse is not None
        self._to: DimseSettings = settings.dimse
        self._deliveries = deliveries or Deliveries()
        self._caller = Caller(settings, base)
        self._server = self._listen(settings, base) if self._to.retrieve == "move" else None

    def find(self, level: Level, keys: Keys) -> Iterator[Keys]:
        """See `Archive.find`."""
        asked = _identifier(level, keys)
        answers = Deliveries(most_bytes=_ANSWER_BYTES).handlers()
        with self._caller.line([build_context(_FIND)], handlers=answers) as line:
            for number, (status, found) in enumerate(line.send_c_find(asked, _FIND)):
                if status_of(status) not in _PENDING:
                    if status_of(status) != 0:
                        raise refused(f"C-FIND failed with status {status_of(status):04X}")
                    return
                if number >= _MOST_ANSWERS:
                    raise LinkError("The PACS finds without an end.", remedy=f"Narrow the query; {number:,} were read.")
                if found is not None:
                    yield {key: _text(found, key) for key in keys}

    def fetch(self, series: Series, instances: Sequence[Keys], intake: Intake) -> None:
        """See `Archive.fetch`."""
        by_class = sorted(instances, key=_class_of)
        for kind, same in itertools.groupby(by_class, key=_class_of):
            uids = [instance["SOPInstanceUID"] for instance in same]
            for start in range(0, len(uids), _BATCH):
                self._batch(series, kind, uids[start : start + _BATCH], intake)

    def close(self) -> None:
        """See `Archive.close`."""
        if self._server is not None:
            self._server.shutdown()
        self._caller.close()

    def _batch(self, series: Series, kind: str, uids: list[str], intake: Intake) -> None:
        intake.turn()
        with self._deliveries.waiting(uids, intake) as batch:
            try:
                self._retrieve(series, kind, batch)
            except Away:
                if batch.error is None and not batch.overflowed:
                    raise
        if batch.overflowed and len(uids) > 1:
            for uid in sorted(batch.left):
                self._batch(series, kind, [uid], intake)
            return
        for uid in batch.left:
            intake.fail(uid, "too_large" if batch.overflowed else "not_sent")

    def _retrieve(self, series: Series, kind: str, batch: Batch) -> None:
        keys = {"StudyInstanceUID": series.exam, "SeriesInstanceUID": series.uid}
        asked = _identifier(Level.INSTANCE, keys)
        asked.SOPInstanceUID = sorted(batch.left)
        if self._server is not None:
            with self._caller.line([build_context(_MOVE)]) as line:
                _finish(line.send_c_move(asked, self._to.calling, _MOVE))
            return
        kinds = (kind,) if kind else _USUAL
        contexts = [build_context(_GET), *(build_context(one, syntax) for one in kinds for syntax in _SYNTAXES)]
        roles = [build_role(one, scp_role=True) for one in kinds]
        with self._caller.line(contexts, roles=roles, handlers=self._deliveries.handlers(batch)) as line:
            _finish(line.send_c_get(asked, _GET))

    def _listen(self, settings: PacsSettings, base: Path) -> Any:
        """The server to which the PACS moves what was asked for."""
        self._caller.entity.require_called_aet = True
        self._caller.entity.require_calling_aet = [self._to.called]
        contexts = [build_context(one.abstract_syntax, list(_SYNTAXES)) for one in AllStoragePresentationContexts]
        try:
            return self._caller.entity.start_server(
                (self._to.storage_host or "", self._to.storage_port or 0),
                block=False,
                ssl_context=server_context(settings, base) if self._to.tls else None,
                evt_handlers=self._deliveries.handlers(),
                contexts=contexts,
            )
        except OSError as error:
            raise ResourceError(
                f"storage_host and storage_port cannot be listened on ({error.strerror}).",
                remedy="Name an address of this machine and a port that is free in [data.pacs.dimse].",
            ) from None


def _identifier(level: Level, keys: Keys) -> Dataset:
    asked = Dataset()
    asked.QueryRetrieveLevel = level.value
    if not all(value.isascii() for value in keys.values()):
        asked.SpecificCharacterSet = "ISO_IR 192"
    for key, value in keys.items():
        setattr(asked, key, value)
    return asked


def _finish(answers: Iterator[tuple[Dataset, Dataset | None]]) -> None:
    """Hear a retrieval to its end; what did not come is known by its absence."""
    for status, _ in answers:
        if status_of(status) == _NO_DESTINATION:
            raise refused("it does not know where to move to")


def _class_of(instance: Keys) -> str:
    named = UID(instance.get("SOPClassUID", ""))
    return str(named) if named.is_valid and named else ""


def _text(found: Dataset, key: str) -> str:
    try:
        value = found.get(key)
    except Exception:  # pydicom says in many ways that it cannot read a value
        return ""
    return "" if value is None else str(value)[:1024]
