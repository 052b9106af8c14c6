"""What the budget benchmark lets a site pay, step by step: two private studies side by side, a round that begins
again, and one that never comes; then a third, of which a person gives rounds back, which a restore makes the site
forget, so that a person reconciles and declares the loss, and of which the coordinator lies, so that one dismisses it.

    touched    beside the site's folder: a line for each round whose images the worker would have touched by now
    done       beside it: a line for each step that came to its end

A site that died does the step again in which it did, as an agent does that is started again.
"""

import os
from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path

from client.join import load_enrolment
from client.privacy.budget_settings import BudgetSettings
from client.privacy.claims import open_claims
from client.privacy.dismissal import dismiss
from client.privacy.price import Price
from client.privacy.purse import Purse
from client.privacy.reconcile import reconcile
from client.privacy.reservations import give_back
from client.privacy.training_patients import TrainingPatients
from deploy.bench.budget_loss import keep_backup, lie, restore
from shared.errors import ConfigError
from shared.ledger import Ledger
from shared.privacy import History
from shared.study import Study

NOW = "2026-01-02T03:04:05Z"
PERSON = "bench"
TOUCHED, DONE = "touched", "done"
STEPS = 2  # of a round
PATIENTS = {"one": (1, 2, 3), "two": (2, 3, 4, 5), "three": (1, 5, 6)}
SCRIPT = (
    *("reserve one", "charge one 1", "reserve two", "charge two 1", "charge one 2", "charge one 2"),
    *("return one", "charge two 2", "reserve one", "charge one 3", "return one", "return two"),
    *("reserve three", "charge three 1", "give-back three", "reserve three", "keep", "charge three 2"),
    *("restore three 3", "reconcile", "reserve three", "charge three 3", "lie three 3", "dismiss", "charge three 3"),
)
UNKNOWING = ("restore",)  # until it has come to its end nobody at the site knows of the loss
ASKING = ("restore", "reconcile", "lie", "dismiss")  # in their midst private studies may be refused


def patient(number: int) -> bytes:
    """A keyed hash."""
    return bytes([number]) * 16


def study(name: str, *, rounds: int = 3) -> Study:
    """One of the three."""
    return Study.model_validate(
        {
            "study": {"name": name},
            "task": {"classes": ["positive"]},
            "images": {"size_px": 28},
            "model": {"norm": "group"},
            "training": {"steps_per_round": STEPS, "batch_size": 8},
            "rounds": {"count": rounds},
            "privacy": {"noise_multiplier": 1.0, "sampling_rate": 0.2, "patients_per_step": 8},
        }
    )


def count_steps(histories: Iterable[History], delta: float) -> float:
    """A price that needs no accountant, whose time is not what is measured."""
    return float(max((sum(run.steps for run in history) for history in histories), default=0))


def open_purse(folder: Path, *, price: Price = count_steps, limit: float | None = None) -> Purse:
    """The purse of the site in a folder, as its agent opens it."""
    enrolment = load_enrolment(folder)
    name, key = enrolment.invitation.site, enrolment.identity_key
    ledger = Ledger.open(folder / "ledger.jsonl", key=key, signer=name, now=NOW)
    settings = BudgetSettings(lifetime_epsilon=limit)
    return Purse(folder, ledger, settings, price=price, now=lambda: NOW, say=lambda _: None)


def play(folder: Path, *, ended: Callable[[int], None] = lambda _: None) -> None:
    """Take the steps that are left; `ended` hears of each how many are done."""
    purse, lines = open_purse(folder), _note(folder, DONE)
    while (step := next_step(folder)) is not None:
        what, *words = step.split()
        if what in ("reserve", "charge", "return"):
            _pay(folder, purse, what, *words)
        else:
            _interrupt(folder, what, *words)
            purse = open_purse(folder)
        lines(step)
        ended(len(_read(folder, DONE)))


def next_step(folder: Path) -> str | None:
    """The step that is next, or was not ended; None at the script's end."""
    done = len(_read(folder, DONE))
    return SCRIPT[done] if done < len(SCRIPT) else None


def touched(folder: Path) -> dict[bytes, int]:
    """How many private steps each patient has been in."""
    steps: Counter[bytes] = Counter()
    for name in _read(folder, TOUCHED):
        steps.update(dict.fromkeys(map(patient, PATIENTS[name]), STEPS))
    return dict(steps)


def _pay(folder: Path, purse: Purse, what: str, name: str, *number: str) -> None:
    """What the agent does."""
    if what == "reserve":
        TrainingPatients(folder).offer(study(name).digest(), frozenset(map(patient, PATIENTS[name])))
        purse.reserve(study(name))
    elif what == "charge":
        purse.charge(study(name), int(number[0]))
        _note(folder, TOUCHED)(name)
    else:
        purse.give_back(name)


def _interrupt(folder: Path, what: str, *words: str) -> None:
    """What happens while the agent is stopped."""
    match what, *words:
        case "give-back", name:
            with suppress(ConfigError):  # it was given back before the kill
                give_back(folder, name, by=PERSON, now=NOW)
        case "reconcile", *_:
            reconcile(folder, BudgetSettings(), by=PERSON, now=NOW, price=count_steps)
        case "dismiss", *_:
            dismiss(folder, open_claims(folder), by=PERSON, why="nothing was restored", now=NOW)
        case "keep", *_:
            keep_backup(folder)
        case "restore", name, number:
            restore(folder, name, int(number))
        case "lie", name, number:
            lie(folder, name, int(number))


def _note(folder: Path, what: str) -> Callable[[str], None]:
    """Appends a line past every hook: it is the benchmark's own, and no durable write of the site's."""
    path = folder.parent / what

    def note(line: str) -> None:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        os.write(descriptor, f"{line}\n".encode())
        os.close(descriptor)

    return note


def _read(folder: Path, what: str) -> list[str]:
    path = folder.parent / what
    return path.read_text().splitlines() if path.exists() else []
