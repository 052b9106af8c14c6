"""A real federation on loopback for the tests: one server, three sites, small images, rounds of a moment.

Everything runs as others run it: the `wardround` command, the stock SuperLink with TLS, agents with
their workers. Studies are launched and followed through the command line.
"""

import json
import os
import signal
import time
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import psutil
from click.testing import Result
from typer.testing import CliRunner

from client.imaging.settings import DataSettings
from client.join import load_enrolment
from client.policy import Policy
from deploy.cli import app
from deploy.local import LocalFederation
from deploy.partition import partition
from server.journal import read_history
from server.owner import read_owner
from server.records import RoundCommitted
from server.study_folder import StudyFolder, StudyState, find_study
from shared.ledger import Entry, Verdict, read_entries, read_lines, read_whole_lines, verify
from shared.loopback import free_port

PLAIN = {**os.environ, "COLUMNS": "80", "NO_COLOR": "1", "TERM": "dumb"}
PATIENCE_S = 90.0
STUDY = """\
[study]
name = "{name}"
seed = 3

[task]
classes = ["opacity"]

[images]
size_px = 28

[model]
name = "basic_cnn"
width = 16
norm = "none"

[training]
steps_per_round = {steps}
batch_size = 8

[rounds]
count = {rounds}
quorum = {quorum}
deadline_s = 60
"""


def images(path: Path, *, patients: int = 90, seed: int = 0) -> Path:
    """An array file of bright squares and dark ones, with a label that follows the brightness."""
    rng = np.random.default_rng(seed)
    labels = np.arange(patients) % 2
    pixels = rng.normal(110, 40, (patients, 28, 28)) + 40 * labels[:, None, None]
    split = np.array(["train", "train", "train", "validation", "test"])[np.arange(patients) // 2 % 5]
    np.savez(
        path,
        images=np.clip(pixels, 0, 255).astype(np.uint8),
        labels=labels,
        patient=np.array([f"patient {n}" for n in range(patients)]),
        split=split,
    )
    return path


def _shows_metrics(config: Path, *lines: str) -> int:
    """Let what is configured here show its figures; the port of the page."""
    port = free_port()
    with config.open("a") as file:
        file.write("\n".join(("\n[metrics]", f"port = {port}", *lines, "")))
    return port


def wardround(*words: object) -> Result:
    """One command as a person types it."""
    return CliRunner().invoke(app, [str(word) for word in words], env=PLAIN)


def answer(*words: object) -> dict[str, Any]:
    """The data of a command that succeeded."""
    done = wardround(*words, "--json")
    assert done.exit_code == 0, done.output or repr(done.exception)
    return dict(json.loads(done.stdout)["data"])


class CalmStudy(NamedTuple):
    """A finished study and the digest of its final model."""

    folder: StudyFolder
    digest: str


class LiveFederation(LocalFederation):
    """The running federation, and what the tests ask of it."""

    def __init__(self, root: Path) -> None:
        root.mkdir(exist_ok=True)
        made = partition(images(root / "all.npz"), scheme="iid", sites=3, seed=0, out=root / "data")
        data = {m.name: DataSettings(kind="npz", file=m.file) for m in made}
        super().__init__(root, data, device="cpu", policy=Policy())  # as a hospital leaves it
        self.health_port, self.log_mb = free_port(), 0.001
        self.pages = {name: _shows_metrics(folder / "site.toml") for name, folder in self.sites.items()}
        self.pages["server"] = _shows_metrics(self.federation / "federation.toml", f"grpc_port = {self.health_port}")
        for folder, file in ((self.federation, "federation.toml"), *((f, "site.toml") for f in self.sites.values())):
            with (folder / file).open("a") as config:
                config.write(f"\n[log]\nmax_mb = {self.log_mb}\nkeep = 1000\n")

    def begin(self) -> None:
        """Start the server and every site, and wait until all are connected."""
        self.serve()
        for name in self.sites:
            self.start_site(name)
        self.wait_for(
            lambda: all(self.site_state(name) == "waiting" for name in self.sites),
            patience_s=PATIENCE_S,
            what="three connected sites",
        )

    # ------------------------------------------------------------ studies

    def launch(
        self, name: str, *, rounds: int = 3, steps: int = 4, quorum: int = 3, training: str = "", extra: str = ""
    ) -> StudyFolder:
        """Queue a study through the command line; `training` are further lines of its section, `extra` of its end."""
        file = self.root / f"{name}.toml"
        text = STUDY.replace("[training]\n", f"[training]\n{training}\n")
        file.write_text(text.format(name=name, rounds=rounds, steps=steps, quorum=quorum) + extra)
        answer("study", "launch", file, "-f", self.federation)
        return find_study(self.federation, name)

    def finished(self, folder: StudyFolder) -> str:
        """Wait for a study to finish well; the digest of its final model."""
        ended = (StudyState.FINISHED, StudyState.FAILED, StudyState.STOPPED)
        self.until(lambda: folder.standing().state in ended, f"the end of {folder.name}")
        assert folder.standing().state is StudyState.FINISHED, folder.standing()
        digest = read_history(folder.path / "journal.jsonl").final_digest
        assert digest is not None
        return digest

    def run_study(self, name: str, **how: Any) -> str:
        """Launch a study and wait for its end; the digest of its final model."""
        return self.finished(self.launch(name, **how))

    def until(self, condition: Any, what: str) -> None:
        """Wait for something, with the patience of a busy machine."""
        deadline = time.monotonic() + PATIENCE_S
        while not condition():
            assert time.monotonic() < deadline, f"{what}: {PATIENCE_S:.0f} s passed"
            time.sleep(0.02)

    def reached(self, folder: StudyFolder, *, commits: int) -> None:
        """Wait until so many rounds are committed; the next one is under way then."""
        self.wrote(folder, "round_committed", times=commits)

    def wrote(self, folder: StudyFolder, entry_type: str, *, times: int = 1) -> None:
        """Wait until the study's journal has so many entries of a type."""
        journal, mark = folder.path / "journal.jsonl", f'"type":"{entry_type}"'.encode()
        self.until(
            lambda: journal.exists() and journal.read_bytes().count(mark) >= times,
            f"{entry_type} {times} of {folder.name}",
        )

    # ------------------------------------------------------------ what there is

    def site_state(self, name: str) -> str:
        """What `site status` says."""
        try:
            return str(json.loads((self.sites[name] / "status.json").read_bytes())["state"])
        except (OSError, ValueError):
            return "not started"

    def journal(self, folder: StudyFolder) -> list[Entry]:
        """All entries of a study's journal."""
        return list(read_entries(folder.path / "journal.jsonl"))

    def journal_verdict(self, folder: StudyFolder) -> Verdict:
        """The auditor's check of a study's journal."""
        from server.federation import load_federation

        public = load_federation(self.federation).coordinator_key.public_key()
        return verify(read_lines(folder.path / "journal.jsonl"), public_key=public, signer="coordinator")

    def ledger(self, site: str, kind: str, study: str) -> list[dict[str, Any]]:
        """A site's ledger entries of one type about one study."""
        entries = read_entries(self.sites[site] / "ledger.jsonl")
        return [e.data for e in entries if e.type == kind and e.data.get("study") == study]

    def ledger_verdict(self, site: str) -> Verdict:
        """The auditor's check of a site's ledger, to which its agent may be writing."""
        public = load_enrolment(self.sites[site]).identity_key.public_key()
        return verify(read_whole_lines(self.sites[site] / "ledger.jsonl"), public_key=public, signer=site)

    def commits(self, folder: StudyFolder) -> list[RoundCommitted]:
        """The committed rounds of a study."""
        return list(read_history(folder.path / "journal.jsonl").commits)

    # ------------------------------------------------------------ faults

    def kill(self, pid: int) -> None:
        """End a process as a power cut does, and wait until it is gone."""
        process = psutil.Process(pid)
        process.send_signal(signal.SIGKILL)
        psutil.wait_procs([process], timeout=PATIENCE_S)

    def family(self) -> list[psutil.Process]:
        """Every process of the federation now, the ServerApps and helpers of the SuperLink included."""
        roots = [psutil.Process(process.pid) for process in self.processes.values()]
        return [member for root in roots for member in [root, *root.children(recursive=True)]]

    def serverapp_pid(self, folder: StudyFolder) -> int:
        """The process that conducts a study."""
        owner = read_owner(folder.path)
        assert owner is not None
        return owner.pid

    def superlink_pid(self) -> int:
        """The stock SuperLink's own process."""
        children = psutil.Process(self.processes["server"].pid).children()
        return next(child.pid for child in children if any("superlink" in word for word in child.cmdline()))

    def worker_pid(self, site: str) -> int:
        """The worker of a site."""
        children = psutil.Process(self.processes[site].pid).children()
        return next(child.pid for child in children if "client.worker" in child.cmdline())
