"""`wardround site approve` and `deny`: a person reads what a study asks of the site, and what they say is signed."""

import sys
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from client.about_site import DEFAULT_CONFIG, Config, about_site
from client.person import named_person, stated_reason
from client.settings import folder_of
from shared.console import WIDTH, Answer, answering, printable
from shared.errors import ConfigError

if TYPE_CHECKING:
    from client.approvals import Decision
    from client.deciding import Waiting

Verdict = Literal["approved", "denied"]
By = Annotated[str | None, typer.Option("--by", help="Who decides, as the ledger names them; asked for without.")]
Study = Annotated[str, typer.Argument(help="The study that waits.")]
Digest = Annotated[str | None, typer.Option("--contract", help="Only the contract with this digest, and no other.")]
Full = Annotated[bool, typer.Option("--full", help="Show the contract's whole text, too.")]


@answering("site.approve")
def approve(
    study: Study,
    *,
    config: Config = DEFAULT_CONFIG,
    by: By = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask; needs --by and --contract.")] = False,
    contract: Digest = None,
    full: Full = False,
) -> Answer:
    """Show what a study asks of this site, and let it begin, if you say yes."""
    return _decide(study, config, "approved", by, asked=not yes, contract=contract, full=full)


@answering("site.deny")
def deny(
    study: Study,
    *,
    config: Config = DEFAULT_CONFIG,
    by: By = None,
    reason: Annotated[str, typer.Option(help="Why; it stays in this site's ledger.")] = "",
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask; needs --by.")] = False,
    full: Full = False,
) -> Answer:
    """Show what a study asks of this site, and say no to it."""
    return _decide(study, config, "denied", by, reason=reason, asked=not yes, full=full)


def _decide(
    study: str,
    config: Path,
    verdict: Verdict,
    by: str | None,
    *,
    asked: bool,
    full: bool,
    reason: str = "",
    contract: str | None = None,
) -> Answer:
    from client.deciding import Deciding
    from shared.clock import utc_now

    reason, name = stated_reason(reason) or "", None if by is None else named_person(by)
    deciding = Deciding(folder_of(config), now=utc_now)
    waiting = deciding.waiting(study)
    if verdict == "approved" and not asked and contract is None:
        raise ConfigError(
            f"Nothing says which contract of {study} is approved; another one may have come since you looked.",
            remedy=f"Read it with `{about_site(config, 'approve', study)}`, and name it with --contract DIGEST.",
        )
    if contract not in (None, found := waiting.contract.digest()):
        raise ConfigError(
            f"What waits under the name {study} is the contract {found}, and not the one named; nothing was decided.",
            remedy=f"Read it with `{about_site(config, 'approve', study)}`, and decide anew.",
        )
    if asked:
        typer.echo(printable(in_words(waiting, full=full)), err=True)
    before = deciding.decided(waiting)
    if before is not None and before.verdict == verdict:
        return _answer(waiting, before, f"was {verdict} already by {before.person} on {before.decided[:19]}Z")
    person = name or named_person(_who())
    if asked:
        _insist_on_yes(study, config, verdict, person)
    decision = deciding.decide(waiting, verdict, person=person, reason=reason)
    return _answer(
        waiting, decision, f"is {verdict} by {decision.person}; the running site takes it up within a minute"
    )


def in_words(waiting: "Waiting", *, full: bool) -> str:
    """The study in plain words for 80 columns, beneath the contract's text without its table of tensors if in full."""
    contract = waiting.contract
    text = contract.model_dump_json(indent=1, exclude={"tensors"}, exclude_none=True) if full else ""
    lines = (
        textwrap.fill(
            line,
            WIDTH,
            initial_indent="- ",
            subsequent_indent="  ",
            break_long_words=False,
            break_on_hyphens=False,
        )
        for line in waiting.words
    )
    where = "its text stands above" if full else "see its text with --full"
    return "\n".join([*([text, ""] if full else []), *lines, "", f"The contract {contract.digest()}", f"({where})."])


def _insist_on_yes(study: str, config: Path, verdict: Verdict, person: str) -> None:
    does, other = ("approve", "deny") if verdict == "approved" else ("deny", "approve")
    if not typer.confirm(f"Do you, {person}, {does} this for the site?", err=True):
        raise ConfigError(
            f"{study} is not {verdict}, and waits.", remedy=f"See also `{about_site(config, other, study)}`."
        )


def _answer(waiting: "Waiting", decision: "Decision", what: str) -> Answer:
    said = decision.model_dump(mode="json") | {"words": list(waiting.words)}
    return Answer(said, f"{waiting.study} {what}.")


def _who() -> str:
    if not sys.stdin.isatty():
        raise ConfigError("Nobody said who decides; nothing was written.", remedy="Name yourself with --by NAME.")
    return str(typer.prompt("Your name, as the ledger shall have it", err=True))
