"""A page of small checks: each looks at one thing, and says PASS, WARN or FIX, with what to do.

Decides how checks are run and read, not what they look at:

1. Checks run in their order, one at a time; one whose ground another has not found sound is not reached.
2. Each has a time limit. One that does not end in time, or fails in a way it did not foresee, is a FIX that says so:
   the page never calls sound what nobody has seen.
3. The page is not ready if any line is a FIX; a WARN is to be known.
"""

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from shared.console import DEBUG_VARIABLE, Answer, printable
from shared.errors import NotReady, WardroundError
from shared.rehearsal import Outcome

Grounds = TypeVar("Grounds")
Fact = str | int | float | bool | None
_STYLES = {Outcome.PASS: "green", Outcome.WARN: "yellow", Outcome.FIX: "bold red"}
_NOT_REACHED = "\N{EN DASH}"


@dataclass(frozen=True)
class Finding:
    """What a look at one thing found; `facts` are its figures for a program."""

    outcome: Outcome
    what: str
    remedy: str = ""
    facts: Mapping[str, Fact] = field(default_factory=dict)


def passed(what: str, **facts: Fact) -> Finding:
    """All is well."""
    return Finding(Outcome.PASS, what, facts=facts)


def warn(what: str, remedy: str, **facts: Fact) -> Finding:
    """Well enough, but to be known."""
    return Finding(Outcome.WARN, what, remedy, facts)


def fix(what: str, remedy: str, **facts: Fact) -> Finding:
    """To be mended first."""
    return Finding(Outcome.FIX, what, remedy, facts)


@dataclass(frozen=True)
class Check(Generic[Grounds]):
    """One look.

    Attributes:
        name: its line's name.
        look: what it does; a `WardroundError` of it is a FIX.
        after: checks without whose success it cannot be made.
        limit_s: seconds in which it has to end.
    """

    name: str
    look: Callable[[Grounds], Finding]
    after: tuple[str, ...] = ()
    limit_s: float = 20.0


@dataclass(frozen=True)
class Line:
    """One line of the page; `finding` is None if another one is to be mended first, which `waits_for` names."""

    name: str
    finding: Finding | None
    waits_for: str | None = None


def look_at(
    checks: Iterable[Check[Grounds]],
    grounds: Grounds,
    *,
    showing: Callable[[str], AbstractContextManager[Any]] = lambda _: nullcontext(),
) -> Iterator[Line]:
    """Run checks by the module's rules.

    Args:
        checks: in their order.
        grounds: what they look at.
        showing: shows the name of the check that runs.
    """
    unsound: dict[str, str] = {}  # by name, and which FIX it goes back to
    for check in checks:
        missing = next((unsound[name] for name in check.after if name in unsound), None)
        if missing is not None:
            unsound[check.name] = missing
            yield Line(check.name, None, missing)
            continue
        with showing(check.name):
            finding = _within(check, grounds)
        if finding.outcome is Outcome.FIX:
            unsound[check.name] = check.name
        yield Line(check.name, finding)


def page(lines: Sequence[Line], *, more: Mapping[str, Any] | None = None, below: RenderableType = "") -> Answer:
    """The lines as a command's answer.

    Args:
        lines: in their order.
        more: further facts for a program.
        below: what a person reads beneath the lines.
    """
    counts = {word: sum(1 for line in lines if _outcome(line) is word) for word in Outcome}
    broken = [line.name for line in lines if _outcome(line) is Outcome.FIX]
    data = {"ready": not broken, "counts": counts, "lines": [_as_json(line) for line in lines], **(more or {})}
    counted = ", ".join(f"{count} {word.value.upper()}" for word, count in counts.items() if count)
    shown = Group(_table(lines), Text(f"\n{counted}"), *([below] if below != "" else []))
    if not broken:
        return Answer(data, shown)
    what = f"To be mended first: {', '.join(broken)}."
    return Answer(data, shown, NotReady(what, remedy="Do what stands behind FIX, then give the command again."))


def _within(check: Check[Grounds], grounds: Grounds) -> Finding:
    """A look's finding; one that hangs is left behind in a thread that ends with the process."""
    found: list[Finding] = []
    thread = threading.Thread(target=lambda: found.append(_guarded(check, grounds)), daemon=True, name=check.name)
    thread.start()
    thread.join(check.limit_s)
    if found:
        return found[0]
    remedy = "Find out what holds it up, for it would hold up the work, too; then give the command again."
    return fix(f"This did not come to an end within {check.limit_s:g} s.", remedy)


def _guarded(check: Check[Grounds], grounds: Grounds) -> Finding:
    try:
        return check.look(grounds)
    except WardroundError as error:
        return fix(error.what, error.remedy)
    except Exception as error:  # its words may name a patient's file
        remedy = f"Nothing is known of this. Set {DEBUG_VARIABLE}=1, give the command again, and report what is shown."
        return fix(f"The check itself failed ({type(error).__name__}).", remedy)


def _outcome(line: Line) -> Outcome | None:
    return None if line.finding is None else line.finding.outcome


def _as_json(line: Line) -> dict[str, Any]:
    found = line.finding
    if found is None:
        return {"check": line.name, "outcome": None, "what": _unreached(line), "remedy": "", "facts": {}}
    outcome, facts = found.outcome.value, dict(found.facts)
    return {"check": line.name, "outcome": outcome, "what": found.what, "remedy": found.remedy, "facts": facts}


def _unreached(line: Line) -> str:
    return f"Not looked at: mend {line.waits_for} first."


def _table(lines: Sequence[Line]) -> Table:
    """Outcome, name, and what was found; what to do stands on lines of its own beneath it."""
    grid = Table.grid(padding=(0, 2, 0, 0))
    grid.add_column(no_wrap=True)
    grid.add_column(no_wrap=True, style="bold")
    grid.add_column(overflow="fold")
    for line in lines:
        found = line.finding
        if found is None:
            grid.add_row(Text(_NOT_REACHED), Text(line.name), Text(_unreached(line), style="dim"))
            continue
        word = Text(found.outcome.value.upper(), style=_STYLES[found.outcome])
        grid.add_row(word, Text(line.name), Text(printable(found.what)))
        if found.remedy:
            grid.add_row("", "", Text(f"\N{RIGHTWARDS ARROW} {printable(found.remedy)}"))
    return grid
