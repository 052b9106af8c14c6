"""What `audit reconcile` and `audit budget` found, as sentences of the verdict and as sections of the evidence.

Nothing is decided here: the rules are those of `deploy/audit/reconcile.py`, `remade.py` and `spending.py`.
"""

from collections.abc import Iterator
from typing import Any

from deploy.audit.reconcile_words import MEANINGS
from deploy.audit.remade import Remade
from deploy.audit.remade_words import models_failure, models_line, not_covered
from deploy.audit.report.claim import Claim
from deploy.audit.report.compared import Compared
from deploy.audit.report.dossier import Dossier
from deploy.audit.report.section import Section
from deploy.audit.words import counted

_UNPAIRED = "Whether what left arrived and was added up rightly"


def journal_claims(dossier: Dossier) -> Iterator[Claim]:
    """Whether the coordinator's journals agree, and whether the models follow from what left."""
    for one in dossier.journals:
        yield _agreement(one)
        if one.found.open_points:
            many = counted(len(one.found.open_points), "point", "points")
            yield Claim("open", f"{one.found.study}: {many} that nobody can settle, as where a line broke.", "breaches")
        yield from _models(one)
    seen = {one.found.study for one in dossier.journals}
    if dossier.findings.broken is not None:
        yield Claim("open", f"{_UNPAIRED}: not compared, for the ledger is broken.", "journal")
    elif not dossier.journals:
        yield Claim("open", f"{_UNPAIRED}: not covered, no journal given.", "journal")
    elif missing := [name for name in dossier.findings.studies if name not in seen]:
        yield Claim("open", f"{_UNPAIRED} in {', '.join(missing)}: not covered, no journal given.", "journal")


def _agreement(one: Compared) -> Claim:
    found = one.found
    if not found.agrees:
        first, many = found.discrepancies[0], counted(len(found.discrepancies), "point", "points")
        text = f"{found.study}: ledger and journal part in {many}; first, round {first.round}: {first.what}."
        return Claim("broken", text, "breaches")
    mine = found.accounts[0]
    left = f"{found.study}: of {counted(mine.updates, 'update', 'updates')} that left by the ledger, {mine.arrived:,}"
    text = f"{left} stand in the coordinator's journal, by digest and bytes, and {mine.counted:,} counted by its word"
    if found.signed:
        return Claim("proven", f"{text}.", "journal")
    return Claim("declared", f"{text}; part of a book is not signed yet.", "journal")


def _models(one: Compared) -> Iterator[Claim]:
    study, remade = one.found.study, one.remade
    if (error := models_failure(remade)) is not None:
        yield Claim("broken", f"{study}: {error.what}", "journal")
    elif remade is None or not_covered(remade):
        yield Claim("open", f"{study}: whether its models follow from the updates: {_why_not(remade)}.", "journal")
    else:
        made = counted(len(remade.rounds), "model follows", "models follow")
        text = (
            f"{study}: {made} bit for bit from the updates in the coordinator's folder, the published one among them."
        )
        yield Claim("proven", text, "journal")
        whose = f"{study}: which updates are the other sites', and what each weighs: the coordinator's word."
        yield Claim("declared", whose, "journal")


def _why_not(remade: Remade | None) -> str:
    return "not covered, its folder was not given" if remade is None else f"not covered, {not_covered(remade)}"


def journal_section(dossier: Dossier) -> Section:
    """A row for each study."""
    return Section(
        "journal",
        "Beside the coordinator's journal",
        "The updates that left, held against the journal's word on what arrived and was counted; the ledger's bytes "
        "are with the message. And the models, made again bit for bit from the updates where these were kept.",
        ("study", "left", "arrived", "counted", "bytes left", "bytes arrived", "models"),
        [_journal_row(one) for one in dossier.journals],
        none="No journal was given with --journal or --study.",
    )


def journal_points(dossier: Dossier) -> Iterator[tuple[str, ...]]:
    """Where a journal and the ledger part, or leave something open: entry, kind and what."""
    for one in dossier.journals:
        for point in (*one.found.discrepancies, *one.found.open_points):
            place = f", round {point.round}" if point.round else ""
            yield "", f"journal of {one.found.study}{place}", f"{point.what}. {MEANINGS[point.code]}"


def _journal_row(one: Compared) -> tuple[str, ...]:
    mine, remade = one.found.accounts[0], one.remade
    if models_failure(remade) is not None:
        models = models_line(remade)
    else:
        models = _why_not(remade) if not_covered(remade) else f"{len(remade.rounds) if remade else 0} made again"
    figures = (mine.updates, mine.arrived, mine.counted, mine.bytes, mine.received)
    return one.found.study, *(f"{figure:,}" for figure in figures), models


# ------------------------------------------------------------------ the budget


def budget_claims(dossier: Dossier) -> Iterator[Claim]:
    """Whether everything that left a private study was charged, and what it came to."""
    said = dossier.budget
    if said is None:
        yield Claim("broken", "An entry about privacy cannot be read; what was spent is not known.", "privacy")
        return
    if not said["studies"]:
        return
    if said["uncovered"]:
        first, many = said["uncovered"][0], counted(len(said["uncovered"]), "time", "times")
        text = f"{many} something left a private study without a charge; first at entry {first['entry']}."
        yield Claim("broken", text, "privacy")
    else:
        text = "By its entries nothing left a private study but updates, each behind a charge that pays for it."
        yield Claim("declared", text, "privacy")
    for study in said["understated"]:
        yield Claim("broken", f"{study}: the site's own figure is below what its entries cost.", "privacy")
    yield Claim(
        "declared",
        f"Training was private: by its charges at most epsilon {rounded_up(said['epsilon'])} at delta "
        f"{said['delta']:g} for a patient who was in every round of every private study.",
        "privacy",
    )


def privacy_section(dossier: Dossier) -> Section:
    """Epsilon of each study, recomputed, beside the site's own figure."""
    said: dict[str, Any] = dossier.budget or {"studies": [], "uncovered": []}
    rows = [
        (
            *(one["study"], rounded_up(one["epsilon"]), _own_figure(one["claimed_epsilon"])),
            *(f"{one['charged']:,}", f"{one['updates']:,}", f"{_without(said, one['study']):,}"),
        )
        for one in said["studies"]
    ]
    return Section(
        "privacy",
        "Privacy spent",
        "Epsilon of one training patient in each study that trained privately (patient-level DP-SGD), recomputed by "
        "dp-accounting in Renyi DP from the mechanisms that the site wrote down before it trained. The site's own "
        "figure is that of its dearest patient over all studies until then.",
        ("study", "epsilon, at most", "the site said", "rounds charged", "updates", "without a charge"),
        rows,
        note=f"{dossier.privacy.count:,} entries charge, reserve or give back. The figure does not cover the rounding "
        "of floating-point noise, nor what leaves without noise.",
        none="No entry says that a study trained privately: what left carries no promise of that kind.",
    )


def rounded_up(epsilon: float) -> str:
    """An epsilon with two decimals, never below what it is."""
    return f"{-(-epsilon * 100 // 1) / 100:.2f}"


def _own_figure(epsilon: float | None) -> str:
    return "" if epsilon is None else f"{epsilon:.2f}"


def _without(said: dict[str, Any], study: str) -> int:
    return sum(one["study"] == study for one in said["uncovered"])
