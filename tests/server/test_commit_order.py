"""Spooled, admitted, folded, checkpointed, journalled: a death between any two leaves the same model in the end."""

import hashlib
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from server.journal import read_history
from server.owner import claim, read_owner
from shared.update import pack

# Two rounds of two sites; dies at the numbered step of the second round, or runs on to the end.
STUDY = """
import hashlib, os, signal, sys
from pathlib import Path
import numpy as np
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from server.admission import Admission, Claim, Expected
from server.aggregate import fold
from server.checkpoint import Checkpoints, Participation
from server.journal import Journal
from server.optimizers import optimizer_for
from server.owner import claim
from server.records import *
from server.spool import UpdateSpool
from shared.ledger import timestamp
from shared.server_step import ServerSpec
from shared.update import PackedFile, pack

folder, die_at = Path(sys.argv[1]), int(sys.argv[2])
rule = optimizer_for(ServerSpec(optimizer=sys.argv[3]))
key, sites = Ed25519PrivateKey.from_private_bytes(b"\\1" * 32), ("north", "south")
spool, checkpoints = UpdateSpool(folder / "spool"), Checkpoints(folder / "models")
start = folder / "models" / "start.safetensors"
digest = lambda data: hashlib.sha256(data).hexdigest()

def maybe_die(number, step):
    if number == 2 and step == die_at:
        os.kill(os.getpid(), signal.SIGKILL)

def update(model, site, number):
    return pack({"w": np.float32(0.1) * (model.tensor("w") + len(site) * number + sites.index(site))})

with Journal.open(folder / "journal.jsonl", key=key, clock=lambda: timestamp(0)) as journal:
    history = journal.history
    ownership = claim(folder, after=history.epoch)
    if history.started is None:
        journal.write(StudyStarted(
            study="s", study_digest="0" * 64, start_digest=digest(start.read_bytes()), cohort=sites))
    journal.write(EpochClaimed(epoch=ownership.epoch, pid=os.getpid()))
    if not history.opened:
        for site in sites:
            journal.write(SiteOpened(site=site, contract_digest="0" * 64, patients={"train": 5},
                                     examples={"train": 5}, device="cpu", threads=1))
    found = checkpoints.latest_sound()
    if found and found.round == history.last_round + 1:
        journal.write(found.committed)
    while history.last_round < 2:
        number, before = history.last_round + 1, history.model_digest
        path = checkpoints.model(number - 1) if number > 1 else start
        model = PackedFile(path)
        journal.write(RoundOpened(round=number, epoch=ownership.epoch, model_digest=before, cohort=sites))
        admitted = {}
        for site in sites:
            data = update(model, site, number)
            if (held := spool.find(number, site, digest(data))) is None:
                with spool.writer(number, site, size=len(data)) as writer:
                    writer.write(data[:9])
                    maybe_die(number, 1)
                    writer.write(data[9:])
                    held = writer.commit(digest(data))
            maybe_die(number, 2)
            said = Claim(site=site, update_digest=digest(data), update_bytes=len(data), examples=5, patients=5, steps=0)
            expected = Expected(declared=history.declared, norms=history.norms, seen=history.seen,
                                admitted=frozenset(admitted))
            rules = Admission(model.table(), norm_factor=10.0, digest_of=spool.digest_of)
            admitted[site] = update_ok = rules.admit(said, held, expected)
            journal.write(UpdateAdmitted(round=number, site=site, update_digest=digest(data), examples=5,
                                         norm=update_ok.norm))
            maybe_die(number, 3)
        def stepping(moments):
            aggregate = fold([(a.examples, a.packed) for a in admitted.values()], model)
            for piece in rule.step(model, aggregate, moments):
                yield piece
                maybe_die(number, 4)
        remembered = checkpoints.moments(number, kinds=rule.kinds, tensors=model.table())
        with ownership.guard(), remembered as moments:
            journal.sync()
            norms = history.norms.after(tuple(a.norm for a in admitted.values()))
            saved = checkpoints.save(model.table(), stepping(moments), number=number, epoch=ownership.epoch,
                previous_digest=before, participation=Participation(counted=sites), norms=norms, moments=moments)
            maybe_die(number, 5)
            journal.write(saved.committed)
        maybe_die(number, 6)
        checkpoints.prune(number)
        spool.forget_before(number)
    journal.write(StudyFinished(model_digest=history.model_digest))
"""


def run(folder: Path, rule: str, die_at: int = 0) -> int:
    return subprocess.run([sys.executable, "-c", STUDY, folder, str(die_at), rule], check=False).returncode


def launched(folder: Path) -> Path:
    (folder / "models").mkdir(parents=True)
    (folder / "models" / "start.safetensors").write_bytes(pack({"w": np.arange(6, dtype=np.float32)}))
    return folder


def outcome(folder: Path) -> dict[str, str]:
    """Digests of the final model and of what the optimizer remembers."""
    files = sorted((folder / "models").glob("round-00002.*s"))
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.fixture(scope="module", params=["fedavg", "fedadam"])
def undisturbed(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, dict[str, str]]:
    folder = launched(tmp_path_factory.mktemp("study") / "undisturbed")
    assert run(folder, request.param) == 0
    return request.param, outcome(folder)


@pytest.mark.parametrize("die_at", range(1, 7))
def test_a_death_anywhere_changes_nothing(tmp_path: Path, undisturbed: tuple[str, dict[str, str]], die_at: int) -> None:
    rule, expected = undisturbed
    folder = launched(tmp_path / "study")
    assert run(folder, rule, die_at) == -signal.SIGKILL
    assert run(folder, rule) == 0
    history = read_history(folder / "journal.jsonl")
    assert outcome(folder) == expected
    assert ("round-00002.moments" in expected) == (rule == "fedadam")
    assert history.model_digest == expected["round-00002.safetensors"]
    assert [commit.round for commit in history.commits] == [1, 2]
    assert [commit.counted for commit in history.commits] == [("north", "south")] * 2
    assert len(history.norms.rounds) == 2
    assert history.epoch == 2
    assert not list(folder.rglob("*.part"))


def test_racing_claims_get_different_epochs(tmp_path: Path) -> None:
    code = "import sys; from pathlib import Path; from server.owner import claim; print(claim(Path(sys.argv[1])).epoch)"
    racers = [subprocess.Popen([sys.executable, "-c", code, tmp_path], stdout=subprocess.PIPE) for _ in range(4)]
    epochs = sorted(int(racer.communicate()[0]) for racer in racers)
    assert epochs == [1, 2, 3, 4]
    assert claim(tmp_path).epoch == 5
    owner = read_owner(tmp_path)
    assert owner is not None
    assert owner.pid == os.getpid()
