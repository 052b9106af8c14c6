"""Two ServerApps on one study folder: the later one owns the study, the stale one stops, sites refuse it."""

import time
from contextlib import closing
from pathlib import Path

import psutil
import pytest
from flower_run import control_of, packed, submit
from live_federation import CalmStudy, LiveFederation

from client.join import load_enrolment
from deploy.bench.aftermath import held_locks
from server.engine.superlink_control import Control
from server.federation import load_federation
from server.study_folder import StudyFolder
from shared.address import Address, Stage
from shared.envelope import open_envelope, seal
from shared.errors import WireCode
from shared.identity import COORDINATOR
from shared.wire import TO_SERVER, Close, Refused, decode_to_server, encode, to_site

SITE = "site-1"
SENDER = """
import json, time
from pathlib import Path
from flwr.serverapp import ServerApp
from server.link import ServerLink
app = ServerApp()

@app.main()
def main(grid, context):
    link = ServerLink(grid, json.loads(Path({nodes!r}).read_text()))
    link.push({site!r}, bytes.fromhex({envelope!r}))
    while not (arrivals := link.poll()):
        time.sleep(0.05)
    Path({answer!r}).write_bytes(arrivals[0].envelope)
    link.close()
"""


def taken_over(federation: LiveFederation, folder: StudyFolder) -> psutil.Process:
    """Start another ServerApp on a study whose owner is paused in the middle of a round; gives the stale one."""
    federation.reached(folder, commits=1)
    first = psutil.Process(federation.serverapp_pid(folder))
    first.suspend()
    while held_locks(folder.path):  # not in the middle of a commit, which another owner would wait for
        first.resume()
        time.sleep(0.01)
        first.suspend()
    try:
        with closing(Control(*control_of(federation))) as control:
            control.start_run({"study": folder.name}, serverapp="server.app:app")
        federation.until(lambda: federation.serverapp_pid(folder) != first.pid, "another owner")
    finally:
        first.resume()
    return first


@pytest.mark.slow
def test_the_stale_one_stops_itself_and_the_study_comes_out_the_same(
    federation: LiveFederation, calm_study: CalmStudy
) -> None:
    folder = federation.launch("two-owners")
    stale = taken_over(federation, folder)
    federation.until(lambda: not stale.is_running() or stale.status() == psutil.STATUS_ZOMBIE, "the stale one's end")
    assert federation.finished(folder) == calm_study.digest
    assert "Another process has taken over the study; epoch 1 is over." in (folder.path / "log").read_text()
    entries = federation.journal(folder)
    taken = next(n for n, e in enumerate(entries) if (e.type, e.data.get("epoch")) == ("epoch_claimed", 2))
    assert {e.data["epoch"] for e in entries[:taken] if "epoch" in e.data} == {1}
    assert {e.data["epoch"] for e in entries[taken:] if "epoch" in e.data} == {2}
    assert [commit.round for commit in federation.commits(folder)] == [1, 2, 3]
    assert federation.journal_verdict(folder).ok


@pytest.mark.slow
def test_a_site_refuses_what_a_stale_owner_still_sends(federation: LiveFederation, tmp_path: Path) -> None:
    folder = federation.launch("stale-word")
    taken_over(federation, folder)
    federation.finished(folder)
    key = load_federation(federation.federation).coordinator_key
    stale = Address(study=folder.name, epoch=1, round=2, attempt=1, stage=Stage.CLOSE)
    word = seal(encode(Close(address=stale, reason="failed")), key=key, signer=COORDINATOR, purpose=to_site(SITE))
    nodes, answer = federation.federation / "run" / "nodes.json", tmp_path / "answer"
    source = SENDER.format(nodes=str(nodes), site=SITE, envelope=word.hex(), answer=str(answer))
    submit(federation, packed({"stale_server.py": source.encode()}, "stale_server:app"))
    federation.until(lambda: answer.exists() and answer.read_bytes(), "the site's answer")

    site_key = load_enrolment(federation.sites[SITE]).identity_key.public_key()
    body = open_envelope(answer.read_bytes(), keys={SITE: site_key}, purpose=TO_SERVER).body
    said = decode_to_server(body)
    assert isinstance(said, Refused)
    assert (said.refusal, said.address) == (WireCode.STALE_EPOCH, stale)
    assert federation.ledger(SITE, "release", folder.name)[-1]["kind"] == "refused"
