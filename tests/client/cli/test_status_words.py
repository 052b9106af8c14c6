"""What a site says of itself is read without its keys."""

from typing import Any

from client.cli.status_words import status_in_words

IDLE: dict[str, Any] = {
    **{"site": "north", "state": "waiting", "trouble": None, "study": None, "round": None},
    **{"steps": None, "steps_planned": None, "stepped": None, "device": None, "fell_back": None},
    **{"pid": 7, "worker_pid": None, "bytes_up": 711452, "bytes_down": 0, "updated": "2026-01-02T03:04:05.000Z"},
}


def test_an_idle_site_has_no_line_for_what_is_not_known() -> None:
    said = status_in_words(IDLE)
    assert list(said) == ["site", "state", "agent", "worker", "traffic", "updated"]
    assert said["traffic"] == "711,452 bytes sent, 0 bytes received"


def test_work_and_device_are_said_in_words() -> None:
    working = {"study": "lungs", "round": 2, "steps": 0, "steps_planned": 1200, "stepped": "03:04", "worker_pid": 8}
    said = status_in_words(IDLE | working | {"device": "cpu", "fell_back": True})
    assert (said["study"], said["steps"]) == ("lungs, round 2", "0 of 1,200, the last at 03:04")
    assert said["device"] == "cpu (site.toml says auto, and no GPU was found)"
    assert said["worker"] == "process 8"
