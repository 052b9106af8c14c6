"""Do a study's models follow from the updates that it kept? Each is made again, from the start model on.

1. the study in the folder is the journal's, as launched or as last amended, and so is its start model;
2. of each committed round, every update that counted is there under the digest that the journal let in;
3. the model made from them (`folding.py`) has the digest that the journal committed, bit for bit.

The first round that breaks a rule is the last one looked at: every later model follows from its own. Updates that
were never kept (`rounds.keep_updates`) break none, and are said.
"""

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Set
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, NamedTuple

from pydantic import ValidationError

from deploy.audit.folding import Remembered, Weighed, next_model
from shared.canonical import digest
from shared.chain import Entry
from shared.errors import ConfigError, TrustError
from shared.study import Study
from shared.update import Array, PackedFile, pack

Outcome = Literal["identical", "other", "not_kept"]


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
        final: whether the final model is one of those made; None if that one was not reached, or there is none.
    """

    rounds: tuple[RemadeRound, ...]
    final: bool | None

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
    commits: list[_Commit] = field(default_factory=list)
    declared: dict[str, int] = field(default_factory=dict)
    steps: dict[str, int] = field(default_factory=dict)
    updates: dict[str, _Update] = field(default_factory=dict)  # of the open round

    def take(self, kind: str, said: Mapping[str, Any]) -> None:
        match kind:
            case "study_started":
                self.study_digest, self.start_digest = said["study_digest"], said["start_digest"]
            case "study_amended":
                self.study_digest = said["study_digest"]
            case "study_finished":
                self.final = said["model_digest"]
            case "site_opened":
                self.declared[said["site"]] = said["examples"].get("train", 0)
            case "update_ready":
                self.steps[said["site"]] = said["steps"]
            case "update_admitted":
                about = said["update_digest"], said["examples"], said["discount"]
                self.updates[said["site"]] = _Update(*about, self.steps.get(said["site"], 0))
            case "round_committed":
                self.commits.append(self._commit(said))
                self.updates = {}

    def _commit(self, said: Mapping[str, Any]) -> _Commit:
        counted, total = tuple(said["counted"]), sum(self.declared.values())
        share = sum(self.declared.get(site, 0) for site in counted) / total if total else 1.0
        updates = {site: self.updates[site] for site in counted if site in self.updates}
        return _Commit(said["round"], said["model_digest"], updates, counted, share)


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
    rounds, made = list[RemadeRound](), set[str]()
    for one in _rounds(study, start, book, folder):
        rounds.append(one)
        if one.outcome == "identical":
            made.add(book.commits[one.round - 1].digest)
    return Remade(tuple(rounds), _final(book, rounds, made))


def _final(book: _Book, rounds: Iterable[RemadeRound], made: Set[str]) -> bool | None:
    if book.final in {book.start_digest, *made}:
        return True
    return False if book.final and any(one.outcome == "other" for one in rounds) else None


def _read(entries: Iterable[Entry]) -> _Book:
    book = _Book()
    for entry in entries:
        try:
            book.take(entry.type, entry.data)
        except (LookupError, TypeError, AttributeError):
            raise TrustError(
                f"Entry {entry.n} of the journal ({entry.type}) is not in its form.",
                remedy="Use the version of Wardround that wrote the file.",
            ) from None
    return book


def _study(folder: Path, book: _Book) -> Study:
    try:
        study = Study.model_validate_json((folder / "study.json").read_bytes())
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
            updates = list(_updates(commit, folder, model))
        except _Fault as fault:
            yield fault.of(commit)
            return
        model = next_model(model, updates, study, remembered, number=commit.round, share=commit.share)
        if digest(pack(model)) != commit.digest:
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


def _updates(commit: _Commit, folder: Path, model: Mapping[str, Array]) -> Iterator[Weighed]:
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
        if packed.declared() != {name: (str(value.dtype), value.shape) for name, value in model.items()}:
            raise _Fault("other", f"the update of {site} does not fit the model")
        yield Weighed(packed, said.examples, said.discount, said.steps)


def _digest(file: Path) -> str | None:
    try:
        with file.open("rb") as opened:
            return hashlib.file_digest(opened, "sha256").hexdigest()
    except OSError:
        return None
