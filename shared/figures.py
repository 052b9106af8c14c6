"""Figures in the form in which Prometheus reads them: a table of what there is, and the samples of a moment.

Every name is in base units, and a counter's ends in `_total`, as Prometheus asks. A label is a study, a site or a code,
so that no page can name a patient or a path.
"""

from collections.abc import Iterable, Iterator
from typing import Literal, NamedTuple

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

Label = Literal["study", "site", "code"]


class Family(NamedTuple):
    """One figure: its name, what it says, and what it is told by."""

    name: str
    about: str
    labels: tuple[Label, ...] = ()


class Sample(NamedTuple):
    """One value of a figure: its name, the value, and the values of its labels in their order."""

    name: str
    value: float
    labels: tuple[str, ...] = ()


def metrics(families: Iterable[Family], samples: Iterable[Sample]) -> Iterator[Metric]:
    """All families with their samples; one without samples is there, too.

    Raises:
        KeyError: a sample is of no family.
    """
    made = {family.name: _empty(family) for family in families}
    for sample in samples:
        made[sample.name].add_metric(sample.labels, sample.value)
    yield from made.values()


def _empty(family: Family) -> CounterMetricFamily | GaugeMetricFamily:
    kind = CounterMetricFamily if family.name.endswith("_total") else GaugeMetricFamily
    return kind(family.name.removesuffix("_total"), family.about, labels=family.labels)
