"""The page as one HTML document: nothing on it is loaded from elsewhere, no script runs, and everything is escaped."""

from importlib.metadata import version
from itertools import groupby
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from deploy.audit.report.claim import BELOW, TITLES
from deploy.audit.report.claims import claims, headline, in_plain_words
from deploy.audit.report.dossier import Dossier
from deploy.audit.report.law import MAPPINGS
from deploy.audit.report.sections import sections
from shared.console import printable

_LONGEST = 1000  # characters of what an entry, or a name in it, may bring onto the page
_ORDER = ("broken", "proven", "declared", "open")


def render(dossier: Dossier, *, signed_by: str, fingerprint: str) -> str:
    """The report; `signed_by` and `fingerprint` say whose signature lies beside it."""
    told = sorted(claims(dossier), key=lambda claim: _ORDER.index(claim.standing))
    grouped = {standing: list(group) for standing, group in groupby(told, key=lambda claim: claim.standing)}
    shown = sections(dossier)
    return (
        _environment()
        .get_template("page.html.jinja")
        .render(
            dossier=dossier,
            verdict=headline(dossier),
            meaning=in_plain_words(dossier),
            grouped=grouped,
            titles=TITLES,
            below=BELOW,
            sections=shown,
            names={section.id: section.title for section in shown},
            mappings=MAPPINGS,
            signed_by=signed_by,
            fingerprint=fingerprint,
            release=version("wardround"),
        )
    )


def _environment() -> Environment:
    return Environment(
        loader=PackageLoader("deploy.audit.report", "."),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_shown,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def _shown(value: Any) -> Any:
    """No character that turns the text around, or hides some of it, and no more than anybody reads."""
    if not isinstance(value, str):
        return value
    return printable(value if len(value) <= _LONGEST else f"{value[:_LONGEST]}...")
