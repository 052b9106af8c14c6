"""Two studies side by side: settings that differ and figures, nothing made up where one has none."""

from typing import Any

from server.report.comparison import compared
from server.report.evidence import read_evidence
from server.report.facts import facts_of


def test_settings_that_differ_are_named_and_no_others(wards: Any) -> None:
    one, other = wards.finished(), wards.new(wards.study(rounds=5, description="another")).begin()
    found = compared(read_evidence(one.folder), read_evidence(other.folder))
    assert [(setting.key, setting.a, setting.b) for setting in found.differ] == [("rounds.count", 3, 5)]


def test_figures_stand_beside_each_other(wards: Any) -> None:
    one, other = wards.finished(), wards.new(sites=("north", "south")).begin().whole_round(1)
    other.say(other.opening(2), other.ready(2, "north"), other.spooled(2, "north"))
    other.commit(2, "north", absent={"south": "waiting"})
    found = compared(read_evidence(one.folder), read_evidence(other.folder))
    assert (found.a.rounds, found.a.counted, found.a.seats, found.a.update_bytes) == (3, 9, 9, 9000)
    assert (found.b.rounds, found.b.counted, found.b.seats, found.b.update_bytes) == (2, 3, 4, 3000)
    assert found.a.test.low is not None
    fair = facts_of(read_evidence(one.folder)).fairness
    assert found.b.test.why == "no site scored it"
    assert (found.a.worst_merit, found.a.gap) == (fair.worst_merit, fair.gap)
    assert found.a.worst_site in one.sites
    assert (found.a.patients, found.b.patients) == (600, 300)
    assert not found.same_model


def test_equal_models_are_noticed_and_missing_ones_are_not_equal(wards: Any) -> None:
    one, other, none = wards.finished(), wards.finished(), wards.new()
    assert compared(read_evidence(one.folder), read_evidence(other.folder)).same_model
    assert not compared(read_evidence(none.folder), read_evidence(none.folder)).same_model
    assert compared(read_evidence(none.folder), read_evidence(none.folder)).a.seconds is None
