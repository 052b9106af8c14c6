"""The page: the facts through one template, with its style and charts inside; everything is escaped.

Nothing on it is loaded from elsewhere, and no script runs.
"""

from dataclasses import dataclass
from importlib.metadata import version

from jinja2 import Environment, PackageLoader, StrictUndefined

from server.drift import FEWEST_ROUNDS
from server.report.charts import curve_of, grid_of, interval_scale
from server.report.facts import Facts
from server.report.fairness import LEVEL
from server.report.forest import forest_of
from server.report.multiples import HEIGHT, WIDTH, multiples_of
from server.report.participation import Seat
from server.report.privacy import rounded_up
from server.report.unusual import NAMES, doubt, figure_in_words
from server.report.words import METRICS, counted, duration, merit_in_words, share, size, spans

_DOING = {"score": "scoring", "train": "training"}
INTERVAL_WIDTH = 150.0
MOST_HEAT = 45  # percent
MOST_COLUMNS = 8  # of a table beside its heads, on paper
MOST_ROWS = 300  # of a table that names single rounds; the other file has all


@dataclass(frozen=True)
class Missed:
    """A site that did not count in a round."""

    round: int
    site: str
    seat: Seat


def render(facts: Facts, *, table: str = "report.csv") -> str:
    """The report as one HTML document; `table` is the name of the file with the same figures."""
    estimates = [facts.test.merit, *(site.test.merit for site in facts.sites)]
    machines = [site.machine for site in facts.sites if site.machine]
    return (
        _environment(table)
        .get_template("page.html.jinja")
        .render(
            facts=facts,
            name=METRICS[facts.about.measure],
            area=merit_in_words(facts.about.measure, classes=len(facts.about.classes)),
            curve=curve_of(
                facts.curve,
                name=METRICS[facts.about.measure],
                chosen=facts.choice.round if facts.choice else None,
            ),
            grid=grid_of(facts.rounds, [site.site for site in facts.sites]),
            interval=interval_scale(estimates, width=INTERVAL_WIDTH),
            forest=forest_of(facts.fairness.sites, level=LEVEL),
            interval_width=INTERVAL_WIDTH,
            multiples=multiples_of(facts.drift),
            settled=FEWEST_ROUNDS,
            missed=missed(facts),
            most_rows=MOST_ROWS,
            most_columns=MOST_COLUMNS,
            gaps=gaps(facts),
            phases=sorted({phase for site in facts.sites for phase in site.work.seconds}),
            software=sorted({name for machine in machines for name in machine.software}),
            release=version("wardround"),
        )
    )


def missed(facts: Facts) -> list[Missed]:
    """Every seat whose work did not count, then or later, by round and site."""
    return [
        Missed(opened.number, site, seat)
        for opened in facts.rounds
        for site, seat in opened.seats.items()
        if seat.state not in ("counted", "at work")
    ]


def gaps(facts: Facts) -> dict[tuple[str, str], list[str]]:
    """By split and reason, the sites whose figure or interval is missing."""
    found: dict[tuple[str, str], list[str]] = {}
    for site in facts.sites:
        for split, scored in (("validation", site.validation), ("test", site.test)):
            if scored.merit.why:
                found.setdefault((split, scored.merit.why), []).append(site.site)
    return found


def doing(phase: str) -> str:
    """A phase of a site's work as a noun."""
    return _DOING.get(phase, phase)


def heat(area: float) -> int:
    """How much of the colour, in percent, stands behind a figure, so that text stays legible on most.

    None stands behind figures up to 0.5, which is chance for an AUROC.
    """
    return round(MOST_HEAT * max(0.0, min(1.0, 2 * area - 1)))


def _environment(table: str) -> Environment:
    environment = Environment(
        loader=PackageLoader("server.report", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"size": size, "duration": duration, "share": share, "spans": spans, "doing": doing}
    environment.filters |= {"heat": heat, "epsilon": rounded_up}
    environment.globals |= {"counted": counted, "in_words": figure_in_words, "doubt": doubt, "names": NAMES}
    environment.globals |= {"table_name": table, "box_width": WIDTH, "box_height": HEIGHT}
    return environment
