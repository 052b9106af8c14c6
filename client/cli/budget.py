"""`wardround site budget`: what privacy patients have paid here, and how a budget that lags is brought into step."""

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Group, RenderableType
from rich.text import Text

from client.about_site import DEFAULT_CONFIG, Config
from client.person import By, named_person, stated_reason
from client.privacy.budget import Budget
from client.privacy.budget_file import open_budget
from client.privacy.budget_standing import standing
from client.privacy.claims import Claim, open_claims
from client.privacy.price import dearest
from client.settings import load_settings
from client.site_folder import joined_folder
from shared.console import Answer, answering, facts, printable, table
from shared.errors import ConfigError, Refusal, WireCode
from shared.heads import LostTail

app = typer.Typer(no_args_is_help=True, help="Privacy that patients have paid, and may still.")

_WITHDRAWN_SINCE = """\
Whoever withdrew within that end may be missing on the list: nobody trains yet.
Ask who has withdrawn since the backup was made, and enter each of them:
wardround site withdraw
Then, even if it was nobody, declare that all are on the list:
wardround site withdraw --complete
and start the agent again."""


@app.command()
@answering("site.budget.show")
def show(config: Config = DEFAULT_CONFIG) -> Answer:
    """Show what is reserved and charged in each study, what patients have come to, and what is left."""
    from client.privacy.reconcile import out_of_step

    folder = joined_folder(config)
    file, settings = open_budget(folder), load_settings(config.resolve()).policy.budget
    why, remedy = out_of_step(file) or (None, "")
    kept = file.look()
    budget = kept.budget if kept else Budget()
    claims = [claim.told() for claim in open_claims(folder)]
    found = standing(budget, settings) | {"in_step": why is None, "why": why, "claims": claims}
    error = None if why is None else Refusal(WireCode.BUDGET_STALE, remedy=remedy)
    return Answer(found, _page(found), error)


@app.command()
@answering("site.budget.reconcile")
def reconcile(
    config: Config = DEFAULT_CONFIG,
    by: By = None,
    reason: Annotated[str | None, typer.Option(help="How it came to that; it stands in the ledger for ever.")] = None,
    dismiss: Annotated[bool, typer.Option("--dismiss", help="Nothing was restored: what is claimed is false.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> Answer:
    """Charge every patient with all that the ledger says, after a restore or a loss; the agent must be stopped.

    With --dismiss nothing is charged: the ledger says who called the coordinator's claims false, and why.
    """
    name, reason = named_person(by), stated_reason(reason)
    if dismiss:
        return _dismiss(joined_folder(config), by=name, reason=reason, yes=yes)
    from client.privacy.reconcile import reconcile as bring_into_step
    from shared.clock import utc_now

    folder = joined_folder(config)
    settings = load_settings(config.resolve()).policy.budget
    done = bring_into_step(folder, settings, by=name, now=utc_now(), price=dearest, reason=reason)
    if done is None:
        return Answer({"reconciled": False}, "Budget and ledger are in step; nothing was changed.")
    found, lost = standing(done.kept.budget, settings), done.lost
    words = (
        f"Every patient is charged with {sum(study['charged'] for study in found['studies'])} rounds,"
        f" epsilon {found['everyone_epsilon']:.2f}."
    )
    words = f"{words} Start the agent again." if lost is None else f"{_lost(lost)}\n{words}\n{_WITHDRAWN_SINCE}"
    said = {"reconciled": True, "by": name, "tail_lost": lost.model_dump() if lost else None}
    return Answer(said | found, words)


@app.command()
@answering("site.budget.give_back")
def give_back(
    study: Annotated[str, typer.Argument(help="The study, as `site budget show` names it.")],
    *,
    config: Config = DEFAULT_CONFIG,
    by: By = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> Answer:
    """Give back what a study reserved and the ledger proves unused; the agent must be stopped."""
    from client.privacy.reservations import give_back as return_unused
    from client.privacy.reservations import unused
    from shared.clock import utc_now

    folder, name = joined_folder(config), named_person(by)
    rounds = unused(folder, study)
    asked = f"Give back {rounds} rounds of {study}? Should it still run, it is refused here until it is opened anew."
    if not yes and not typer.confirm(asked, err=True):
        raise ConfigError(f"Nothing of {study} is given back.", remedy="Type yes, or give --yes, if it is to be.")
    rounds = return_unused(folder, study, by=name, now=utc_now())
    words = f"{rounds} rounds of {study} are given back; what had begun stays charged. Start the agent again."
    return Answer({"given_back": True, "study": study, "rounds": rounds, "by": name}, words)


def _dismiss(folder: Path, *, by: str, reason: str | None, yes: bool) -> Answer:
    from client.privacy.dismissal import dismiss
    from shared.clock import utc_now

    claims = open_claims(folder)
    if not claims:
        return Answer({"reconciled": False, "dismissed": []}, "The coordinator claims nothing that the ledger lacks.")
    if reason is None:
        raise ConfigError("Nothing is dismissed without a reason.", remedy="Say how you know, by --reason.")
    said = "; ".join(map(str, claims))
    asked = f"The coordinator says: {said}. Was nothing here restored or cut, so that this is false?"
    if not yes and not typer.confirm(asked, err=True):
        raise ConfigError("Nothing is dismissed.", remedy="After a restore, reconcile without --dismiss.")
    dismiss(folder, claims, by=by, why=reason, now=utc_now())
    words = f"Dismissed as false, and nothing is charged for it: {said}. The ledger says so. Start the agent again."
    return Answer({"reconciled": False, "by": by, "dismissed": [claim.told() for claim in claims]}, words)


def _lost(lost: LostTail) -> str:
    return (
        f"At most {lost.most:,} entries of this site's ledger are lost, behind entry {lost.since:,} up to entry"
        f" {lost.entry:,}.\nThe ledger says so from now on, and the coordinator and all other sites will be told."
    )


def _page(found: dict[str, Any]) -> RenderableType:
    most = found["lifetime_epsilon"]
    about = {
        "limit": "none: [policy.budget] has no line" if most is None else f"epsilon {most:g} for life",
        "delta": f"{found['delta']:g}",
        "patients": f"{found['patients']:,} have trained or may, in private studies",
        "largest": f"epsilon {found['largest_epsilon']:.2f}, with all that is reserved",
        "left": "" if most is None else f"epsilon {found['left']:.2f} for the patient who has paid most",
        "trouble": found["why"] or "",
        "claimed": "; ".join(str(Claim.read(one)) for one in found["claims"]),
    }
    levels = ", ".join(_level(one) for one in found["levels"] if one["patients"])
    shown = {name: printable(text) for name, text in about.items() if text} | ({"spread": levels} if levels else {})
    return Group(facts(shown), *(_studies(found["studies"]) if found["studies"] else ()))


def _studies(studies: list[dict[str, Any]]) -> tuple[RenderableType, ...]:
    columns = ("study", "state", "reserved", "charged", "returned", "epsilon")
    rows = (
        (
            *(one["study"], "open" if one["open"] else "closed"),
            *(one["reserved"], one["charged"], one["returned"], f"{one['epsilon']:.2f}"),
        )
        for one in studies
    )
    return Text(), table(columns, rows), Text("In rounds; the epsilon is that of the study by itself.")


def _level(one: dict[str, Any]) -> str:
    words = f"above {one['above']:g}" if one["to"] is None else f"between {one['above']:g} and {one['to']:g}"
    return f"{one['patients']:,} patients at an epsilon {words}"
