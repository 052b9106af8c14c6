"""`wardround site withdraw`: a patient trains here no more; and what the site has trained until then."""

from collections import defaultdict
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Group
from rich.text import Text

from client.about_site import DEFAULT_CONFIG, Config
from client.person import By, named_person
from client.privacy.withdrawn import Lacking, Withdrawn
from client.receipts import LEDGER_FILE
from client.site_folder import joined_folder
from client.stopped import AgentRuns, stopped_ledger
from shared.console import Answer, answering, progress_console, table
from shared.errors import ConfigError, Refusal, ResourceError
from shared.ledger import read_entries


@answering("site.withdraw")
def withdraw(
    patient: Annotated[
        str | None, typer.Argument(help="The identifier that the images carry; asked for without.")
    ] = None,
    *,
    config: Config = DEFAULT_CONFIG,
    by: By = None,
    unknown: Annotated[
        bool, typer.Option("--unknown", help="Take the identifier unseen: the patient's images come later.")
    ] = False,
    complete: Annotated[
        bool, typer.Option("--complete", help="Declare that all who ever withdrew are on the list again.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="With --complete: do not ask.")] = False,
) -> Answer:
    """Never use a patient's images again; list the rounds and models that they may have been in."""
    from shared.clock import utc_now

    folder, name = joined_folder(config), named_person(by)
    if complete and patient is not None:
        raise ConfigError(
            "A patient and --complete do not go together; nothing was done.",
            remedy="Enter each patient first, one by one; then declare with --complete alone that none is missing.",
        )
    if complete:
        return _declare_complete(folder, by=name, now=utc_now(), yes=yes)
    identifier, withdrawn = _identifier(patient), Withdrawn(folder)
    if not unknown and not withdrawn.has(identifier):
        _insist_on_known(folder, identifier)
    new, now = withdrawn.add(identifier, by=name, time=utc_now()), utc_now()
    whole, error = _note(folder, withdrawn, now=now)
    affected = affected_rounds(folder / LEDGER_FILE)
    said = {"withdrawn": True, "new": new, "whole": whole, "affected": affected}
    rows = ((one["study"], len(one["rounds"]), len(one["models"])) for one in affected)
    shown = [table(("study", "rounds", "models"), rows)] if affected else []
    return Answer(said, Group(Text(_words(new, whole=whole)), *shown), error)


def _identifier(typed: str | None) -> str:
    """What was typed, or is typed now, as the images would carry it."""
    try:
        identifier = str(typed or typer.prompt("Patient", hide_input=True, err=True)).strip()
        identifier.encode()
    except UnicodeError:
        raise ConfigError(
            "The identifier is not valid UTF-8; nothing was written.", remedy="Type it on a terminal set to UTF-8."
        ) from None
    if not identifier:
        raise ConfigError("No patient is named.", remedy="Give the identifier that the images carry.")
    return identifier


def _insist_on_known(folder: Path, identifier: str) -> None:
    from client.privacy.known_patients import is_known

    if not is_known(folder, identifier, say=progress_console().print):
        raise ConfigError(
            "No image here carries this identifier; nothing was written, and nobody has withdrawn by it.",
            remedy="Compare it with the images or the label table, letter by letter. If the patient's images come"
            " later, give --unknown.",
        )


def _note(folder: Path, withdrawn: Withdrawn, *, now: str) -> tuple[bool | None, ResourceError | None]:
    """Let the ledger say that somebody withdrew: whether the list lacks nobody, None if unknown; and what failed."""
    try:
        with stopped_ledger(folder, now=now) as ledger:
            withdrawn.note(ledger, time=now)
    except AgentRuns:  # it notes it before its next work
        return None, None
    except Refusal:  # the others are entered again one by one
        return False, None
    except ResourceError as error:  # as a full disk
        return None, error
    return True, None


def _declare_complete(folder: Path, *, by: str, now: str, yes: bool) -> Answer:
    withdrawn = Withdrawn(folder)
    with stopped_ledger(folder, now=now) as ledger:  # asked in it, so that nothing changes meanwhile
        lacking = withdrawn.lacking()
        said = {"missing": len(lacking.marks), "after_loss": lacking.after_loss}
        if not lacking:
            return Answer(said, "The list lacks nobody whom the ledger names.")
        if not yes and not typer.confirm(_question(lacking), err=True):
            raise ConfigError("Nothing is declared.", remedy="Enter all of them again; then type yes, or give --yes.")
        withdrawn.complete(ledger, lacking, by=by, time=now)
    given_up = f"; {len(lacking.marks)} of its marks are given up" if lacking.marks else ""
    return Answer(said, f"The ledger says now that by {by}'s word all who withdrew are on the list{given_up}.")


def _question(lacking: Lacking) -> str:
    lost = " The ledger has lost its end, in which others may have withdrawn." if lacking.after_loss else ""
    return (
        f"The ledger has {len(lacking.marks)} marks that the list lacks; the list has {lacking.lines} lines.{lost}"
        " Are all who ever withdrew among these?"
    )


def affected_rounds(ledger: Path) -> list[dict[str, Any]]:
    """By study, the rounds that an update of this site left in, and the digests of the models that it counted in.

    Whether a patient was among those trained on, the ledger does not say: each of them may hold it.
    """
    rounds: dict[str, set[int]] = defaultdict(set)
    models: dict[str, dict[str, None]] = defaultdict(dict)
    for entry in read_entries(ledger) if ledger.is_file() else ():
        said = entry.data
        if entry.type == "release" and said["update_digest"] is not None:
            rounds[said["study"]].add(said["round"])
        elif entry.type == "receipt" and said["outcome"] == "counted":
            models[said["study"]][said["model_digest"]] = None
    return [{"study": name, "rounds": sorted(found), "models": list(models[name])} for name, found in rounds.items()]


def _words(new: bool, *, whole: bool | None) -> str:
    done = "The patient is in no study here from the next round on." if new else "The patient had withdrawn before."
    then = {
        None: "The ledger does not say so yet: the agent writes it down before its next work.\n",
        False: "The list still lacks some whom the ledger names, or perhaps some whom it has lost.\n"
        "When all are entered again, the agent stopped:\n"
        "wardround site withdraw --complete\n",
        True: "",
    }
    return (
        f"{done}\nUpdates that left before may hold what it taught, and so may every later model\n"
        f"of these studies; tell their coordinators. --json has rounds and models.\n{then[whole]}"
    )
