"""The live view says of each site what it does, whether it lives, and when it was last heard of."""

from types import SimpleNamespace

import pytest

from server.pulse import Pulse, pulses_of
from server.rounds import Phase, Seat
from server.status import DOING, seat_view
from shared.address import Stage

ALIVE, SILENT = Pulse(age_s=4.04, alive=True), Pulse(age_s=31.0, alive=False)


def view(phase: Phase, pulse: Pulse | None, stage: Stage = Stage.TRAIN) -> dict[str, object]:
    return seat_view(Seat("north", phase=phase, since=10.0), pulse, stage, now=12.5)


def test_every_phase_has_its_word() -> None:
    assert set(DOING) == set(Phase)
    assert set(DOING.values()) == {"waiting", "working", "uploading", "counted", "refused", "absent"}


def test_a_site_at_work_with_a_heartbeat() -> None:
    seen = view(Phase.ASKED, ALIVE)
    assert (seen["doing"], seen["state"], seen["online"]) == ("working", "online", True)
    assert (seen["last_sign_s"], seen["seconds"]) == (4.0, 2.5)


@pytest.mark.parametrize("phase", [Phase.WAITING, Phase.ASKED, Phase.GRANTED, Phase.LOST])
def test_a_site_without_heartbeats_is_silent_and_one_that_never_came_is_absent(phase: Phase) -> None:
    assert [view(phase, SILENT)[key] for key in ("doing", "state", "last_sign_s")] == ["silent", "silent", 31.0]
    assert [view(phase, None)[key] for key in ("doing", "state", "last_sign_s")] == ["absent", "absent", None]


def test_what_is_settled_stays_so_when_the_site_falls_silent() -> None:
    seen = view(Phase.ADMITTED, SILENT)
    assert (seen["doing"], seen["state"], seen["online"]) == ("counted", "silent", False)
    assert view(Phase.ADMITTED, ALIVE, Stage.EVALUATE)["doing"] == "done"


def test_the_age_follows_from_until_when_the_engine_holds_a_site_for_alive() -> None:
    nodes = [
        SimpleNamespace(node_id=1, online_until=120.0, heartbeat_interval=10.0),
        SimpleNamespace(node_id=2, online_until=90.0, heartbeat_interval=10.0),
        SimpleNamespace(node_id=3, online_until=0.0, heartbeat_interval=0.0),
        SimpleNamespace(node_id=4, online_until=120.0, heartbeat_interval=10.0),
    ]
    assert pulses_of(nodes, {1: "north", 2: "south", 3: "never"}, now=105.0) == {
        "north": Pulse(age_s=5.0, alive=True),
        "south": Pulse(age_s=35.0, alive=False),
    }
