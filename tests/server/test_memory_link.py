"""The line to virtual sites, over a Grid in memory whose nodes the test plays."""

import random
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from flwr.app import Array, ArrayRecord, ConfigRecord, Error, Message, RecordDict
from flwr.serverapp import Grid

from server.arrival import MALFORMED, Lost
from server.memory_link import MemoryLink
from shared.errors import TrustError

pytestmark = pytest.mark.usefixtures("flower_process")


class MemoryGrid(Grid):
    """Flower's Grid with an inbox per node; `reply` is what a node does."""

    def __init__(self, names: dict[int, str]) -> None:
        self.names = names
        self.inbox: dict[str, Message] = {}
        self._replies: dict[str, Message] = {}

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        pushed = []
        for message in messages:
            message.metadata.__dict__["_message_id"] = f"{random.getrandbits(64):x}"
            pushed.append(message.metadata.message_id)
            self.inbox[pushed[-1]] = message
        return pushed

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        return [self._replies.pop(name) for name in message_ids if name in self._replies]

    def get_node_ids(self) -> Iterable[int]:
        return list(self.names)

    def reply(self, message_id: str, answer: RecordDict | Error) -> None:
        message = self.inbox.pop(message_id)
        self._replies[message_id] = Message(answer, reply_to=message)

    def introduce(self) -> None:
        """Every node that was asked for its name tells it."""
        for message_id, message in list(self.inbox.items()):
            if message.metadata.message_type == "query":
                name = self.names[message.metadata.dst_node_id]
                self.reply(message_id, RecordDict({"config": ConfigRecord({"site": name})}))

    create_message = get_nodes = send_and_receive = run = set_run = None


def content(envelope: bytes, payload: bytes | None = None) -> RecordDict:
    made = RecordDict({"config": ConfigRecord({"envelope": envelope})})
    if payload is not None:
        array = Array(dtype="uint8", shape=(len(payload),), stype="safetensors", data=payload)
        made["payload"] = ArrayRecord({"payload": array})
    return made


@pytest.fixture
def grid() -> MemoryGrid:
    return MemoryGrid({11: "north", 22: "south"})


@pytest.fixture
def link(flower_process: None, grid: MemoryGrid) -> MemoryLink:
    link = MemoryLink(grid)
    assert link.online() == set()
    grid.introduce()
    assert link.poll() == []
    return link


def asked(link: MemoryLink, grid: MemoryGrid, answer: Any) -> Any:
    """The arrival of an answer of site north."""
    grid.reply(link.push("north", b"question"), answer)
    (arrival,) = link.poll()
    return arrival


def test_a_site_is_online_when_its_node_has_told_its_name(link: MemoryLink, grid: MemoryGrid) -> None:
    assert link.online() == {"north", "south"}
    grid.names[33] = "east"
    assert link.online() == {"north", "south"}
    grid.introduce()
    link.poll()
    assert link.online() == {"north", "south", "east"}
    del grid.names[11]
    assert link.online() == {"south", "east"}
    assert grid.inbox == {}  # nobody is asked twice


def test_a_node_without_a_name_plays_no_site(link: MemoryLink, grid: MemoryGrid) -> None:
    grid.names[33] = ""
    link.online()
    grid.introduce()
    link.poll()
    assert link.online() == {"north", "south"}


def test_a_message_reaches_its_site_with_its_payload(link: MemoryLink, grid: MemoryGrid, tmp_path: Path) -> None:
    model = tmp_path / "round-00001.safetensors"
    model.write_bytes(b"weights")
    pushed = {site: grid.inbox[link.push(site, site.encode(), model)] for site in ("north", "south")}
    assert {site: message.metadata.dst_node_id for site, message in pushed.items()} == {"north": 11, "south": 22}
    for site, message in pushed.items():
        assert message.content["config"]["envelope"] == site.encode()
        assert message.content["payload"]["payload"].data == b"weights"


def test_the_next_model_is_read_anew(link: MemoryLink, grid: MemoryGrid, tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).write_text(name)
        message = grid.inbox[link.push("north", b"", tmp_path / name)]
        assert message.content["payload"]["payload"].data == name.encode()


def test_a_reply_arrives_once_with_its_payload(link: MemoryLink, grid: MemoryGrid) -> None:
    arrival = asked(link, grid, content(b"answer", b"update"))
    assert (arrival.site, arrival.envelope, arrival.payload_bytes, arrival.error) == ("north", b"answer", 6, None)
    assert link.poll() == []
    assert b"".join(link.fetch(arrival, limit=6)) == b"update"
    with pytest.raises(Lost):
        list(link.fetch(arrival, limit=6))


def test_a_payload_beyond_the_limit_is_not_handed_out(link: MemoryLink, grid: MemoryGrid) -> None:
    arrival = asked(link, grid, content(b"answer", b"update"))
    with pytest.raises(TrustError, match="longer than allowed"):
        list(link.fetch(arrival, limit=5))


def test_a_dropped_payload_is_gone(link: MemoryLink, grid: MemoryGrid) -> None:
    arrival = asked(link, grid, content(b"answer", b"update"))
    link.drop(arrival)
    link.drop(arrival)
    with pytest.raises(Lost):
        list(link.fetch(arrival, limit=6))


def test_nobody_waits_for_a_withdrawn_message(link: MemoryLink, grid: MemoryGrid) -> None:
    message_id = link.push("north", b"question")
    link.withdraw(message_id)
    grid.reply(message_id, content(b"answer"))
    assert link.poll() == []
    link.close()


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (Error(code=2, reason="words that nobody reads"), 2),
        (RecordDict(), MALFORMED),
        (RecordDict({"config": ConfigRecord({"envelope": 1.5})}), MALFORMED),
    ],
)
def test_a_reply_without_an_envelope_is_an_error(link: MemoryLink, grid: MemoryGrid, answer: Any, error: int) -> None:
    arrival = asked(link, grid, answer)
    assert (arrival.error, arrival.envelope) == (error, b"")


def test_an_unknown_site_is_a_key_error(link: MemoryLink) -> None:
    with pytest.raises(KeyError):
        link.push("nowhere", b"question")
