"""What a study's task asks of an image, in the words that complete "to tell ..."."""

from shared.study import TaskSpec


def asked_in_words(task: TaskSpec) -> str:
    """The question of a task, about one image."""
    names = ", ".join(task.classes)
    if task.kind == "segmentation":
        return f"where an image shows {names}"
    match task.mode:
        case "binary":
            return f"whether an image shows {names}"
        case "multiclass":
            return f"which of these an image shows: {names}"
        case "multilabel":
            return f"which of these an image shows, none or several: {names}"
