"""The site's link against a real SuperLink: membership, crashes, and what the reader is told."""

import contextlib
import hashlib
import json
import os
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import grpc
import pytest
from flower_lab import Lab, Out, issue, new_key, private_pem, public_pem, pull, random_file
from flwr.proto.fleet_pb2 import ActivateNodeRequest
from flwr.proto.message_pb2 import Metadata, ObjectTree

from client.line.aside import MOST, Aside
from client.line.fleet import Fleet, NotAdmitted
from client.line.parcels import Note, Parcels
from client.link import Delayed, Link, MessageGone
from shared.errors import LinkError, TrustError
from shared.loopback import free_port

CHILD = """
import json, sys, time
from pathlib import Path
from cryptography.hazmat.primitives.serialization import load_pem_private_key
task = json.loads(sys.stdin.read())
key = load_pem_private_key(task["key"].encode(), None)
from client.link import Link
link = Link(host="127.0.0.1", port=task["port"], ca_pem=task["ca"].encode(), key=key, folder=Path(task["folder"]))
link.connect()
while (parcel := link.pull()) is None:
    time.sleep(0.02)
print(parcel.id, flush=True)
class Released:
    envelope = b"answer"
    payload = Path(task["folder"]) / "model"
Released.payload_sha256 = link.fetch(parcel, Released.payload, limit=10**9)
if task["stay"]:
    time.sleep(600)
link.send(parcel, Released)
link.close()
print(next(line for line in open("/proc/self/status") if "VmHWM" in line).split()[1], flush=True)
"""


@contextmanager
def site_process(lab: Lab, key, folder: Path, *, stay: bool):
    task = {"key": private_pem(key).decode(), "port": lab.port, "ca": lab.ca_pem.decode(), "folder": str(folder)}
    with subprocess.Popen(
        [sys.executable, "-c", CHILD], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as child:
        child.stdin.write(json.dumps(task | {"stay": stay}))
        child.stdin.close()
        yield child
        child.kill()


def failure(make, *arguments, **options) -> LinkError:
    """The error of a first connection."""
    link: Link = make(*arguments, **options)
    with pytest.raises(LinkError) as caught:
        link.connect()
    link.close()
    assert caught.value.remedy
    return caught.value


# ---------------------------------------------------------------------- crashes and restarts


def test_a_message_taken_by_a_killed_process_is_answered_by_the_next(lab, tmp_path):
    key = lab.visited("killed", tmp_path / "site")
    puppet = lab.puppet({"site": key})
    asked = puppet.push("site", "question", str(random_file(tmp_path / "model", 3_000_000)))
    with site_process(lab, key, tmp_path / "site", stay=True) as child:
        assert child.stdout.readline().strip() == asked
        while not (tmp_path / "site" / "model").exists():
            time.sleep(0.01)
        os.kill(child.pid, signal.SIGKILL)

    link = lab.link(key, tmp_path / "site")
    link.connect()
    assert link.traffic.calls == 1  # a heartbeat: Flower would refuse an activation for another 20 s
    assert link.pull() is None
    (parcel,) = link.unanswered()
    assert (parcel.id, parcel.envelope, parcel.payload_bytes) == (asked, b"question", 3_000_000)
    link.fetch(parcel, tmp_path / "again", limit=3_000_000)
    assert (tmp_path / "again").read_bytes() == (tmp_path / "model").read_bytes()
    assert link.send(parcel, Out(b"answer"))
    assert link.unanswered() == []
    assert puppet.await_reply()["envelope"] == "answer"
    puppet.close()
    link.close()


def test_a_sender_that_stops_in_the_middle_holds_up_nobody_else(lab, tmp_path):
    key = lab.visited("patient", tmp_path / "site")
    puppet = lab.puppet({"site": key})
    model = random_file(tmp_path / "model", 9_000_000)
    link = lab.link(key, tmp_path / "site")
    link.connect()

    def kept() -> list[str]:
        return [note.id for note in Parcels(tmp_path / "site" / "parcels").open()]

    begun = puppet.begin("site", "question", str(model), 5)  # its envelope and one piece of the model
    parcel = pull(link)
    assert parcel.id == begun
    with pytest.raises(Delayed):
        link.fetch(parcel, tmp_path / "got", limit=9_000_000)
    link.put_aside(parcel)
    puppet.push("site", "another")
    found = pull(link)
    assert found.envelope == b"another"
    assert link.send(found, Out(b"answer"))
    assert link.pull() is None
    puppet.go_on()
    for _ in range(20):  # the sender may take longer than the link waits at a time
        assert pull(link).id == begun
        with contextlib.suppress(Delayed):
            found = link.fetch(parcel, tmp_path / "got", limit=9_000_000)
            break
        link.put_aside(parcel)
    assert found == hashlib.sha256(model.read_bytes()).hexdigest()
    assert link.send(parcel, Out(b"answer"))

    begun = puppet.begin("site", "after a restart", str(random_file(tmp_path / "second", 9_000_000)), 0)
    while begun not in kept():
        assert link.pull() is None
    link.close()
    link = lab.link(key, tmp_path / "site")
    link.connect()
    assert link.unanswered() == []
    assert link.pull() is None
    puppet.go_on()
    assert pull(link).envelope == b"after a restart"

    begun = puppet.begin("site", "withdrawn", str(model), 0)
    while begun not in kept():
        assert link.pull() is None
    puppet.withdraw(begun)
    assert link.pull() is None
    assert begun not in kept()
    puppet.close()
    link.close()


def test_so_many_stand_aside_and_no_more():
    aside, note = Aside(), lambda number: Note(Metadata(message_id=f"{number:064x}"), ObjectTree())
    assert [aside.put(note(number)) for number in range(MOST)] == [None] * MOST
    assert aside.put(note(MOST)).id == note(0).id
    assert aside.next(lambda found: found.id == note(0).id) is None
    assert aside.next(lambda found: found.id != note(1).id).id == note(2).id


def test_an_answer_sent_twice_is_one_answer(lab, tmp_path):
    key = lab.key("twice")
    link, puppet = lab.link(key, tmp_path), lab.puppet({"site": key})
    link.connect()
    asked = puppet.push("site", "question")
    parcel = pull(link)
    assert link.send(parcel, Out(b"answer"))
    link.send(parcel, Out(b"answer"))
    assert puppet.await_reply()["message_id"] == asked
    assert puppet.poll() == []
    assert not link.send(parcel, Out(b"another answer"))
    assert puppet.poll() == []
    puppet.close()
    link.close()


def test_an_update_that_was_put_away_meanwhile_is_not_wanted(lab, tmp_path):
    key = lab.key("settled")
    link, puppet = lab.link(key, tmp_path), lab.puppet({"site": key})
    link.connect()
    puppet.push("site", "question")
    assert not link.send(pull(link), Out(b"answer", tmp_path / "gone"))
    assert link.unanswered() == []
    puppet.close()
    link.close()


def test_an_update_that_changed_after_its_release_is_not_sent(lab, tmp_path):
    key = lab.key("altered")
    link, puppet = lab.link(key, tmp_path), lab.puppet({"site": key})
    link.connect()
    joined = link.traffic
    assert joined.bytes_up == joined.presence_up > 0
    puppet.push("site", "question")
    parcel, update = pull(link), random_file(tmp_path / "update", 1_000_000)

    class Released(Out):
        payload_sha256 = hashlib.sha256(update.read_bytes()).hexdigest()

    update.write_bytes(b"Erika Mustermann" + update.read_bytes())
    with pytest.raises(TrustError, match="changed after it was released"):
        link.send(parcel, Released(b"answer", update))
    assert link.traffic.presence_up < link.traffic.bytes_up < 10_000
    assert puppet.poll() == []
    puppet.close()
    link.close()


def test_a_message_that_cannot_be_read_yet_is_queued_once(tmp_path):
    tree = ObjectTree(object_id="a" * 64, children=[ObjectTree(object_id="b" * 64)])
    Parcels(tmp_path / "parcels").keep(Note(Metadata(message_id="a" * 64), tree))
    ca = (issue(tmp_path / "ca") / "ca.pem").read_bytes()
    link = Link(host="127.0.0.1", port=free_port(), ca_pem=ca, key=new_key(), folder=tmp_path)
    closing = threading.Timer(0.3, link.close)
    closing.start()
    with pytest.raises(LinkError):
        link.unanswered()
    closing.join()
    assert not link._unread
    assert len(Parcels(tmp_path / "parcels").open()) == 1


def test_an_answer_to_a_finished_run_is_not_wanted(lab, tmp_path):
    key = lab.key("late")
    link, puppet = lab.link(key, tmp_path), lab.puppet({"site": key})
    link.connect()
    puppet.push("site", "question", str(random_file(tmp_path / "model", 100_000)))
    parcel = pull(link)
    puppet.close()  # its ServerApp ends
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and link.unanswered():
        time.sleep(0.1)
    assert link.unanswered() == []
    assert not link.send(parcel, Out(b"late"))
    link.close()


def test_dropped_and_foreign_messages_leave_nothing(lab, tmp_path):
    key = lab.key("foreign")
    link, puppet = lab.link(key, tmp_path), lab.puppet({"site": key})
    link.connect()
    puppet.push("site", "question")
    link.drop(pull(link))
    puppet.foreign("site")
    puppet.push("site", "ours")
    assert pull(link).envelope == b"ours"
    assert len(list((tmp_path / "parcels").iterdir())) == 1
    puppet.close()
    link.close()


def test_a_payload_beyond_the_limit_is_not_fetched(lab, tmp_path):
    key = lab.key("limit")
    link, puppet = lab.link(key, tmp_path), lab.puppet({"site": key})
    link.connect()
    puppet.push("site", "question", str(random_file(tmp_path / "model", 1_000_000)))
    parcel = pull(link)
    down = link.traffic.bytes_down
    with pytest.raises(TrustError, match="at most 999999"):
        link.fetch(parcel, tmp_path / "got", limit=999_999)
    assert link.traffic.bytes_down == down
    assert {path.name for path in tmp_path.iterdir()} == {"link.json", "model", "parcels"}
    puppet.close()
    link.close()


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_memory_does_not_grow_with_the_payload(lab, tmp_path):
    key = lab.visited("memory", tmp_path / "site")
    puppet = lab.puppet({"site": key})
    puppet.push("site", "question", str(random_file(tmp_path / "model", 120_000_000)))
    with site_process(lab, key, tmp_path / "site", stay=False) as child:
        child.stdout.readline()
        peak_mb = int(child.stdout.readline()) // 1024
    assert peak_mb < 140  # 75 MB before the first object, 35 of them pages of library files
    puppet.close()


def test_giving_up_ends_a_call_to_a_server_that_is_silent(tmp_path):
    lab = Lab(tmp_path / "lab")
    try:
        link, raised = lab.link(lab.key("site"), tmp_path / "site"), []
        link.connect()

        def wait():
            try:
                while True:
                    link.pull()
            except LinkError as error:
                raised.append(error)

        waiting = threading.Thread(target=wait)
        waiting.start()
        os.kill(lab.superlink.pid, signal.SIGSTOP)
        link.give_up()
        waiting.join(15)  # far below the deadline of a call
        assert not waiting.is_alive()
        assert raised
        with pytest.raises(LinkError):
            link.pull()
        os.kill(lab.superlink.pid, signal.SIGCONT)
    finally:
        lab.close()


def test_a_restarted_server_is_joined_again(tmp_path):
    lab = Lab(tmp_path / "lab")
    try:
        key = lab.key("site")
        link = lab.link(key, tmp_path / "site")
        link.connect()
        before, puppet = link.node_id, lab.puppet({"site": key})
        puppet.push("site", "question", str(random_file(tmp_path / "model", 100_000)))
        held = pull(link)
        os.kill(lab.superlink.pid, signal.SIGKILL)
        with pytest.raises(LinkError, match=r"Nothing answers|ends the connection"):
            link.pull()
        lab.superlink.start()
        deadline, seen = time.monotonic() + 60, set()
        while time.monotonic() < deadline and not seen & {"NotAdmitted"}:
            try:
                link.pull()
            except LinkError as error:
                seen.add(type(error).__name__)
            time.sleep(0.1)
        assert "NotAdmitted" in seen  # up, but the roster is not registered yet
        lab.superlink.register(public_pem(key), "site")
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and not link.online:  # by its own thread
            time.sleep(0.1)
        assert link.online
        assert link.node_id != before
        assert link.pull() is None
        started = time.monotonic()
        with pytest.raises(MessageGone):  # it went with the server that asked
            link.fetch(held, tmp_path / "got", limit=100_000)
        assert not link.send(held, Out(b"answer"))
        assert link.unanswered() == []
        assert time.monotonic() - started < 10  # told at once; a line that is down is tried for half a minute
    finally:
        lab.close()


# ---------------------------------------------------------------------- strangers


def activate(lab: Lab, *, signer, target) -> int:
    fleet = Fleet(host="127.0.0.1", port=lab.port, ca_pem=lab.ca_pem, key=signer, clock=time.time)
    try:
        request = ActivateNodeRequest(public_key=public_pem(target), heartbeat_interval=1800)
        return fleet.call("ActivateNode", request).node_id
    finally:
        fleet.close()


def test_a_thief_of_the_key_who_takes_the_place_is_overruled(lab, tmp_path):
    key = lab.key("victim")
    link = lab.link(key, tmp_path)
    link.connect()
    node_id = link.node_id
    link.close()
    assert activate(lab, signer=key, target=key) == node_id

    back = lab.link(key, tmp_path)
    back.connect()
    puppet = lab.puppet({"site": key})
    puppet.push("site", "for the owner")
    assert pull(back).envelope == b"for the owner"
    puppet.close()
    back.close()
    assert activate(lab, signer=key, target=key) == node_id  # close() took it off line: the hour is gone


def test_a_thief_who_is_first_is_named_as_a_possibility(lab, tmp_path):
    key = lab.key("first")
    activate(lab, signer=key, target=key)
    error = failure(lab.link, key, tmp_path)
    assert isinstance(error, NotAdmitted)
    assert "active elsewhere" in error.what


# ---------------------------------------------------------------------- one sentence each


def test_an_unknown_key(lab, tmp_path):
    error = failure(lab.link, new_key(), tmp_path)
    assert "does not admit this site's key" in error.what
    assert "coordinator" in error.remedy


def test_another_ca(lab, tmp_path):
    other = (issue(tmp_path / "other") / "ca.pem").read_bytes()
    assert "not from this federation's CA" in failure(lab.link, lab.key("ca"), tmp_path, ca_pem=other).what


def test_an_unknown_name(lab, tmp_path):
    error = failure(lab.link, new_key(), tmp_path, host="no-such-host.invalid")
    assert error.what == "The name no-such-host.invalid is not known."


def test_nothing_there(lab, tmp_path):
    port = free_port()
    assert failure(lab.link, new_key(), tmp_path, port=port).what == f"Nothing answers at 127.0.0.1:{port}."


@contextmanager
def grpc_server(folder: Path | None):
    server = grpc.server(ThreadPoolExecutor(2))
    if folder is None:
        port = server.add_insecure_port("127.0.0.1:0")
    else:
        pair = ((folder / "server.key").read_bytes(), (folder / "server.pem").read_bytes())
        port = server.add_secure_port("127.0.0.1:0", grpc.ssl_server_credentials([pair]))
    server.start()
    try:
        yield port
    finally:
        server.stop(None).wait()


def test_a_plaintext_server(lab, tmp_path):
    with grpc_server(None) as port:
        assert failure(lab.link, new_key(), tmp_path, port=port).what == f"127.0.0.1:{port} does not speak TLS."


def test_an_expired_certificate(lab, tmp_path):
    folder = issue(tmp_path / "expired", ends=timedelta(days=-1))
    # the CA must be alive, else it is to blame: the expired one signed itself
    with grpc_server(folder) as port:
        error = failure(lab.link, new_key(), tmp_path, port=port, ca_pem=(folder / "ca.pem").read_bytes())
    assert error.what == f"The certificate of 127.0.0.1:{port} has expired."
    assert "renew" in error.remedy


def test_a_certificate_for_another_name(lab, tmp_path):
    folder = issue(tmp_path / "other-name", name="elsewhere.example", loopback=False)
    with grpc_server(folder) as port:
        error = failure(lab.link, new_key(), tmp_path, port=port, ca_pem=(folder / "ca.pem").read_bytes())
    assert "is for another name" in error.what


@contextmanager
def proxy_that_answers_400(folder: Path):
    """HTTP/2 over TLS (RFC 9113) that answers every request with 400, as nginx does without a client certificate."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(folder / "server.pem", folder / "server.key")
    context.set_alpn_protocols(["h2"])

    def frame(kind: int, flags: int, stream: int, body: bytes = b"") -> bytes:
        return len(body).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + body

    def serve(raw: socket.socket) -> None:
        with raw, context.wrap_socket(raw, server_side=True) as line, line.makefile("rb") as reader:
            reader.read(24)  # the preface
            line.sendall(frame(4, 0, 0))
            while len(head := reader.read(9)) == 9:
                body = reader.read(int.from_bytes(head[:3], "big"))
                if head[3] == 1:  # HEADERS: answer with HPACK's static entry 12, ":status 400"
                    line.sendall(frame(1, 5, int.from_bytes(head[5:], "big"), b"\x8c"))
                elif head[3] == 4 and not head[4] & 1:
                    line.sendall(frame(4, 1, 0))
                elif head[3] == 6 and not head[4] & 1:
                    line.sendall(frame(6, 1, 0, body))

    def accept() -> None:
        while True:
            try:
                serve(door.accept()[0])
            except OSError:
                if door.fileno() == -1:
                    return

    with socket.create_server(("127.0.0.1", 0)) as door:
        thread = threading.Thread(target=accept)
        thread.start()
        yield door.getsockname()[1]
        door.shutdown(socket.SHUT_RDWR)
    thread.join()


def test_a_proxy_that_refuses(lab, tmp_path):
    with proxy_that_answers_400(lab.folder) as port:
        error = failure(lab.link, new_key(), tmp_path, port=port)
    assert error.what == "A proxy in front of the server answered HTTP 400."
    assert "site renew" in error.remedy


# ---------------------------------------------------------------------- clocks


@pytest.mark.parametrize("wrong_s", [4.0, 90.0, -3600.0, 3600.0, -86400.0, 86400.0])
def test_a_wrong_clock_is_learned_and_remembered(lab, tmp_path, wrong_s):
    key = lab.key(f"clock{wrong_s}")
    link = lab.link(key, tmp_path, clock=lambda: time.time() + wrong_s)
    link.connect()
    assert -6 < -(link.clock_offset_s + wrong_s) < 306
    assert (link.clock_offset_s == 0) == (wrong_s == 4.0)
    calls = link.traffic.calls
    link.pull()
    assert link.traffic.calls == calls + 1
    link.close()

    again = lab.link(key, tmp_path, clock=lambda: time.time() + wrong_s)
    again.connect()
    assert again.traffic.calls <= 2
    again.close()


def test_a_clock_that_is_days_away(lab, tmp_path):
    error = failure(lab.link, lab.key("days"), tmp_path, clock=lambda: time.time() + 3 * 86400)
    assert "clock is more than 26 hours" in error.what
    assert "NTP" in error.remedy


@pytest.mark.parametrize("jump_s", [7200.0, -7200.0])
def test_a_clock_that_jumps_in_the_middle_of_an_answer(lab, tmp_path, jump_s):
    key, wrong_s = lab.key(f"jump{jump_s}"), 0.0
    link = lab.link(key, tmp_path / "site", clock=lambda: time.time() + wrong_s)
    link.connect()
    puppet = lab.puppet({"site": key})
    asked = puppet.push("site", "question", str(random_file(tmp_path / "model", 100_000)))
    parcel = pull(link)
    wrong_s = jump_s
    link.fetch(parcel, tmp_path / "got", limit=100_000)
    wrong_s = 0.0
    assert link.send(parcel, Out(b"answer", tmp_path / "got"))
    assert puppet.await_reply()["message_id"] == asked
    puppet.close()
    link.close()
