"""`ServerLink` in a real ServerApp against real Links, over TLS."""

import hashlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import grpc
import pytest
from flower_lab import Lab, Out, private_pem, pull, random_file
from flwr.proto.fleet_pb2_grpc import FleetStub

from server.arrival import LOST, MALFORMED, NODE_GONE
from shared.errors import LinkError

CHILD = """
import json, sys, time
from pathlib import Path
from cryptography.hazmat.primitives.serialization import load_pem_private_key
sys.path.insert(0, {tests!r})
from flower_lab import Out, pull
from client.link import Link
task = json.loads(sys.stdin.read())
key = load_pem_private_key(task["key"].encode(), None)
link = Link(host="127.0.0.1", port=task["port"], ca_pem=task["ca"].encode(), key=key, folder=Path(task["folder"]))
link.connect()
parcel = pull(link)
print("pulled", flush=True)
link.send(parcel, Out(b"answer", Path(task["payload"])))
print("sent", flush=True)
"""


def unbounded(fleet) -> FleetStub:
    credentials = grpc.ssl_channel_credentials(fleet._trusted)
    options = [("grpc.max_send_message_length", -1), ("grpc.max_receive_message_length", -1)]
    return FleetStub(grpc.secure_channel(f"{fleet._host}:{fleet._port}", credentials, options=options))


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.fixture
def sites(lab: Lab, tmp_path, request):
    keys = {name: lab.key(f"{name}-{request.node.name}"[:40]) for name in ("north", "south")}
    links = {name: lab.link(key, tmp_path / name) for name, key in keys.items()}
    for link in links.values():
        link.connect()
    puppet = lab.puppet(keys)
    yield puppet, links, keys
    puppet.close()
    for link in links.values():
        link.close()


def test_twelve_megabytes_go_both_ways_between_two_sites(sites, tmp_path):
    puppet, links, _ = sites
    model = random_file(tmp_path / "model", 12_000_000)
    assert puppet.online() == ["north", "south"]
    assert {site for site, (age_s, alive) in puppet.pulses().items() if alive and age_s < 20} == {"north", "south"}
    asked = {puppet.push(name, f"question to {name}", str(model)): name for name in links}
    updates = {}
    for name, link in links.items():
        parcel = pull(link)
        assert asked[parcel.id] == name
        assert parcel.envelope == f"question to {name}".encode()
        assert parcel.payload_bytes == 12_000_000
        into = tmp_path / f"{name}.model"
        assert link.fetch(parcel, into, limit=12_000_000) == sha256(model) == sha256(into)
        updates[name] = random_file(tmp_path / f"{name}.update", 12_000_000)
        assert link.send(parcel, Out(f"answer of {name}".encode(), updates[name]))
        assert link.unanswered() == []
    for _ in links:
        arrival = puppet.await_reply()
        name = asked[arrival["message_id"]]
        assert arrival == {
            "site": name,
            "message_id": arrival["message_id"],
            "envelope": f"answer of {name}",
            "payload_bytes": 12_000_000,
            "error": None,
        }
        taken = puppet.fetch(arrival["message_id"], 12_000_000)
        assert (taken["bytes"], taken["sha256"]) == (12_000_000, sha256(updates[name]))
    assert puppet.poll() == []
    assert links["north"].traffic.bytes_up > 12_000_000
    assert 12_000_000 < links["north"].traffic.bytes_down < 12_500_000


def test_envelopes_alone(sites):
    puppet, links, _ = sites
    asked = puppet.push("north", "question")
    parcel = pull(links["north"])
    assert parcel.payload_bytes == 0
    assert links["south"].pull() is None
    assert links["north"].send(parcel, Out(b"answer"))
    arrival = puppet.await_reply()
    assert (arrival["message_id"], arrival["envelope"], arrival["payload_bytes"]) == (asked, "answer", 0)


def test_a_site_may_answer_before_all_of_its_question_is_there(sites, tmp_path):
    puppet, links, _ = sites
    model, answered = random_file(tmp_path / "model", 45_000_000), []
    site = threading.Thread(target=lambda: answered.append(links["north"].send(pull(links["north"]), Out(b"no"))))
    site.start()
    asked = puppet.push("north", "question", str(model))
    site.join()
    assert answered == [True]
    arrival = puppet.await_reply()
    assert (arrival["message_id"], arrival["envelope"], arrival["error"]) == (asked, "no", None)
    puppet.push("north", "again", str(model))
    assert links["north"].fetch(pull(links["north"]), tmp_path / "got", limit=45_000_000) == sha256(model)


def test_an_object_that_is_too_large_is_its_site_s_fault_alone(sites, tmp_path, monkeypatch):
    puppet, links, _ = sites
    asked = {name: puppet.push(name, "question") for name in links}
    with monkeypatch.context() as hostile:  # what such a site would change in its own software
        hostile.setattr("shared.flower_objects.ENVELOPE_LIMIT_BYTES", 2**24)
        hostile.setattr(links["north"]._fleet, "_stub", unbounded(links["north"]._fleet))
        with pytest.raises(LinkError):  # the door takes no message so long
            links["north"].send(pull(links["north"]), Out(bytes(2**23)))
    assert links["south"].send(pull(links["south"]), Out(b"answer"))
    found = puppet.await_reply()
    assert (found["message_id"], found["envelope"]) == (asked["south"], "answer")


def test_a_site_that_was_never_here_gets_no_message(lab):
    puppet = lab.puppet({"north": lab.key("never")})
    assert "has not been here" in puppet.push("north", "question")["what"]
    assert puppet.pulses() == {}
    puppet.close()


def test_a_site_that_left_is_gone(sites):
    puppet, links, _ = sites
    asked = puppet.push("north", "question")
    links["north"].close()
    arrival = puppet.await_reply()
    assert (arrival["site"], arrival["message_id"], arrival["error"]) == ("north", asked, NODE_GONE)
    assert puppet.online() == ["south"]
    assert {site: alive for site, (_, alive) in puppet.pulses().items()} == {"north": False, "south": True}


def test_a_payload_larger_than_allowed_is_refused_before_it_is_read(sites, tmp_path):
    puppet, links, _ = sites
    puppet.push("north", "question")
    links["north"].send(pull(links["north"]), Out(b"answer", random_file(tmp_path / "update", 5_000_000)))
    arrival = puppet.await_reply()
    assert puppet.fetch(arrival["message_id"], 4_999_999)["raised"] == "TrustError"
    assert puppet.drop(arrival["message_id"]) is None
    assert puppet.fetch(arrival["message_id"], 5_000_000)["raised"] == "Lost"


def test_a_withdrawn_question_reaches_nobody(sites, tmp_path):
    puppet, links, _ = sites
    puppet.withdraw(puppet.push("north", "superseded", str(random_file(tmp_path / "model", 100_000))))
    puppet.push("north", "current")
    assert pull(links["north"]).envelope == b"current"


def test_stock_flower_reads_our_reply(sites, tmp_path):
    puppet, links, _ = sites
    update = random_file(tmp_path / "update", 9_000_000)
    asked = puppet.push("north", "question")
    links["north"].send(pull(links["north"]), Out(b"answer", update))
    assert puppet.stock(asked) == {"envelope": "answer", "sha256": sha256(update), "shape": [9_000_000]}


def test_memory_does_not_grow_with_the_payload(sites, tmp_path):
    puppet, links, _ = sites
    before = puppet.peak_mb()
    model = random_file(tmp_path / "model", 150_000_000)
    puppet.push("north", "question", str(model))
    parcel = pull(links["north"])
    links["north"].fetch(parcel, tmp_path / "got", limit=150_000_000)
    links["north"].send(parcel, Out(b"answer", tmp_path / "got"))
    arrival = puppet.await_reply()
    assert puppet.fetch(arrival["message_id"], 150_000_000)["sha256"] == sha256(model)
    assert puppet.peak_mb() - before < 75


@pytest.mark.parametrize("seen", [True, False], ids=["server-saw-its-head", "server-saw-nothing"])
def test_an_upload_that_a_crash_cut_is_finished_by_the_next_process(lab, tmp_path, request, seen):
    key = lab.visited(f"cut-{seen}", tmp_path / "site")
    puppet = lab.puppet({"north": key})
    update = random_file(tmp_path / "update", 160_000_000)
    task = {
        "key": private_pem(key).decode(),
        "port": lab.port,
        "ca": lab.ca_pem.decode(),
        "folder": str(tmp_path / "site"),
        "payload": str(update),
    }
    script = CHILD.format(tests=str(Path(__file__).parents[1]))
    child = subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    with child:
        child.stdin.write(json.dumps(task))
        child.stdin.close()
        asked = puppet.push("north", "question")
        assert child.stdout.readline() == "pulled\n"
        progress = tmp_path / "site" / "parcels" / f"{asked}.upload"
        while not progress.exists() or progress.read_text().count("\n") < 20:
            assert child.poll() is None
            time.sleep(0.002)
        os.kill(child.pid, signal.SIGKILL)
    if seen:
        arrival = puppet.await_reply()
        assert arrival["payload_bytes"] == 160_000_000
        half = puppet.fetch(asked, 160_000_000, 1.0)
        assert 0 < half["bytes"] < 160_000_000
        assert half["empty"] > 0

    link = lab.link(key, tmp_path / "site")
    link.connect()
    (parcel,) = link.unanswered()
    assert parcel.id == asked
    assert link.send(parcel, Out(b"answer", update))
    assert link.traffic.bytes_up < 140_000_000  # it went on where the first process stopped
    if not seen:
        assert puppet.await_reply()["envelope"] == "answer"
    assert puppet.fetch(asked, 160_000_000)["sha256"] == sha256(update)
    assert puppet.poll() == []
    puppet.close()
    link.close()


def test_codes_are_flower_s():
    from flwr.common.constant import ErrorCode

    assert (MALFORMED, LOST, NODE_GONE) == (
        ErrorCode.UNKNOWN,
        ErrorCode.MESSAGE_UNAVAILABLE,
        ErrorCode.NODE_UNAVAILABLE,
    )


@pytest.mark.slow
def test_a_lost_superlink_is_one_sentence(tmp_path):
    own = Lab(tmp_path / "own")
    try:
        puppet = own.puppet({"north": own.visited("north", tmp_path / "north")})
        assert len(puppet.push("north", "question")) == 64
        os.kill(own.superlink.pid, signal.SIGKILL)
        answer = puppet.poll()
        assert answer["raised"] == "LinkError"
        assert "SuperLink does not answer" in answer["what"]
        assert not own.superlink.alive()
    finally:
        own.close()
    assert own.superlink.children() == []
