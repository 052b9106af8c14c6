"""No error of a site carries a patient's name out: whatever goes wrong, only codes and fixed words leave.

The name is planted wherever a hospital might have it: in the path of the images, as patient
identifier, in labels, and in the text of every exception. Then all that was handed to the line and
all that was written to the ledger is searched for it.
"""

import errno
import io
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from lone_site import START, LoneSite, a_study
from lone_site import TENSORS as FOREIGN_TENSORS

from client.jobs import Failed
from client.software import installed
from client.work.failure import code_of
from client.worker import do_job
from client.worker_process import WorkerProcess
from server.launch import start_state
from shared.canonical import digest
from shared.errors import (
    ConfigError,
    DiskFull,
    LinkError,
    ProtocolError,
    Refusal,
    ResourceError,
    StaleEpoch,
    StudyError,
    TrustError,
    WireCode,
)
from shared.update import pack, table_of

NAME = "Mustermann"
PATIENT = f"Erika {NAME}, born 1964-08-12"
STUDY = a_study(model={"name": "basic_cnn", "width": 8, "norm": "none"})
ROOT_ERRORS = (ConfigError, TrustError, ProtocolError, LinkError, StudyError, StaleEpoch, ResourceError, DiskFull)
ERRORS: list[Exception] = [
    ValueError(f"Patient {PATIENT}"),
    KeyError(PATIENT),
    UnicodeDecodeError("ascii", PATIENT.encode(), 0, 1, PATIENT),
    FileNotFoundError(errno.ENOENT, PATIENT, f"/images/{PATIENT}.dcm"),
    PermissionError(errno.EACCES, PATIENT),
    OSError(errno.ENOSPC, PATIENT, f"/cache/{PATIENT}"),
    OSError(errno.EDQUOT, PATIENT),
    MemoryError(PATIENT),
    RuntimeError(f"CUDA error while reading {PATIENT}"),
    type("OutOfMemoryError", (RuntimeError,), {})(PATIENT),
    *(error(PATIENT, remedy=PATIENT) for error in ROOT_ERRORS),
    *(Refusal(code, remedy=PATIENT) for code in WireCode),
]


class Broken:
    """A workbench on which every job fails with one error."""

    def __init__(self, error: Exception) -> None:
        self._error = error

    def round(self, job: Any, *, on_step: Callable[[int, int | None], None]) -> Any:
        raise self._error

    def open(self, job: Any) -> Any:
        raise self._error


def clean(site: LoneSite) -> None:
    """Nothing that left, and nothing that was written down to be shown, holds the name."""
    left = b"".join(envelope + (payload or b"") for _, envelope, payload in site.line.sent)
    assert len(site.line.sent) > 0
    for word in (NAME, NAME.lower(), "1964-08-12"):
        assert word.encode() not in left
        assert word.encode() not in (site.folder / "ledger.jsonl").read_bytes()
    site.line.sent.clear()


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LoneSite]:
    lone = LoneSite(tmp_path_factory.mktemp("site"))
    lone.open()
    lone.line.sent.clear()
    yield lone
    lone.close()


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: f"{type(error).__name__}-{getattr(error, 'wire_code', '')}")
def test_a_failing_job(site: LoneSite, error: Exception) -> None:
    for ask in (site.coordinator.open(), site.coordinator.work(1)):
        site.tell(ask)
        event = do_job(Broken(error), site.answering.current.job, io.BytesIO())  # type: ignore[arg-type]
        assert event == Failed(code=code_of(error))
        site.answering.hear(event)
    assert [answer.type for answer in site.answers] == ["refused"] * 2
    clean(site)


@pytest.mark.parametrize("code", list(WireCode))
def test_every_code(site: LoneSite, code: WireCode) -> None:
    site.tell(site.coordinator.work(1))
    site.answering.hear(Failed(code=code))
    assert site.refused() == [code]
    clean(site)


def test_a_disk_that_is_full_when_the_model_comes(site: LoneSite) -> None:
    (site.folder / "spool" / "lungs").mkdir(exist_ok=True)
    whole, site.line.fetch = site.line.fetch, lambda *_, **__: full()  # type: ignore[method-assign]
    site.tell(site.coordinator.work(2, previous_digest=digest(START)))
    site.line.fetch = whole  # type: ignore[method-assign]
    assert site.refused() == [WireCode.DISK_FULL]
    clean(site)


def full() -> str:
    raise OSError(errno.ENOSPC, PATIENT, f"/cache/{PATIENT}")


# ------------------------------------------------------------ a real worker on real files


def array_file(path: Path, *, labels: np.ndarray, split: list[str] | None = None) -> None:
    """An .npz that holds the name as identifier of every patient."""
    count = len(labels)
    images = np.random.default_rng(0).integers(0, 255, (count, 28, 28)).astype(np.uint8)
    patient = np.array([f"{PATIENT} {n}" for n in range(count)])
    splits = {} if split is None else {"split": np.array(split)}
    np.savez(path, images=images, labels=labels, patient=patient, **splits)


def heard(site: LoneSite) -> None:
    """Let the real worker do what is in hand."""
    while site.answering.current is not None:
        for event in site.hands.listen(0.2):
            site.answering.hear(event)
        if site.hands.crashed():
            site.answering.worker_died()


def test_a_real_worker_on_images_that_cannot_be_used(tmp_path: Path) -> None:
    images = tmp_path / f"{NAME}.npz"
    site = LoneSite(tmp_path / "root", study=STUDY, file=images)
    site.hands.end()
    site.start(worker=WorkerProcess(site.folder, code=installed().code))
    tensors = table_of(start_state(STUDY))
    opening = site.coordinator.open().model_copy(update={"tensors": tensors})
    troubles: list[tuple[Callable[[], Any], WireCode]] = [
        (lambda: None, WireCode.NO_DATA),
        (lambda: images.write_bytes(PATIENT.encode()), WireCode.NO_DATA),
        (lambda: array_file(images, labels=np.array([PATIENT] * 8)), WireCode.NO_DATA),
        (lambda: array_file(images, labels=np.arange(8) % 2, split=[NAME] * 8), WireCode.NO_DATA),
        (lambda: images.chmod(0), WireCode.NO_DATA) if os.geteuid() else (images.unlink, WireCode.NO_DATA),
    ]
    try:
        for spoil, code in troubles:
            spoil()
            site.tell(opening)
            heard(site)
            assert site.refused() == [code]
            clean(site)
        images.unlink(missing_ok=True)
        array_file(images, labels=np.arange(40) % 2)
        site.tell(opening.model_copy(update={"tensors": FOREIGN_TENSORS}))
        heard(site)
        assert site.refused() == [WireCode.PROTOCOL]
        clean(site)
        site.tell(opening)
        heard(site)
        assert [answer.type for answer in site.answers] == ["opened"]
        clean(site)
        model = pack(start_state(STUDY))
        site.tell(site.coordinator.work(1, model), model=model)
        os.kill(site.hands.pid, signal.SIGKILL)
        heard(site)
        assert [answer.type for answer in site.answers] == ["ready"]
        assert len(site.entries("worker_restarted")) == 1
        clean(site)
    finally:
        site.close()
