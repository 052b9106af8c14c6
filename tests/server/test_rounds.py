"""A round decides who is asked, who may upload and when it is over; it never lets more bytes travel than agreed."""

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from server.rounds import LONGEST_WAIT_S, SETTLED, Phase, Round
from shared.address import Address, Stage
from shared.wire import Counts, Ready

SITES = ("east", "north", "south", "west")
MODEL = "a" * 64
SIZE = 100  # bytes of one update


def a_round(**changes: object) -> Round:
    fields: dict = {
        "stage": Stage.TRAIN,
        "number": 1,
        "cohort": SITES,
        "quorum": 2,
        "opened_at": 0.0,
        "deadline_s": 60.0,
        "update_bytes": SIZE,
        "slot_bytes": 2 * SIZE,
        "lease_s": 10.0,
    }
    return Round(**(fields | changes))


def report(*, uploaded: bool = False, update: str | None = "b" * 64) -> Ready:
    return Ready(
        address=Address(study="s", epoch=1, round=1, attempt=1, stage=Stage.TRAIN),
        model_digest=MODEL,
        update_digest=update,
        update_bytes=SIZE if update else 0,
        uploaded=uploaded,
        replayed=False,
        counts=Counts(examples=1, patients=1, steps=1),
        scores=(),
        seconds={},
    )


def finish(state: Round, site: str, now: float) -> None:
    state.spooled(site, now=now)
    state.admitted(site, now=now)


def test_only_sites_that_are_online_are_asked_and_each_once() -> None:
    state = a_round()
    assert [ask.site for ask in state.asks({"north", "south", "a-stranger"}, now=0)] == ["north", "south"]
    assert [ask.site for ask in state.asks(SITES, now=1)] == ["east", "west"]
    assert state.asks(SITES, now=2) == []


def test_as_many_slots_are_granted_with_the_question_as_fit() -> None:
    asks = a_round().asks(SITES, now=0)
    assert [ask.slot_granted for ask in asks] == [True, True, False, False]


def test_one_update_may_travel_even_if_it_is_larger_than_all_slots() -> None:
    asks = a_round(slot_bytes=1).asks(SITES, now=0)
    assert [ask.slot_granted for ask in asks] == [True, False, False, False]


def test_a_site_whose_update_the_server_holds_needs_no_slot() -> None:
    asks = a_round().asks(SITES, now=0, spooled={"east", "north"})
    assert [ask.slot_granted for ask in asks] == [False, False, True, True]


def test_no_slot_is_given_where_no_update_is_wanted() -> None:
    state = a_round(stage=Stage.EVALUATE, update_bytes=0, slot_bytes=0)
    assert not any(ask.slot_granted for ask in state.asks(SITES, now=0))
    state.ready("north", report(update=None), now=1)
    assert state.seats["north"].phase is Phase.ADMITTED


def test_the_longest_ready_site_gets_the_next_free_slot() -> None:
    state = a_round()
    state.asks(SITES, now=0)
    state.ready("west", report(), now=1)
    state.ready("south", report(), now=2)
    assert state.grants(now=3) == []
    state.ready("east", report(uploaded=True), now=3)
    finish(state, "east", now=4)
    assert state.grants(now=5) == ["west"]
    assert state.seats["south"].phase is Phase.READY


def test_a_site_that_reports_without_its_update_gives_its_slot_back() -> None:
    state = a_round(cohort=("east", "north"), slot_bytes=SIZE)
    state.asks(SITES, now=0)
    state.ready("north", report(), now=1)
    state.ready("east", report(), now=2)
    assert state.grants(now=2) == ["north"]


def test_a_slot_that_stands_still_is_taken_back_only_when_another_site_waits() -> None:
    state = a_round(cohort=("east", "north"), slot_bytes=SIZE)
    state.asks(SITES, now=0)
    assert state.grants(now=100) == []
    assert state.seats["east"].holds_slot
    state.ready("north", report(), now=100)
    assert state.grants(now=100) == ["north"]
    assert not state.seats["east"].holds_slot


def test_progress_keeps_a_slot() -> None:
    state = a_round(cohort=("east", "north"), slot_bytes=SIZE)
    state.asks(SITES, now=0)
    state.ready("east", report(uploaded=True), now=1)
    state.ready("north", report(), now=1)
    state.progress("east", share=0.5, now=9)
    assert state.grants(now=15) == []
    assert state.grants(now=20) == ["north"]


def test_a_late_holder_is_received_all_the_same() -> None:
    state = a_round(cohort=("east", "north"), slot_bytes=SIZE, quorum=1)
    state.asks(SITES, now=0)
    state.ready("north", report(), now=20)
    state.grants(now=20)
    state.ready("east", report(uploaded=True), now=21)
    finish(state, "east", now=22)
    finish(state, "north", now=22)
    assert state.closing(22).counted == ("east", "north")


def test_a_lost_site_is_asked_again_when_it_is_back() -> None:
    state = a_round()
    state.asks(SITES, now=0)
    state.lost("north", "line_lost", now=1)
    assert not state.seats["north"].holds_slot
    assert state.asks(set(SITES) - {"north"}, now=2) == []
    again = state.asks(SITES, now=3)
    assert [(ask.site, ask.attempt, ask.slot_granted) for ask in again] == [("north", 2, True)]
    assert state.seats["north"].cause is None


def test_a_settled_site_is_not_lost_any_more() -> None:
    state = a_round()
    state.asks(SITES, now=0)
    finish(state, "north", now=1)
    state.refused("south", "no_data", now=1)
    for site in ("north", "south"):
        state.lost(site, "line_lost", now=2)
    assert state.asks(SITES, now=3) == []
    assert state.seats["south"].cause == "no_data"


def test_the_round_closes_when_every_seat_is_settled() -> None:
    state = a_round()
    state.asks(SITES, now=0)
    for site in ("east", "north"):
        finish(state, site, now=1)
    state.refused("south", "not_finite", now=1)
    assert state.closing(1) is None
    state.refused("west", "no_data", now=1)
    closing = state.closing(1)
    assert closing.counted == ("east", "north")
    assert closing.missing == {"south": "not_finite", "west": "no_data"}
    assert closing.enough


def test_at_the_deadline_the_quorum_decides_and_the_missing_are_named() -> None:
    state = a_round(quorum=2)
    state.asks(("east", "north", "south"), now=0)
    finish(state, "east", now=1)
    state.ready("north", report(), now=2)
    state.lost("south", "line_lost", now=3)
    assert state.closing(59.9) is None
    closing = state.closing(60.0)
    assert not closing.enough
    assert closing.missing == {"north": "ready", "south": "line_lost", "west": "waiting"}
    finish(state, "north", now=60)
    assert state.closing(60.0).enough


def test_the_grace_begins_when_the_quorum_is_complete() -> None:
    state = a_round(quorum=2, grace_s=5.0)
    state.asks(SITES, now=0)
    finish(state, "east", now=10)
    assert (state.closes_at, state.closing(50)) == (60.0, None)
    finish(state, "north", now=20)
    assert (state.closes_at, state.closing(24.9)) == (25.0, None)
    finish(state, "south", now=24.9)
    assert state.closes_at == 25.0
    assert state.closing(25.0).counted == ("east", "north", "south")


def test_the_grace_never_outlasts_the_deadline() -> None:
    state = a_round(quorum=1, grace_s=500.0)
    state.asks(SITES, now=0)
    finish(state, "east", now=1)
    assert state.closing(59.9) is None
    assert state.closing(60.0).enough


def test_no_grace_closes_the_round_with_its_quorum_but_not_over_an_update_under_examination() -> None:
    state = a_round(quorum=1, grace_s=0.0)
    state.asks(SITES, now=0)
    state.ready("north", report(uploaded=True), now=1)
    state.spooled("north", now=2)
    finish(state, "east", now=2)
    assert state.closing(3) is None
    state.admitted("north", now=3)
    assert state.closing(3).counted == ("east", "north")


def test_a_full_buffer_closes_the_round_at_once_and_whoever_works_on_is_late() -> None:
    state = a_round(quorum=1, buffer=2)
    state.asks(SITES, now=0)
    finish(state, "east", now=1)
    assert (state.closes_at, state.closing(1)) == (60.0, None)
    finish(state, "north", now=2)
    closing = state.closing(2)
    assert (closing.counted, closing.late) == (("east", "north"), {"south": "asked", "west": "asked"})


def test_at_the_deadline_the_quorum_decides_over_a_buffer_that_is_not_full() -> None:
    state = a_round(quorum=2, buffer=3)
    state.asks(SITES, now=0)
    finish(state, "east", now=1)
    assert not state.closing(60).enough
    finish(state, "north", now=59)
    assert state.closing(59) is None
    assert state.closing(60).enough


def an_upload_at_a_full_buffer(**changes: object) -> Round:
    state = a_round(quorum=1, buffer=1, lease_s=10.0, **changes)
    state.asks(SITES, now=0)
    state.ready("north", report(uploaded=True), now=1)
    finish(state, "east", now=2)
    return state


def test_a_full_buffer_lets_in_an_update_that_comes_within_the_lease() -> None:
    state = an_upload_at_a_full_buffer()
    state.progress("north", share=0.5, now=9)
    assert state.closing(11.9) is None
    assert state.closing(12).late == {"north": "granted", "south": "asked", "west": "asked"}
    finish(state, "north", now=11.9)
    assert state.closing(11.9).counted == ("east", "north")


@pytest.mark.parametrize(
    ("share", "waits"),
    [(0.2, True), (0.1, False), (0.0, False)],
    ids=["whole in time", "too slow", "nothing is here"],
)
def test_an_upload_that_the_round_before_cut_off_is_waited_for_if_its_pace_brings_it(share: float, waits: bool) -> None:
    state = an_upload_at_a_full_buffer(cut_off=["north"])
    state.progress("north", share=share, now=11)
    assert state.closing(11) is None
    assert (state.closing(12) is None) == waits
    state.progress("north", share=0.6, now=20)
    assert state.closing(30) is None
    assert state.closing(30.1).late["north"] == "granted"  # it stands still


def test_a_full_buffer_gives_no_slot_any_more() -> None:
    sites = tuple(f"site-{n}" for n in range(6))
    state = a_round(cohort=sites, quorum=1, buffer=1)
    state.asks(sites[:5], now=0)  # the first two with a slot
    for site in sites[2:5]:
        state.ready(site, report(), now=1)
    for site in sites[:2]:
        state.ready(site, report(uploaded=True), now=1)
    assert state.grants(now=1) == []
    finish(state, sites[0], now=2)
    assert state.grants(now=2) == []
    assert [ask.slot_granted for ask in state.asks(sites, now=2)] == [False]
    assert state.closing(2) is None
    finish(state, sites[1], now=3)
    closing = state.closing(3)
    assert closing.counted == sites[:2]
    assert closing.late == dict.fromkeys(sites[2:5], "ready") | {sites[5]: "asked"}


def test_a_full_buffer_lets_in_no_update_past_the_deadline() -> None:
    state = a_round(quorum=1, buffer=1)
    state.asks(SITES, now=0)
    state.ready("north", report(uploaded=True), now=1)
    finish(state, "east", now=2)
    state.progress("north", share=0.9, now=59)
    assert state.closing(60).late["north"] == "granted"


def test_slots_go_with_the_question_to_whom_they_are_for_in_that_order() -> None:
    state = a_round(slots_for=("west", "north", "east"))
    asks = {ask.site: ask.slot_granted for ask in state.asks(SITES, now=0)}
    assert asks == {"west": True, "north": True, "east": False, "south": False}


def test_late_refused_and_absent_are_told_apart() -> None:
    cohort = ("announced", "counts", "cut", "never", "removed", "refused", "sending", "working")
    state = a_round(cohort=cohort, quorum=1)
    state.asks(set(cohort) - {"never"}, now=0)
    finish(state, "counts", now=1)
    for site in ("announced", "sending"):
        state.ready(site, report(uploaded=site == "sending"), now=1)
    state.lost("announced", "the upload broke off", now=2)
    state.lost("cut", "line_lost", now=2)
    state.refused("refused", "norm", now=2)
    state.removed("removed", now=2)
    closing = state.closing(60.0)
    assert closing.counted == ("counts",)
    assert closing.late == {"announced": "the upload broke off", "sending": "granted", "working": "asked"}
    assert closing.refused == {"refused": "norm"}
    assert closing.absent == {"cut": "line_lost", "never": "waiting", "removed": "removed"}
    assert closing.missing == closing.late | closing.refused | closing.absent


def test_an_update_that_is_whole_is_waited_for_past_the_deadline() -> None:
    state = a_round(cohort=("east",), quorum=1)
    state.asks(SITES, now=0)
    state.ready("east", report(uploaded=True), now=1)
    state.spooled("east", now=59)
    assert state.closing(61) is None
    state.admitted("east", now=61)
    assert state.closing(61).enough


def test_a_round_that_needs_nobody_closes_with_nobody() -> None:
    closing = a_round(cohort=(), quorum=0).closing(0)
    assert closing.enough
    assert closing.counted == ()


class AnyOrder(RuleBasedStateMachine):
    """Whatever happens in whatever order, the promises of a round hold."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.state = a_round(slot_bytes=250)
        self.counted: set[str] = set()

    def seat_in(self, data: st.DataObject, *phases: Phase) -> str | None:
        there = [seat.site for seat in self.state.seats.values() if seat.phase in phases]
        return data.draw(st.sampled_from(there)) if there else None

    @precondition(lambda self: self.now < 60)
    @rule(step=st.floats(0.1, 15))
    def time_passes(self, step: float) -> None:
        self.now += step

    @rule(online=st.sets(st.sampled_from(SITES)))
    def ask(self, online: set[str]) -> None:
        before = {seat.site: seat.attempt for seat in self.state.seats.values()}
        for ask in self.state.asks(online, now=self.now):
            assert ask.site in online
            assert ask.attempt == before[ask.site] + 1
            assert not ask.slot_granted or self.holding() <= 2

    @rule()
    def grant(self) -> None:
        for site in self.state.grants(now=self.now):
            assert self.state.seats[site].phase is Phase.GRANTED
            assert self.holding() <= 2

    @rule(data=st.data(), uploaded=st.booleans())
    def site_is_ready(self, data: st.DataObject, uploaded: bool) -> None:
        site = self.seat_in(data, Phase.ASKED)
        if site and (not uploaded or self.state.seats[site].holds_slot):
            self.state.ready(site, report(uploaded=uploaded), now=self.now)

    @rule(data=st.data())
    def update_moves(self, data: st.DataObject) -> None:
        if site := self.seat_in(data, Phase.GRANTED):
            self.state.progress(site, share=0.5, now=self.now)

    @rule(data=st.data(), good=st.booleans())
    def update_is_here(self, data: st.DataObject, good: bool) -> None:
        if site := self.seat_in(data, Phase.GRANTED, Phase.READY):
            self.state.spooled(site, now=self.now)
            if good:
                self.state.admitted(site, now=self.now)
                self.counted.add(site)
            else:
                self.state.refused(site, "norm", now=self.now)

    @rule(data=st.data())
    def line_breaks(self, data: st.DataObject) -> None:
        if site := self.seat_in(data, *Phase):
            self.state.lost(site, "line_lost", now=self.now)

    def holding(self) -> int:
        return sum(seat.holds_slot for seat in self.state.seats.values())

    @invariant()
    def no_more_bytes_travel_than_fit(self) -> None:
        assert self.holding() <= 2

    @invariant()
    def what_counted_stays(self) -> None:
        assert self.counted == {s.site for s in self.state.seats.values() if s.phase is Phase.ADMITTED}
        assert not any(s.holds_slot for s in self.state.seats.values() if s.phase in SETTLED)

    @invariant()
    def a_closed_round_accounts_for_every_site(self) -> None:
        closing = self.state.closing(self.now)
        if closing is None:
            assert self.now < 60 or any(s.phase is Phase.SPOOLED for s in self.state.seats.values())
        else:
            assert set(closing.counted) | closing.missing.keys() == set(SITES)
            assert set(closing.counted) == self.counted
            assert closing.enough == (len(self.counted) >= 2)


class AnyOrderIntoABuffer(AnyOrder):
    """The same promises of a round that closes with three sites; and nobody is waited for then."""

    def __init__(self) -> None:
        super().__init__()
        self.state = a_round(slot_bytes=250, buffer=3, slots_for=("west", "east", "north"))

    @invariant()
    def a_closed_round_accounts_for_every_site(self) -> None:
        closing, phases = self.state.closing(self.now), [seat.phase for seat in self.state.seats.values()]
        over = self.now >= 60 or len(self.counted) >= 3 or set(phases) <= SETTLED
        if closing is None:
            assert not over or Phase.SPOOLED in phases or (self.now < 60 and Phase.GRANTED in phases)
        else:
            assert over
            assert set(closing.counted) == self.counted
            assert closing.missing.keys() == set(SITES) - self.counted
            assert closing.enough == (len(self.counted) >= 2)

    @invariant()
    def whoever_works_elsewhere_holds_no_slot_idle(self) -> None:
        seat = self.state.seats["south"]
        assert not (seat.phase is Phase.ASKED and seat.holds_slot)


TestAnyOrder = AnyOrder.TestCase
TestAnyOrder.settings = settings(max_examples=60, stateful_step_count=25)
TestAnyOrderIntoABuffer = AnyOrderIntoABuffer.TestCase
TestAnyOrderIntoABuffer.settings = TestAnyOrder.settings


@pytest.mark.parametrize("waiting", [0, 1, 5])
def test_grants_without_a_ready_site_change_nothing(waiting: int) -> None:
    state = a_round()
    state.asks(SITES[:waiting], now=0)
    assert state.grants(now=1000) == []


def test_only_sites_that_wait_or_are_lost_are_looked_for() -> None:
    state = a_round()
    assert state.unasked
    state.asks(SITES, now=0)
    assert not state.unasked
    state.lost("east", "line_lost", now=1)
    assert state.unasked
    state.asks(SITES, now=2)
    assert not state.unasked


def test_a_site_that_is_lost_again_and_again_is_asked_after_ever_longer_waits() -> None:
    state, now, gaps = a_round(cohort=["north"]), 0.0, []
    for _ in range(12):
        asked_at = next(at for at in (now + step / 2 for step in range(200)) if state.asks(["north"], now=at))
        gaps.append(asked_at - now)
        now = asked_at
        state.lost("north", "line_lost", now=now)
    assert gaps[:3] == [0.0, 0.0, 0.0]
    assert gaps == sorted(gaps)
    assert gaps[-1] == LONGEST_WAIT_S


def test_a_site_that_says_not_yet_is_awaited_beyond_the_deadline_until_there_is_a_quorum() -> None:
    state = a_round(cohort=SITES[:3], update_bytes=0, quorum=3)
    state.asks(SITES, now=0)
    for site in ("east", "north"):
        state.admitted(site, now=1)
    state.held("south", "awaits_approval", now=1)
    assert state.closing(1000) is None
    assert [ask.site for ask in state.asks(SITES, now=2.9)] == [] and not state.in_hand
    assert [ask.site for ask in state.asks(SITES, now=3)] == ["south"]
    assert state.closing(1000) is None and not state.in_hand  # asked again, it is not taken to be at work
    state.agreed("south")
    assert state.in_hand and state.closing(1000) is not None


def test_a_site_that_said_not_yet_and_then_dies_in_its_opening_is_awaited_for_one_deadline_more() -> None:
    state = a_round(cohort=SITES[:2], update_bytes=0, quorum=2, deadline_s=100)
    state.asks(SITES, now=0)
    state.admitted("east", now=1)
    state.held("north", "awaits_approval", now=1)
    assert state.asks(SITES, now=1000)  # somebody has approved it meanwhile
    state.lost("north", "line_lost", now=1010)
    assert state.closing(1109) is None
    state.asks(SITES, now=1109)
    state.lost("north", "line_lost", now=1109.5)  # it dies each time that it is asked
    closing = state.closing(1110)
    assert closing is not None and closing.absent == {"north": "line_lost"} and not closing.enough


def test_a_site_that_comes_back_and_says_not_yet_once_more_is_awaited_without_an_end() -> None:
    state = a_round(cohort=SITES[:2], update_bytes=0, quorum=2, deadline_s=100)
    state.asks(SITES, now=0)
    state.admitted("east", now=1)
    state.held("north", "awaits_approval", now=1)
    state.asks(SITES, now=50)
    state.lost("north", "line_lost", now=51)
    state.asks(SITES, now=60)
    state.held("north", "awaits_approval", now=61)
    assert state.closing(10_000) is None


def test_nobodys_yes_is_waited_for_where_others_have_refused_the_quorum_away() -> None:
    state = a_round(cohort=SITES[:2], update_bytes=0, quorum=2, deadline_s=100)
    state.asks(SITES, now=0)
    state.held("east", "awaits_approval", now=1)
    assert state.closing(1000) is None and state.waits_for_yes(1000)  # nor does it close at any time
    state.refused("north", "policy", now=1000)
    closing = state.closing(1000)
    assert closing is not None and not closing.enough and not state.waits_for_yes(1000)
    assert closing.told == "east (awaits_approval), north (refused: policy)"


def test_a_site_that_says_not_yet_holds_up_no_quorum() -> None:
    state = a_round(cohort=SITES[:3], update_bytes=0, quorum=2)
    state.holds({"south": "out_of_hours", "a-stranger": "out_of_hours"})
    assert [ask.site for ask in state.asks(SITES, now=0)] == ["east", "north", "south"]
    for site in ("east", "north"):
        assert state.closing(1) is None
        state.admitted(site, now=1)
    closing = state.closing(1)
    assert closing is not None and closing.enough and closing.absent == {"south": "out_of_hours"}
