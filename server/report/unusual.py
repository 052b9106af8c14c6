"""What is unusual at a site, in plain words: which figure, since when, what it usually is, and what to ask."""

from server.drift import Finding
from server.report.words import counted, duration, share

NAMES = {
    "norm": "size of its update",
    "seconds": "training time",
    "examples": "images trained on",
    "loss": "validation loss",
    "auroc": "validation AUROC",
    "dice": "validation Dice",
    "ssim": "validation SSIM",
}
_ASK = {
    "norm": "its images, labels, preprocessing or software have changed",
    "seconds": "its machine or disk is shared, throttled or another one",
    "examples": "images were added or taken away",
    "loss": "its validation patients, labels or preprocessing have changed",
    "auroc": "its validation patients, labels or preprocessing have changed",
    "dice": "its validation patients, masks or preprocessing have changed",
    "ssim": "its validation patients or preprocessing have changed",
}


def figure_in_words(figure: str, value: float) -> str:
    """A value of a watched figure, with its unit."""
    match figure:
        case "seconds":
            return duration(value)
        case "examples":
            return counted(round(value), "image")
        case "norm":
            return f"{value:.3g}"
    return share(value)


def told(found: Finding) -> str:
    """One finding without its site and full stop: which figure, what it was and usually is, and since when."""
    since = f"since round {found.since}" if found.since < found.round else f"in round {found.round}"
    return f"{told_shortly(found)}, {since}"


def told_shortly(found: Finding) -> str:
    """The same without since when."""
    value, usual = (figure_in_words(found.figure, number) for number in (found.value, found.usual))
    return f"{NAMES[found.figure]} {value}, usually {usual}"


def question(found: Finding) -> str:
    """What to ask the site, in a sentence."""
    return f"Ask it {doubt(found)}."


def doubt(found: Finding) -> str:
    """What to ask the site."""
    return f"whether {_ASK[found.figure]}"
