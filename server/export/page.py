"""The card as one self-contained page for people, in the report's looks; it shows what the card says and no more."""

from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined

from server.report.words import counted, merit_in_words, share, size
from shared.model_card import ModelCard
from shared.tasks import task_for

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
    task = card.inputs.task
    merit = task_for(task).merit
    names = {merit: merit_in_words(merit, classes=len(task.classes))}
    return environment.get_template("card.html.jinja").render(card=card, merit=merit, names=names)
