"""The coordinator's amendments of a study: signed and laid into its folder, taken up by whoever conducts it.

`amendments/00001` and so on hold one signed amendment each. One is pending until the conductor has
written it to the journal and then `study.json` anew; it does so between two rounds.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from server.desk import Desk
from server.history import LiveHistory, StudyHistory
from server.journal import read_history
from server.records import StudyAmended
from server.study_folder import StudyFolder
from shared.address import Stage
from shared.amendment import Amendment, Terms, read_amendment, sign_amendment, with_terms
from shared.canonical import digest
from shared.durable import write_atomically
from shared.errors import ConfigError, StudyError
from shared.keys import VerifyKey
from shared.remarks import remark
from shared.study import Study
from shared.wire import MOST_AMENDMENTS


@dataclass(frozen=True)
class Pending:
    """An amendment that is not in force yet, as it was signed, and the study that it makes."""

    sealed: str
    amendment: Amendment
    study: Study


def amend(
    folder: StudyFolder,
    *,
    rounds: int | None,
    deadline_s: float | None,
    key: Ed25519PrivateKey,
    keys: VerifyKey | None = None,
) -> Amendment:
    """Sign an amendment and lay it into the study's folder.

    Args:
        folder: the study.
        rounds: how many rounds it is to have in all; None leaves them.
        deadline_s: how long a round may wait, in seconds; None leaves it.
        key: the coordinator's.
        keys: all that have signed for the federation, where there were several.

    Raises:
        ConfigError: it asks for nothing more, or for more than a study may.
        StudyError: the study trains nothing, is past its last round, or was amended too often.
    """
    study, signed = folder.study(), list(sealed_amendments(folder))
    keys = keys or key.public_key()
    _check_amendable(folder, study, number=len(signed) + 1)
    for waiting in pending(folder, study, coordinator=keys):
        study = waiting.study
    before = Terms.of(study)
    after = Terms(rounds=rounds or before.rounds, deadline_s=deadline_s or before.deadline_s)
    if not after.extend(before):
        raise ConfigError(
            f"The study has {before.rounds} rounds and a deadline of {before.deadline_s:g} s already.",
            remedy="An amendment only extends: name more rounds or a longer deadline.",
        )
    with_terms(study, after)  # may a study ask for this?
    original = read_amendment(signed[0], coordinator=keys).original if signed else study.digest()
    made = Amendment(
        study=study.name,
        number=len(signed) + 1,
        original=original,
        previous=study.digest(),
        before=before,
        after=after,
    )
    _folder(folder).mkdir(exist_ok=True)
    write_atomically(_folder(folder) / f"{made.number:05d}", sign_amendment(made, key=key).encode())
    return made


def _check_amendable(folder: StudyFolder, study: Study, *, number: int) -> None:
    """Test patients are scored once, so that a study whose last round is decided gets no more of them."""
    if study.study.kind != "train":
        raise StudyError("A study that only scores a model has no rounds to extend.", remedy="Launch another study.")
    closing = folder.read_status().get("stage") in (Stage.VALIDATE.value, Stage.EVALUATE.value)
    history = read_history(folder.journal) if folder.journal.exists() else StudyHistory()
    if history.trained is not None and history.trained.cause == "patience":
        raise StudyError(
            f"The study stopped early, after round {history.trained.round}: no model since that after round"
            f" {history.trained.best} was better.",
            remedy="Clone it, give [selection] more patience_rounds, and launch the clone.",
        )
    if closing or history.scored or history.trained:
        raise StudyError("The study is past its last round.", remedy="Clone it, and launch the clone.")
    if number > MOST_AMENDMENTS:
        raise StudyError(
            f"A study is amended {MOST_AMENDMENTS} times at most.", remedy="Clone it, and launch the clone."
        )


def pending(folder: StudyFolder, study: Study, *, coordinator: VerifyKey) -> Iterator[Pending]:
    """The amendments that come after `study`, in order.

    Raises:
        TrustError: a file of an amendment is not one that the coordinator signed.
    """
    for sealed in sealed_amendments(folder):
        amendment = read_amendment(sealed, coordinator=coordinator)
        if amendment.previous == study.digest():
            study = with_terms(study, amendment.after)
            yield Pending(sealed, amendment, study)


def in_force(folder: StudyFolder, history: LiveHistory) -> tuple[str, ...]:
    """The signed amendments that the journal knows."""
    known = history.amended.number if history.amended else 0
    return tuple(islice(sealed_amendments(folder), known))


def take_up(desk: Desk) -> bool:
    """Bring every pending amendment into force: the journal first, then `study.json`, then this process.

    Returns:
        Whether the study is another one now, which the sites must agree to.

    Raises:
        StaleEpoch: another process owns the study now.
        TrustError: an amendment does not follow from the journal.
    """
    taken = False
    for waiting in pending(desk.folder, desk.study, coordinator=desk.keys):
        if desk.journal.history.trained is not None:
            late = "Amendment {amendment} came after the last round and has no effect."
            desk.say(remark(late, level="warning", amendment=waiting.amendment.number))
            break
        known = desk.journal.history.amended
        if known is None or known.number < waiting.amendment.number:  # else a crash came before study.json
            desk.write(_record(waiting))
        with desk.owner.guard():
            desk.folder.rewrite(waiting.study)
        desk.study, taken = waiting.study, True
        number, words = waiting.amendment.number, "Amendment {amendment} is in force: {rounds} rounds."
        desk.say(remark(words, amendment=number, rounds=desk.study.rounds.count))
    desk.amendments = in_force(desk.folder, desk.journal.history)
    return taken


def sealed_amendments(folder: StudyFolder) -> Iterator[str]:
    """Every signed amendment of a study, the first one first."""
    for path in sorted(_folder(folder).glob("[0-9]*")):
        yield path.read_text(encoding="ascii", errors="replace")


def _record(waiting: Pending) -> StudyAmended:
    return StudyAmended(
        number=waiting.amendment.number,
        amendment_digest=digest(bytes.fromhex(waiting.sealed)),
        previous_digest=waiting.amendment.previous,
        study_digest=waiting.study.digest(),
        rounds=waiting.amendment.after.rounds,
        deadline_s=waiting.amendment.after.deadline_s,
    )


def _folder(folder: StudyFolder) -> Path:
    return folder.path / "amendments"
