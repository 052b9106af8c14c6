"""Checkpoints: the committed model of each round, and what is needed to go on from it.

Three files per round in the study's `models/` folder, written in this order, each by temporary file,
fsync, rename and fsync of the folder: the model (safetensors), the server optimizer's moments if it
has any, and last the JSON that names both by SHA-256. A round without its JSON was never written; a
round whose files do not have those digests is torn, and an earlier one is taken.

The model is streamed from pieces and never stands whole in memory. The start model
(`start.safetensors`) is put there by the launch and is never touched here.
"""

import hashlib
import re
from collections.abc import Container, Iterable
from pathlib import Path

from pydantic import Field, ValidationError

from server.growing import GrowingFile, disk_refused, remove_partial
from server.moments import Moments
from server.norms import NormHistory
from server.records import RoundCommitted
from shared.durable import write_atomically
from shared.errors import ResourceError, StudyError
from shared.fields import Digest
from shared.section import Section
from shared.update import Piece, Tensors, pack_pieces

_RECORD = re.compile(r"round-(\d{5,})\.json")


class Participation(Section):
    """Who counted in a round, and for each other site of the cohort, why it did not."""

    counted: tuple[str, ...]
    late: dict[str, str] = Field(default_factory=dict)
    refused: dict[str, str] = Field(default_factory=dict)
    absent: dict[str, str] = Field(default_factory=dict)


class Checkpoint(Section):
    """A round on disk.

    Attributes:
        committed: the journal's entry for the round, so that a restart between the two can write it.
        norms: the history that the next round's admission starts from.
        moments_digest: SHA-256 of the optimizer's moments; None if it has none.
    """

    committed: RoundCommitted
    norms: NormHistory
    moments_digest: Digest | None = None

    @property
    def round(self) -> int:
        """The round's number, from 1."""
        return self.committed.round

    @property
    def model_digest(self) -> str:
        """SHA-256 (hex) of the packed model."""
        return self.committed.model_digest


class Checkpoints:
    """The models folder of one study; made when it is missing."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(exist_ok=True)

    def save(
        self,
        tensors: Tensors,
        pieces: Iterable[Piece],
        *,
        number: int,
        epoch: int,
        previous_digest: str,
        participation: Participation,
        norms: NormHistory,
        moments: Moments,
    ) -> Checkpoint:
        """Write a round.

        Args:
            tensors: the model's table.
            pieces: the new model in packed order, drawn once.
            number, epoch: whose model it is.
            previous_digest: the model that the round started from.
            participation: who counted.
            norms: the history with this round's norms.
            moments: the optimizer's memory; complete after the last piece.

        Raises:
            ResourceError: the disk refused; the round was not written.
        """
        model_digest = self._write(self._path(number, "safetensors"), tensors, pieces)
        moments_digest = moments.finish()
        committed = RoundCommitted(
            round=number,
            epoch=epoch,
            model_digest=model_digest,
            previous_digest=previous_digest,
            **participation.model_dump(),
        )
        checkpoint = Checkpoint(committed=committed, norms=norms, moments_digest=moments_digest)
        try:
            write_atomically(self._path(number, "json"), checkpoint.model_dump_json(indent=1).encode())
        except OSError as error:
            raise disk_refused(error) from None
        return checkpoint

    def latest_sound(self) -> Checkpoint | None:
        """The last round whose files have the digests written down; None if there is none."""
        records = (_RECORD.fullmatch(path.name) for path in self._folder.iterdir())
        for number in sorted((int(match[1]) for match in records if match), reverse=True):
            if checkpoint := self.find(number):
                return checkpoint
        return None

    def find(self, number: int) -> Checkpoint | None:
        """One round, if it is there and sound."""
        checkpoint = self.record(number)
        if checkpoint is None:
            return None
        try:
            sound = checkpoint.round == number and self._holds("safetensors", number, checkpoint.model_digest)
            if sound and checkpoint.moments_digest is not None:
                sound = self._holds("moments", number, checkpoint.moments_digest)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise _unreadable(error) from None
        return checkpoint if sound else None

    def record(self, number: int) -> Checkpoint | None:
        """What was written down of a round, if it was; whether its files are sound is not looked at."""
        try:
            return Checkpoint.model_validate_json(self._path(number, "json").read_bytes())
        except (FileNotFoundError, ValidationError):
            return None
        except OSError as error:
            raise _unreadable(error) from None

    def model(self, number: int) -> Path:
        """The file of a round's model."""
        return self._path(number, "safetensors")

    def moments(self, number: int, *, kinds: Iterable[str], tensors: Tensors) -> Moments:
        """What the optimizer remembers, on its way from the round before to round `number`.

        Raises:
            ResourceError: the disk refused.
        """
        before = self.record(number - 1)
        last = self._path(number - 1, "moments") if before and before.moments_digest else None
        return Moments(self._path(number, "moments"), kinds=kinds, tensors=tensors, number=number, last=last)

    def insist(self, number: int, digest: str) -> None:
        """Raise unless the model of a round is here with this SHA-256; round 0, the start model, is not looked at.

        Raises:
            StudyError: it is not.
            ResourceError: the disk refused.
        """
        try:
            sound = number == 0 or self._holds("safetensors", number, digest)
        except FileNotFoundError:
            sound = False
        except OSError as error:
            raise _unreadable(error) from None
        if not sound:
            raise model_missing(number)

    def prune(self, number: int, *, keep: Container[int] = ()) -> None:
        """Remove rounds before `number - 1`, and what any process left unfinished.

        Of the rounds to keep the models stay, and nothing else.
        """
        remove_partial(self._folder)
        for path in self._folder.glob("round-*"):
            match = re.match(r"round-(\d{5,})\.", path.name)
            kept = match and path.suffix == ".safetensors" and int(match[1]) in keep
            if match and int(match[1]) < number - 1 and not kept:
                path.unlink(missing_ok=True)

    def _path(self, number: int, suffix: str) -> Path:
        return self._folder / f"round-{number:05d}.{suffix}"

    def _holds(self, suffix: str, number: int, digest: str) -> bool:
        with self._path(number, suffix).open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest() == digest

    @staticmethod
    def _write(path: Path, tensors: Tensors, pieces: Iterable[Piece]) -> str:
        with GrowingFile(path) as file:
            for chunk in pack_pieces(tensors, pieces):
                file.write(chunk)
            file.finish()
            return file.digest


def model_missing(number: int) -> StudyError:
    """The error of a study whose model of a round is not what its journal says."""
    return StudyError(
        f"The model of round {number} is missing or damaged.", remedy="Restore the study's models folder from backup."
    )


def _unreadable(error: OSError) -> ResourceError:
    return ResourceError(
        f"A checkpoint cannot be read ({error.strerror}).", remedy="Check the disk under the federation folder."
    )
