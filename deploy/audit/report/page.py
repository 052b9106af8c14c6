"""The page as one HTML document: nothing on it is loaded from elsewhere, no script runs, and everything is escaped."""

from importlib.metadata import version
from itertools import groupby

from jinja2 import Environment, PackageLoader, StrictUndefined

from deploy.audit.report.claim import BELOW, TITLES
from deploy.audit.report.claims import claims, headline
from deploy.audit.report.dossier import Dossier
from deploy.audit.report.law import MAPPINGS
from deploy.audit.report.sections import sections

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
        trim_blocks=True,
        lstrip_blocks=True,
    )
