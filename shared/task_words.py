"""What a study's task asks of an image, in the words that complete "to tell ..."."""

from shared.drawing_rules import BOUNDING_EPSILON
from shared.study import TaskSpec

_MEMORISED = (
    f" (it trains without [privacy], or with so little noise that an epsilon above {BOUNDING_EPSILON:g} bounds nothing:"
    " the model CAN MEMORISE images of patients and GIVE THEM BACK)"
)


def asked_in_words(task: TaskSpec) -> str:
    """The question of a task, about one image."""
    names = ", ".join(task.classes)
    if task.kind == "segmentation":
        return f"where an image shows {names}"
    if task.kind == "generation":
        return f"how images of {names} look, and to draw such images{_MEMORISED if task.accept_memorisation else ''}"
    match task.mode:
        case "binary":
            return f"whether an image shows {names}"
        case "multiclass":
            return f"which of these an image shows: {names}"
        case "multilabel":
            return f"which of these an image shows, none or several: {names}"
