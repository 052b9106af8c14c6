"""`wardround audit`: what an auditor types, offline, with exported files and public keys alone."""

import time
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from deploy.audit import reconcile_words
from deploy.audit.anchors import Anchor, read_anchors
from deploy.audit.asking import Question, questions
from deploy.audit.books import read_journal, read_ledger, signed_entries, signer_of
from deploy.audit.checked_entries import CheckedEntries
from deploy.audit.examine import examine
from deploy.audit.keys import Signer, coordinator_of, read_signer, shown, signer_among, with_coordinator
from deploy.audit.reading import insist_on_signer, signed, sound_entries
from deploy.audit.reconcile import reconcile as lay_side_by_side
from deploy.audit.remade import remake
from deploy.audit.remade_words import models_data, models_failure, models_line
from deploy.audit.report.compared import compare
from deploy.audit.report.write import checked_page, written_page
from deploy.audit.words import data, failure, page
from shared.console import Answer, answering, printable
from shared.errors import ConfigError
from shared.identity import COORDINATOR
from shared.image_list import LONGEST_SHOWN, read_shown
from shared.ledger import read_lines
from shared.openings import LONGEST_OPENING

app = typer.Typer(no_args_is_help=True, help="Auditor: check ledgers offline, against what others hold.")

File = Annotated[Path, typer.Argument(metavar="FILE", help="The ledger: a site's export, or a study's journal.")]

Key = Annotated[str, typer.Option(help="Whose key: a key card, a signed roster, a PEM file, or 64 hex digits.")]
MaybeKey = Annotated[
    str | None, typer.Option("--key", help="Whose key, to hold the signatures too; without it the chain alone is.")
]
Name = Annotated[str | None, typer.Option(help="Whose ledger it is, where the key does not say.")]
Heads = Annotated[
    list[str] | None, typer.Option(help="A head that another party holds: a journal, a list of heads, or HEX:WHO.")
]
Coordinator = Annotated[
    str | None, typer.Option(help="The coordinator's key, for journals, where --key does not know it.")
]


@app.command()
@answering("audit.verify")
def verify(
    file: File,
    *,
    key: Key,
    signer: Name = None,
    head: Heads = None,
    coordinator: Coordinator = None,
) -> Answer:
    """Check a ledger's chain, signatures and releases, and hold its end against what others hold."""
    _there(file)
    who, anchors = _signer_and_anchors(key, signer, coordinator, head)
    insist_on_signer(file, who.name)
    began = time.perf_counter()
    found = examine(read_lines(file), who, anchors)
    seconds = time.perf_counter() - began
    said = {"ledger": str(file)} | data(found, who, seconds=seconds)
    return Answer(said, page(found, who, file=file.name, seconds=seconds), failure(found))


@app.command()
@answering("audit.report")
def report(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The ledger; with --verify, the page.")],
    *,
    key: Key,
    signer: Name = None,
    head: Heads = None,
    coordinator: Coordinator = None,
    journal: Annotated[
        list[Path] | None, typer.Option(help="A study's journal, to be laid beside the ledger; holds heads, too.")
    ] = None,
    study: Annotated[
        list[Path] | None, typer.Option(help="A study's folder with its journal, to make its models again.")
    ] = None,
    sign: Annotated[
        Path | None, typer.Option(help="The private Ed25519 key that signs the page: yours, or the site's own.")
    ] = None,
    to: Annotated[Path | None, typer.Option(help="Where to write the page.", show_default="beside the ledger")] = None,
    check: Annotated[
        bool, typer.Option("--verify", help="Check the signature of a page; --key is its signer's.")
    ] = False,
) -> Answer:
    """Write one signed page of what a ledger shows, for people and for paper."""
    _there(file, kind="page" if check else "ledger")
    if check:
        return checked_page(file, read_signer(key, signer))
    if sign is None:
        raise ConfigError("Nobody would have signed the page.", remedy="Name a private Ed25519 key with --sign.")
    journals, studies = journal or [], study or []
    books = [*journals, *(folder / "journal.jsonl" for folder in studies)]
    who, anchors = _signer_and_anchors(key, signer, coordinator, [*(head or ()), *map(str, books)])
    insist_on_signer(file, who.name)
    return written_page(
        file,
        who,
        anchors,
        journals=lambda: compare(file, who, journals, studies),
        key=sign,
        to=to or file.with_suffix(".html"),
        now=time.time(),
    )


@app.command()
@answering("audit.reconcile")
def reconcile(
    journal: Annotated[Path, typer.Argument(metavar="JOURNAL", help="A study's journal.jsonl.")],
    ledgers: Annotated[list[Path], typer.Argument(metavar="LEDGER...", help="Sites' exported ledgers.")],
    *,
    key: Annotated[list[str], typer.Option(help="Whose keys: the sites' key cards, or the signed roster.")],
    coordinator: Annotated[
        str | None, typer.Option(help="The coordinator's key, where --key does not know it.")
    ] = None,
    study: Annotated[
        Path | None, typer.Option(help="The study's folder, to make each model again from the updates kept there.")
    ] = None,
) -> Answer:
    """Lay sites' ledgers beside the coordinator's journal: did what left arrive, and does each round add up?"""
    _there(journal, kind="journal")
    for file in ledgers:
        _there(file)
    signers = {file: signer_among(key, signer_of(file)) for file in ledgers}
    theirs = coordinator_of(signers.values(), coordinator)
    book = read_journal(journal, theirs)
    found = lay_side_by_side(book, [read_ledger(file, signer, book) for file, signer in signers.items()])
    remade = None if study is None else remake(signed_entries(journal, book), study)
    said = {"journal": str(journal), "ledgers": [str(file) for file in ledgers]} | reconcile_words.data(found)
    said |= models_data(remade)
    said["fingerprints"] = {signer.name: signer.fingerprint for signer in signers.values()}
    said["fingerprints"][COORDINATOR] = shown(theirs)
    page = reconcile_words.page(found, models=models_line(remade))
    return Answer(said, page, reconcile_words.failure(found) or models_failure(remade))


@app.command("image-list")
@answering("audit.image_list")
def image_list(
    file: File,
    lists: Annotated[Path, typer.Argument(metavar="LISTS", help="What `wardround site image-list` wrote.")],
    *,
    key: Key,
    signer: Name = None,
) -> Answer:
    """Hold the list of images that a site shows against the hash in its ledger."""
    from deploy.audit.image_list_words import list_data, list_failure, list_page
    from deploy.audit.image_lists import hold_against

    _there(file)
    who, shown = read_signer(key, signer), read_shown(_whole(lists))
    insist_on_signer(file, who.name)
    found = hold_against(signed(sound_entries(file, who.key, who.name)), shown, site=who.name)
    return Answer({"ledger": str(file)} | list_data(found), list_page(found), list_failure(found))


@app.command()
@answering("audit.openings")
def openings(
    file: File,
    kept: Annotated[Path, typer.Argument(metavar="OPENINGS", help="The openings that the site exported.")],
    *,
    key: Key,
    signer: Name = None,
    coordinator: Coordinator = None,
) -> Answer:
    """Show who asked the site for what, under the coordinator's signature, and what it agreed to."""
    from deploy.audit.openings import requests, requests_data, requests_failure, requests_page

    _there(file)
    _there(kept, kind="file of openings")
    who, _ = _signer_and_anchors(key, signer, coordinator, None)
    insist_on_signer(file, who.name)
    entries = signed(sound_entries(file, who.key, who.name))
    with kept.open("rb") as opened:
        found = requests(entries, iter(lambda: opened.readline(LONGEST_OPENING), b""), who)
    return Answer({"ledger": str(file)} | requests_data(found), requests_page(found), requests_failure(found))


@app.command()
@answering("audit.anchors")
def anchors(file: File, *, key: MaybeKey = None, signer: Name = None) -> Answer:
    """Say what to ask of whom, so that a ledger shows more than the site's own word."""
    _there(file)
    entries = _checked(file, key, signer)
    asked = questions(entries)
    return Answer(
        {"ledger": str(file), "ask": [asdict(question) for question in asked]} | entries.data(),
        Text(
            "\n".join(map(_told, asked))
            + f"\n\n{entries.words()}"
            + "\n\nA key is right only if its fingerprint stands in what was signed on paper."
            + "\nThen: wardround audit verify FILE --key KEY-CARD --head JOURNAL"
        ),
    )


@app.command()
@answering("audit.budget")
def budget(
    file: File,
    *,
    key: MaybeKey = None,
    signer: Name = None,
    delta: Annotated[
        float | None, typer.Option(min=1e-15, max=1e-3, help="Compose at this delta, not at the site's own.")
    ] = None,
) -> Answer:
    """Recompute what private studies cost a patient, and look for what left them without a charge."""
    from deploy.audit.budget_words import budget_data, budget_failure, budget_page  # the accountant takes its time
    from deploy.audit.spending import spent

    _there(file)
    entries = _checked(file, key, signer)
    said = {"ledger": str(file)} | budget_data(spent(entries), delta=delta) | entries.data()
    return Answer(said, budget_page(said, file=file.name, checked=entries.words()), budget_failure(said))


def _checked(file: Path, key: str | None, signer: str | None) -> CheckedEntries:
    if key is None and signer is not None:
        raise ConfigError("A name alone checks no signature.", remedy="Name the key too, with --key.")
    who = None if key is None else read_signer(key, signer)
    if who is not None:
        insist_on_signer(file, who.name)
    return CheckedEntries(file, who)


def _signer_and_anchors(
    key: str, signer: str | None, coordinator: str | None, head: list[str] | None
) -> tuple[Signer, list[Anchor]]:
    """Whose ledger it is, and what others hold of it."""
    who = with_coordinator(read_signer(key, signer), coordinator)
    return who, [anchor for given in head or () for anchor in read_anchors(given, who)]


def _told(question: Question) -> str:
    holds = (
        ""
        if question.head is None
        else f"\n  it should hold the head of entry {question.entry}, {question.head[:16]}..."
    )
    return printable(f"Ask {question.whom} for\n  {question.what}{holds}")


def _whole(lists: Path) -> bytes:
    try:
        with lists.open("rb") as file:
            return file.read(LONGEST_SHOWN)
    except OSError:
        raise ConfigError(f"There is no file of image lists at {lists}.", remedy="Ask the site for it.") from None


def _there(file: Path, *, kind: str = "ledger") -> None:
    if not file.is_file():
        raise ConfigError(f"There is no {kind} at {file}.", remedy="Name the file that you were handed.")
