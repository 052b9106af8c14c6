"""The first coordinator leaves in the middle of a study: the second goes on, and site and auditor follow."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from audited import VERIFIER
from live_federation import answer, images, wardround
from tiny_federation import queue_study

from client.imaging.settings import DataSettings
from deploy.local import LocalFederation
from server.study_folder import StudyFolder, StudyState
from shared.ledger import read_entries
from shared.mandate import read_succession

pytestmark = pytest.mark.slow


def commits(study: StudyFolder) -> int:
    entries = read_entries(study.journal) if study.journal.exists() else ()
    return sum(entry.type == "round_committed" for entry in entries)


def test_a_running_study_goes_on_under_the_second_coordinator(tmp_path: Path) -> None:
    data = {"ward-a": DataSettings(kind="npz", file=images(tmp_path / "ward-a.npz", patients=40))}
    own = tmp_path / "ben"
    with LocalFederation(tmp_path / "live", data, device="cpu") as live:
        name = answer("federation", "coordinator", "list", live.federation)["federation"]
        live.serve()
        live.start_site("ward-a")
        asked = answer("federation", "coordinator", "request", own, "ben", "--federation", name)
        add = ("federation", "coordinator", "add", live.federation, asked["request"], "--own-name", "ann")
        refused = wardround(*add, "--fingerprint", "00" * 32)
        assert refused.exit_code != 0
        answer(*add, "--fingerprint", asked["fingerprint"])
        answer("federation", "coordinator", "hand-over", live.federation, "ben")
        take = ("federation", "coordinator", "take-over", live.federation, "--key", own / "coordinator.key")
        study = queue_study(live.federation, "long", rounds=40, sites=1)
        live.wait_for(lambda: commits(study) >= 1, patience_s=180, what="a round under the first")
        served = wardround(*take)
        assert "is served" in served.output
        live.stop("server")
        assert commits(study) < 40
        assert answer(*take)["lead"] == "ben"
        live.serve()
        ended = (StudyState.FINISHED, StudyState.FAILED, StudyState.STOPPED)
        live.wait_for(lambda: study.standing().state in ended, patience_s=240, what="the end of the study")
        assert study.standing().state is StudyState.FINISHED, study.standing()
        live.stop("ward-a")
        live.stop("server")
        site = live.sites["ward-a"]
        followed = [e.data["lead"] for e in read_entries(site / "ledger.jsonl") if e.type == "mandate_followed"]
        assert followed == ["ann", "ben"]
        assert answer("study", "log", "long", "-f", live.federation)["verified"]
        audited(live, study, tmp_path / "evidence")


def audited(live: LocalFederation, study: StudyFolder, evidence: Path) -> None:
    """What an auditor finds: one journal under two keys, and who asked for what."""
    answer("site", "ledger", "--to", evidence, "--config", live.sites["ward-a"] / "site.toml")
    ledger, card = evidence / "ward-a-ledger.jsonl", evidence / "ward-a-key-card.json"
    mandates = evidence / "ward-a-coordinators.signed"
    lone = wardround("audit", "verify", ledger, "--key", card, "--head", study.journal)
    assert lone.exit_code != 0  # the card knows the first coordinator alone
    known = ("--key", card, "--coordinator", mandates)
    verified = answer("audit", "verify", ledger, *known, "--head", study.journal)
    assert verified["verdict"] == "consistent and anchored"
    answer("audit", "reconcile", study.journal, ledger, *known)
    led = [lead.key for lead in read_succession(mandates.read_bytes()).leads]
    words = [VERIFIER, ledger, json.loads(card.read_bytes())["identity_key"], "ward-a", study.journal, *led]
    short = subprocess.run([sys.executable, "-I", *words], capture_output=True, text=True, check=False)
    assert (short.returncode, short.stdout.strip()) == (0, verified["verdict"]), short.stderr
    asked = answer("audit", "openings", ledger, evidence / "ward-a-openings.jsonl", *known)["asked"]
    assert {one["signed_by"].partition(" ")[0] for one in asked} == {"ann", "ben"}
