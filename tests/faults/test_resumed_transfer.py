"""A transfer that the line broke goes on where it stopped: what is sent again is what had not arrived.

Measured twice: by the link's own counter and by the relay through which every byte goes.
"""

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from flower_lab import Lab, Out, pull, random_file

from client.line.parcels import Parcels
from deploy.bench.relay import Line, Relay
from shared.flower_objects import CHUNK_BYTES, plan_payload

MIB = 1 << 20
SIZE = 48 * MIB
AGAIN = 4 * MIB  # what may be sent once more beside what is missing
OVERHEAD = 1.03  # TLS, HTTP/2 and signatures


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    made = Lab(tmp_path / "lab")
    yield made
    made.close()


def until_passed(relay: Relay, size: int) -> None:
    """Wait until so many bytes went up; the poll is short against a transfer of many objects."""
    deadline = time.monotonic() + 60
    while relay.bytes_up < size:
        assert time.monotonic() < deadline
        time.sleep(0.001)


@pytest.mark.slow
@pytest.mark.parametrize("cut_s", [0.0, 6.0])
def test_after_a_cut_only_what_is_missing_is_sent_again(lab: Lab, tmp_path: Path, cut_s: float) -> None:
    key, update = lab.key("site"), random_file(tmp_path / "update", SIZE)
    with Relay(lab.port) as relay:
        link, puppet = lab.link(key, tmp_path / "site", port=relay.port), lab.puppet({"site": key})
        link.connect()
        puppet.push("site", "question")
        parcel = pull(link)
        answers: list[bool] = []
        sending = threading.Thread(target=lambda: answers.append(link.send(parcel, Out(b"answer", update))))
        sending.start()
        until_passed(relay, SIZE // 3)
        relay.become(Line.CUT)
        counted, passed = link.traffic.bytes_up, relay.bytes_up
        missing = SIZE - arrived(tmp_path / "site", parcel.id, update)
        assert missing > SIZE // 3
        time.sleep(cut_s)
        relay.become(Line.WHOLE)
        sending.join()
        assert answers == [True]
        assert puppet.await_reply()["payload_bytes"] == SIZE
        assert link.traffic.bytes_up - counted <= missing + AGAIN
        assert relay.bytes_up - passed <= (missing + AGAIN) * OVERHEAD
        puppet.close()
        link.close()


def arrived(site: Path, parcel: str, update: Path) -> int:
    """Bytes of the update that the server has said it holds."""
    upload = Parcels(site / "parcels").upload(parcel)
    assert upload is not None
    return CHUNK_BYTES * len(upload.done.intersection(plan_payload(update).chunks))
