"""The card as one self-contained page for people, in the report's looks; it shows what the card says and no more."""

from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined

from server.export.flow import FIGURES
from server.report.words import counted, share, size
from shared.model_card import ModelCard

_PLOT = 260.0  # px of the calibration plot's edge


def render(card: ModelCard) -> str:
    """The card as an HTML document."""
    environment = Environment(
        loader=ChoiceLoader([PackageLoader("server.export", "."), PackageLoader("server.report", ".")]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"share": share, "size": size}
    environment.globals |= {"counted": counted, "plot": _PLOT}
    return environment.get_template("card.html.jinja").render(card=card, names=FIGURES | {"auroc": _area(card)})


def _area(card: ModelCard) -> str:
    return "macro AUROC" if len(card.inputs.task.classes) > 1 else "AUROC"
