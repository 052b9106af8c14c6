"""The page of figures tells what it should, to few callers at a time, and repeats nothing of what they say."""

import socket
from collections.abc import Iterator

import httpx
import pytest

from shared.errors import ResourceError
from shared.figures import Family, Sample, metrics
from shared.loopback import free_port
from shared.monitoring import MOST_CALLERS, SILENCE_S, Health, Heartbeat, MetricsSettings, shown

FAMILIES = (
    Family("ward_beds", "Beds."),
    Family("ward_rounds_total", "Rounds.", ("site",)),
)


class Ward:
    """Figures that can be ill."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self.alive, self.broken = True, False

    def collect(self) -> Iterator[object]:
        if self.broken:
            raise OSError("/srv/images/patient")
        return metrics(FAMILIES, [Sample("ward_beds", 12), Sample("ward_rounds_total", 3, ("north",))])

    def health(self) -> Health:
        return Health(self.alive, "waiting" if self.alive else "silent")


@pytest.fixture
def ward() -> Ward:
    return Ward()


@pytest.fixture
def page(ward: Ward) -> Iterator[str]:
    port = free_port()
    with shown(MetricsSettings(port=port), lambda: ward, say=ward.said.append):
        yield f"http://127.0.0.1:{port}"


def test_the_figures_are_there(page: str) -> None:
    answer = httpx.get(f"{page}/metrics", timeout=60)
    lines = answer.text.splitlines()
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    assert "ward_beds 12.0" in lines
    assert 'ward_rounds_total{site="north"} 3.0' in lines
    assert any(line.startswith("process_resident_memory_bytes") for line in lines)


def test_life_is_one_word_and_a_number(page: str, ward: Ward) -> None:
    answer = httpx.get(f"{page}/healthz", timeout=60)
    assert (answer.status_code, answer.text) == (200, "waiting\n")
    ward.alive = False
    answer = httpx.get(f"{page}/healthz", timeout=60)
    assert (answer.status_code, answer.text) == (503, "silent\n")


@pytest.mark.parametrize(("method", "path", "status"), [("GET", "/<b>etc", 404), ("POST", "/metrics", 501)])
def test_anything_else_is_refused_without_an_echo(page: str, method: str, path: str, status: int) -> None:
    answer = httpx.request(method, f"{page}{path}", content=b"patient" if method == "POST" else None, timeout=60)
    assert answer.status_code == status
    assert "<b>" not in answer.text and "POST" not in answer.text


def test_figures_that_fail_are_said_once_by_kind_alone(page: str, ward: Ward) -> None:
    ward.broken = True
    assert [httpx.get(f"{page}/metrics", timeout=60).text for _ in range(2)] == ["Internal Server Error\n"] * 2
    assert ward.said[1:] == ["The metrics cannot be shown (OSError); the work goes on."]


def test_who_comes_beyond_the_places_is_cut_off(page: str) -> None:
    host, _, port = page.removeprefix("http://").partition(":")
    idle = [socket.create_connection((host, int(port))) for _ in range(MOST_CALLERS)]
    try:
        with socket.create_connection((host, int(port))) as late:
            late.settimeout(10)
            assert late.recv(1) == b""
    finally:
        for line in idle:
            line.close()


def test_nothing_is_made_without_a_port() -> None:
    def made() -> Ward:
        raise AssertionError

    with shown(MetricsSettings(), made, say=print):
        pass


def test_a_port_that_is_taken_is_said(ward: Ward, page: str) -> None:
    port = int(page.rpartition(":")[2])
    with (
        pytest.raises(ResourceError, match=f"Port {port} on 127.0.0.1 cannot be used"),
        shown(MetricsSettings(port=port), lambda: ward, say=print),
    ):
        pass


def test_a_loop_that_stands_still_is_noticed() -> None:
    now, turns = [0.0], [0]
    heart = Heartbeat(lambda: turns[0], clock=lambda: now[0])
    now[0] = SILENCE_S + 1
    assert heart.stopped()
    turns[0] = 1
    assert not heart.stopped()


def test_the_host_is_an_address() -> None:
    with pytest.raises(ValueError, match="does not appear to be an IPv4 or IPv6 address"):
        MetricsSettings(port=1, host="everywhere")
