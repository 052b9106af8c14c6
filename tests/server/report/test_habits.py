"""What was unusual, as the report draws and tells it."""

import csv
import io
from typing import Any

from server.drift import FEWEST_ROUNDS
from server.records import RoundCommitted, UpdateAdmitted
from server.report import write_report
from server.report.evidence import read_evidence
from server.report.facts import facts_of
from server.report.habits import Drift
from server.report.multiples import HEIGHT, MOST_SITES, WIDTH, multiples_of
from server.report.table import as_csv

LAST = FEWEST_ROUNDS + 2


def study(wards: Any, *, sites: tuple[str, ...] = ("north", "south", "west"), **slow: float) -> Any:
    """A study whose sites in `slow` train that much longer in the last two rounds."""
    ward = wards.new(wards.study(rounds=LAST), sites=sites).begin()
    for number in range(1, LAST + 1):
        ward.say(ward.opening(number))
        for site in sites:
            factor = slow.get(site, 1.0) if number > FEWEST_ROUNDS else 1.0
            steady = (ward.score(number - 1, site, skill=1.0),)
            ward.say(ward.ready(number, site, train_s=20.0 * factor, scores=steady), ward.spooled(number, site))
        ward.commit(number, *sites)
    return ward


def drift(ward: Any) -> Drift:
    return facts_of(read_evidence(ward.folder)).drift


def test_rounds_in_a_row_are_one_spell(wards: Any) -> None:
    found = drift(study(wards, south=4.0))
    (spell,) = found.unusual
    assert [(f.site, f.figure, f.round, f.since) for f in spell] == [
        ("south", "seconds", LAST - 1, LAST - 1),
        ("south", "seconds", LAST, LAST - 1),
    ]
    assert found.moves == {}


def test_what_moved_all_is_told_by_its_round(wards: Any) -> None:
    found = drift(study(wards, north=4.0, south=4.0, west=4.0))
    assert found.unusual == ()
    assert found.moves == {"seconds": (LAST - 1, LAST)}


def test_every_figure_of_every_site_is_watched(wards: Any) -> None:
    found = drift(study(wards))
    names = ("norm", "seconds", "examples", "loss", "auroc")
    assert [(w.site, w.figure) for w in found.watched] == [(s, n) for s in ("north", "south", "west") for n in names]
    assert all(list(w.values) == list(range(1, LAST + 1)) for w in found.watched)


def test_the_page_tells_who_when_what_and_what_to_ask(wards: Any) -> None:
    page = write_report(study(wards, south=4.0).folder).read_text(encoding="utf-8")
    for words in ("Unlike its own earlier rounds?", "training time", "1 min 20 s", "whether its machine or disk"):
        assert words in page
    quiet = write_report(study(wards).folder).read_text(encoding="utf-8")
    assert "Nothing was unusual at any single site." in quiet
    assert "judged from its 7th round on" in write_report(wards.finished().folder).read_text(encoding="utf-8")


def test_the_table_has_it_too(wards: Any) -> None:
    rows = list(csv.reader(io.StringIO(as_csv(facts_of(read_evidence(study(wards, south=4.0).folder))))))
    cells = {tuple(row[:4]): row[4] for row in rows}
    assert cells["unusual", "south", str(LAST), "seconds.value"] == "80.0"
    assert cells["unusual", "south", str(LAST), "seconds.since"] == str(LAST - 1)
    assert cells["unusual", "south", str(LAST), "seconds.alike"] == "0"
    assert "loss" in {row[3] for row in rows if row[0] == "watched"}


def test_marks_and_lines_lie_in_their_boxes(wards: Any) -> None:
    rows = multiples_of(drift(study(wards, south=4.0))).rows
    assert list(rows) == ["north", "south", "west"]
    marks = {site: [mark for box in boxes if box for mark in box.marks] for site, boxes in rows.items()}
    assert [len(found) for found in marks.values()] == [0, 2, 0]
    for mark in marks["south"]:
        assert 0 < mark.x < WIDTH
        assert 0 < mark.y < HEIGHT


def test_a_figure_that_was_never_given_has_no_box(wards: Any) -> None:
    ward = wards.new(sites=("north",)).begin()
    ward.say(ward.opening(1), ward.ready(1, "north", scores=(), seconds={}))
    ward.say(UpdateAdmitted(round=1, site="north", update_digest="a" * 64, examples=9, norm=1.0))
    models = {"model_digest": "b" * 64, "previous_digest": ward.score(0, "north").model_digest}
    ward.say(RoundCommitted(round=1, epoch=1, **models, counted=("north",)))
    found = multiples_of(drift(ward))
    assert found.figures == ("size of its update", "images trained on")
    assert all(box is not None for box in found.rows["north"])


def test_of_a_crowd_only_those_with_something_unusual_are_drawn(wards: Any) -> None:
    sites = tuple(f"site-{n:02d}" for n in range(MOST_SITES + 1))
    found = multiples_of(drift(study(wards, sites=sites, **{"site-07": 4.0})))
    assert (list(found.rows), found.left_out) == (["site-07"], MOST_SITES)
