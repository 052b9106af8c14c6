"""Do a study's models follow from the updates that it kept? Each is made again, from the start model on.

1. the study in the folder is the journal's, as launched or as last amended, and so is its start model;
2. of each committed round, every update that counted is there under the digest that the journal let in;
3. the model made from them (`folding.py`) has the digest that the journal committed, bit for bit;
4. the final model is the one after the last round, or after that which the journal says was chosen where the
   study takes the best one, and so is the file that was published (of a frozen backbone: what was trained of it).

The first round that breaks a rule is the last one looked at: every later model follows from its own. Updates that
were never kept (`rounds.keep_updates`) break none, and are said.
"""

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, NamedTuple

from pydantic import ValidationError

from deploy.audit.folding import Remembered, Weighed, next_model
from deploy.audit.reading import as_count, as_list, as_name, as_share, as_text, in_form
from shared.backbone import head_of
from shared.canonical import digest
from shared.chain import Entry
from shared.errors import ConfigError, TrustError
from shared.study import Study
from shared.update import Array, PackedFile, Tensors, model_table, pack, table_of, update_table

Outcome = Literal["identical", "other", "not_kept"]
_PUBLISHED = "model.safetensors"


class RemadeRound(NamedTuple):
    """What came of one round; `why` says what is not as the journal says, if anything."""

    round: int
    outcome: Outcome
    why: str = ""


@dataclass(frozen=True)
class Remade:
    """What came of making the models again.

    Attributes:
        rounds: those that were looked at, in their order.
        final: whether the final model is the one that was made in its place; None if that one was not reached, there
            is none, or its file is not there.
        astray: if it is another one, how.
    """

    rounds: tuple[RemadeRound, ...]
    final: bool | None
    astray: str = ""

    @property
    def fault(self) -> RemadeRound | None:
        """The round whose model does not follow."""
        return next((one for one in self.rounds if one.outcome == "other"), None)

    @property
    def kept(self) -> bool:
        """Whether there was an update of every round that was looked at."""
        return all(one.outcome != "not_kept" for one in self.rounds)


class _Update(NamedTuple):
    digest: str
    examples: int
    discount: float
    steps: int


class _Commit(NamedTuple):
    round: int
    digest: str
    updates: Mapping[str, _Update]  # of each site that counted; one that was never let in is missing
    counted: tuple[str, ...]
    share: float


@dataclass
class _Book:
    """What a journal says of models, up to an entry."""

    study_digest: str = ""
    start_digest: str = ""
    final: str | None = None
    chosen: int | None = None
    commits: list[_Commit] = field(default_factory=list)
    declared: dict[str, int] = field(default_factory=dict)
    steps: dict[str, int] = field(default_factory=dict)
    updates: dict[str, _Update] = field(default_factory=dict)  # of the open round

    def take(self, kind: str, said: Mapping[str, Any]) -> None:
        match kind:
            case "study_started":
                self.study_digest, self.start_digest = as_text(said["study_digest"]), as_text(said["start_digest"])
            case "study_amended":
                self.study_digest = as_text(said["study_digest"])
            case "model_chosen":
                self.chosen = as_count(said["round"])
            case "study_finished":
                self.final = as_text(said["model_digest"])
            case "site_opened":
                self.declared[as_name(said["site"])] = as_count(said["examples"].get("train", 0))
            case "update_ready":
                self.steps[as_name(said["site"])] = as_count(said["steps"])
            case "update_admitted":
                site, discount = as_name(said["site"]), float(as_share(said["discount"]))
                about = as_text(said["update_digest"]), as_count(said["examples"]), discount
                self.updates[site] = _Update(*about, self.steps.get(site, 0))
            case "round_committed":
                self.commits.append(self._commit(said))
                self.updates = {}

    def _commit(self, said: Mapping[str, Any]) -> _Commit:
        counted, total = tuple(map(as_name, as_list(said["counted"]))), sum(self.declared.values())
        share = sum(self.declared.get(site, 0) for site in counted) / total if total else 1.0
        updates = {site: self.updates[site] for site in counted if site in self.updates}
        if (number := as_count(said["round"])) != len(self.commits) + 1:
            raise ValueError
        return _Commit(number, as_text(said["model_digest"]), updates, counted, share)


def remake(entries: Iterable[Entry], folder: Path) -> Remade:
    """Make the models of a study again.

    Args:
        entries: of its journal, whose chain was checked.
        folder: the study's at the server, or a copy of it.

    Raises:
        ConfigError: it is the folder of no study, or of another one.
        TrustError: an entry of the journal is not in its form.
    """
    book = _read(entries)
    study, start = _study(folder, book), _start(folder, book)
    rounds = tuple(_rounds(study, start, book, folder))
    if any(one.outcome == "other" for one in rounds):
        return Remade(rounds, False if book.final else None)
    number = _final_round(study, book)
    if book.final is None or not all(one.outcome == "identical" for one in rounds[:number]):
        return Remade(rounds, None)
    return _final(rounds, number, book, folder, study)


def _final_round(study: Study, book: _Book) -> int:
    """How many rounds are behind the final model, 0 for the start model."""
    return len(book.commits) if book.chosen is None or study.selection.model == "last" else book.chosen


def _final(rounds: tuple[RemadeRound, ...], number: int, book: _Book, folder: Path, study: Study) -> Remade:
    """By rule 4."""
    made, place = [book.start_digest, *(one.digest for one in book.commits)], f"the one after round {number}"
    if made[number : number + 1] != [book.final]:
        return Remade(rounds, False, f"the final model that the journal names is not {place}")
    published = _trained(folder / _PUBLISHED, study)
    if published not in (None, book.final):
        return Remade(rounds, False, f"{_PUBLISHED} is not bit-identical with the final model, {place}")
    return Remade(rounds, None if published is None else True)


def _read(entries: Iterable[Entry]) -> _Book:
    book = _Book()
    for entry in entries:
        with in_form("the journal", entry):
            book.take(entry.type, entry.data)
    return book


def _study(folder: Path, book: _Book) -> Study:
    file = folder / "study.json"
    try:
        study = Study.model_validate_json(file.read_bytes() if file.is_file() else b"")  # a pipe would never end
    except (OSError, ValidationError):
        raise ConfigError(f"{folder} is not the folder of a study.", remedy="Name FEDERATION/studies/NAME.") from None
    if study.digest() != book.study_digest:
        raise ConfigError(
            f"{folder} holds another study than the journal's.", remedy="Name the folder that the journal lies in."
        )
    return study


def _start(folder: Path, book: _Book) -> dict[str, Array] | None:
    """The start model; None if it is not the journal's."""
    file = folder / "models" / "start.safetensors"
    return dict(PackedFile(file).items()) if _digest(file) == book.start_digest else None


def _rounds(study: Study, model: dict[str, Array] | None, book: _Book, folder: Path) -> Iterator[RemadeRound]:
    remembered = Remembered()
    for commit in book.commits:
        if model is None:
            yield RemadeRound(commit.round, "other", "the start model is absent, or another one than the journal's")
            return
        try:
            updates = list(_updates(commit, folder, update_table(table_of(model), study.transfer.update_dtype)))
        except _Fault as fault:
            yield fault.of(commit)
            return
        model = next_model(model, updates, study, remembered, number=commit.round, share=commit.share)
        if digest(pack(model, model_table(table_of(model), study.transfer.model_dtype))) != commit.digest:
            yield RemadeRound(commit.round, "other", "the model made from the round's updates is another one")
            return
        yield RemadeRound(commit.round, "identical")


class _Fault(Exception):
    """Why a round cannot be made again."""

    def __init__(self, outcome: Outcome, why: str) -> None:
        super().__init__(why)
        self._outcome, self._why = outcome, why

    def of(self, commit: _Commit) -> RemadeRound:
        return RemadeRound(commit.round, self._outcome, self._why)


def _updates(commit: _Commit, folder: Path, table: Tensors) -> Iterator[Weighed]:
    place = folder / "updates" / f"round-{commit.round:05d}"
    if not place.is_dir():
        raise _Fault("not_kept", "updates were not kept")
    for site in commit.counted:
        if site not in commit.updates:
            raise _Fault("other", f"{site} counted, and no update of it was let in")
        said = commit.updates[site]
        file = place / f"{site}.{said.digest}.safetensors"
        if _digest(file) != said.digest:
            raise _Fault("other", f"the update of {site} is absent, or another one than the journal let in")
        packed = PackedFile(file)
        if packed.declared() != {tensor.name: (tensor.dtype, tensor.shape) for tensor in table}:
            raise _Fault("other", f"the update of {site} does not fit the model")
        yield Weighed(packed, said.examples, said.discount, said.steps)


def _trained(file: Path, study: Study) -> str | None:
    """The digest of a model, or, if its backbone was frozen, of what was trained by itself."""
    if not study.freezes or not file.is_file():
        return _digest(file)
    try:
        head = dict(head_of(PackedFile(file), study.model.name))
        return digest(pack(head, model_table(table_of(head), study.transfer.model_dtype)))
    except TrustError:
        return _digest(file)


def _digest(file: Path) -> str | None:
    try:
        if not file.is_file():  # a pipe would never end
            return None
        with file.open("rb") as opened:
            return hashlib.file_digest(opened, "sha256").hexdigest()
    except OSError:
        return None
