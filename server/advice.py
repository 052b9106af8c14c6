"""Which method suits the sites: a rule over how many training images of each class each site has.

The skew is the mean over sites, by images, of the total variation between a site's classes and the
federation's: 0 where every site has the same mix, towards 1 where each has a class of its own. The rule
was drawn from `wardround bench methods`; it is advice, and decides nothing. Whether the coordinator may
know these counts is for the sites to say: they are not in the journal.
"""

import tomllib
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, NamedTuple

from pydantic import Field, TypeAdapter, ValidationError

from shared.errors import ConfigError
from shared.fields import ClassName, Name
from shared.wire import Count

SKEWED = 0.05
UNEQUAL = 4.0  # the largest site in sizes of the smallest: then their steps differ, too

Labels = Mapping[str, Mapping[str, int]]
_LABELS = TypeAdapter(
    Annotated[dict[Name, Annotated[dict[ClassName, Count], Field(min_length=1)]], Field(min_length=2)]
)


class Advice(NamedTuple):
    """A method by its keys of `[training]`, and why."""

    training: dict[str, str | float]
    skew: float
    reason: str

    def words(self) -> str:
        """The advice as one sentence."""
        keys = ", ".join(f"{key} = {value}" for key, value in self.training.items())
        return f"Advised for these sites: {keys}; {self.reason}."


def read_labels(path: Path) -> Labels:
    """By site and class, the number of training images, from a TOML table per site.

    Raises:
        ConfigError: the file is absent, or not of that form.
    """
    try:
        found = _LABELS.validate_python(tomllib.loads(path.read_text(encoding="utf-8")))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError, ValidationError):
        found = {}
    if not any(count for site in found.values() for count in site.values()):
        raise ConfigError(
            f"{path} holds no label counts of two sites.",
            remedy="Write a table per site: [site-1], then one line per class, such as opacity = 120.",
        )
    return found


def advise(labels: Labels) -> Advice:
    """The method for sites with these labels."""
    skew = skew_of(labels)
    sizes = [sum(site.values()) for site in labels.values()]
    if skew > SKEWED:
        reason = f"the sites' classes differ (skew {skew:.2f}), and their local work would drift apart"
        return Advice({"algorithm": "scaffold", "momentum": 0.0, "learning_rate": 0.15}, skew, reason)
    if max(sizes) > UNEQUAL * min(sizes):
        reason = f"the sites' classes are alike (skew {skew:.2f}), their numbers of images are not"
        return Advice({"algorithm": "fednova"}, skew, reason)
    return Advice({"algorithm": "fedavg"}, skew, f"the sites are alike in classes (skew {skew:.2f}) and in size")


def skew_of(labels: Labels) -> float:
    """The skew of the module's head, from 0 below 1."""
    together = sum((Counter(site) for site in labels.values()), Counter[str]())
    total = together.total()
    skew = 0.0
    for site in labels.values():
        size = sum(site.values())
        apart = sum(abs(site.get(name, 0) / size - count / total) for name, count in together.items()) if size else 0.0
        skew += size / total * apart / 2
    return skew
