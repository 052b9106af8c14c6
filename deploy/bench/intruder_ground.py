"""What an intruder stands before: a federation that serves, with studies that follow each other all the time.

Three sites work honestly. A fourth is on the roster, and its keys are in the benchmark's hands: the
insider. Everything that was refused is told by who tried; whether the studies suffered, by their journals.
"""

import json
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from client.join import Enrolment, load_enrolment
from deploy.bench.bed import await_end, queue, seconds
from deploy.bench.pictures import SIDE_PX, draw_sites
from deploy.local import LocalFederation
from server.conduct import NODES_FILE
from server.federation import load_federation
from server.journal import read_history
from server.study_folder import StudyFolder, StudyState
from shared.keys import transport_pem

HONEST = ("east", "north", "south")
INSIDER = "west"
ROUNDS = 4
PATIENCE_S = 120.0
TURN_S = 0.05
STUDY = """\
[study]
name = "{name}"
seed = 0

[task]
classes = ["spot"]

[images]
size_px = {size_px}

[model]
width = 16

[training]
batch_size = 16
steps_per_round = 2

[rounds]
count = {rounds}
quorum = 3
sites = ["east", "north", "south"]
deadline_s = 120
"""


class GotIn(Exception):
    """An intruder was not refused; says what it got."""


class Studies:
    """Honest studies, one after the other, until somebody stops them; each must come to the same model.

    Args:
        federation: serving.
    """

    def __init__(self, federation: LocalFederation) -> None:
        self._federation = federation
        self._stopping = threading.Event()
        self._folders: list[StudyFolder] = []
        self._thread = threading.Thread(target=self._go_on, name="studies")

    def calm(self) -> dict[str, Any]:
        """One study that nobody disturbs."""
        return self._account(self._run("calm"))

    def start(self) -> None:
        """Let them follow each other from now on."""
        self._thread.start()

    def stop(self) -> list[dict[str, Any]]:
        """Let the last one end; what became of each."""
        self._stopping.set()
        self._thread.join()
        return [self._account(folder) for folder in self._folders]

    def committed(self) -> int:
        """Rounds that were committed until now."""
        return sum(int(folder.read_status().get("committed", 0)) for folder in list(self._folders))

    def await_round(self) -> None:
        """Wait until a whole round has been worked from now on: the one under way, and the next.

        Raises:
            GotIn: none was, for as long as anybody has patience: the intruder keeps the sites from their work.
        """
        before, deadline = self.committed(), time.monotonic() + PATIENCE_S
        while self.committed() < before + 2:
            if time.monotonic() > deadline or not self._thread.is_alive():
                raise GotIn("the studies stood still")
            time.sleep(TURN_S)

    def _go_on(self) -> None:
        while not self._stopping.is_set():
            self._run(f"honest-{len(self._folders) + 1}")

    def _run(self, name: str) -> StudyFolder:
        folder = queue(self._federation, STUDY.format(name=name, size_px=SIDE_PX, rounds=ROUNDS))
        if name != "calm":
            self._folders.append(folder)
        await_end(self._federation, folder)
        return folder

    @staticmethod
    def _account(folder: StudyFolder) -> dict[str, Any]:
        history = read_history(folder.path / "journal.jsonl")
        return {
            "study": folder.name,
            "finished": folder.standing().state is StudyState.FINISHED,
            "all_counted": [c.counted for c in history.commits] == [HONEST] * ROUNDS,
            "weights_sha256": history.final_digest,
            "seconds": seconds(folder),
        }


@dataclass(frozen=True)
class Ground:
    """Where the intruders try.

    Attributes:
        running: what runs.
        scratch: an empty folder for what an intruder makes.
        studies: what goes on meanwhile.
    """

    running: LocalFederation
    scratch: Path
    studies: Studies

    @property
    def federation(self) -> Path:
        """The folder that is served."""
        return self.running.federation

    @property
    def sites(self) -> Mapping[str, Path]:
        """The sites' folders by name."""
        return self.running.sites

    @property
    def port(self) -> int:
        """The Fleet API's."""
        return self.running.port

    @property
    def server_log(self) -> Path:
        """What the coordinator sees."""
        return self.running.root / "logs" / "server.log"

    def coordinator(self) -> Ed25519PublicKey:
        """The key that speaks for the federation."""
        return load_federation(self.federation).coordinator_key.public_key()

    @property
    def ca_pem(self) -> bytes:
        """What every site has from its invitation."""
        return (self.federation / "ca" / "certificate.pem").read_bytes()

    def enrolment(self, site: str = INSIDER) -> Enrolment:
        """A site's keys."""
        return load_enrolment(self.sites[site])

    def public_key(self, site: str) -> bytes:
        """A site's transport key, PEM; no secret."""
        return transport_pem(self.enrolment(site).transport_key.public_key()).encode()

    def nodes(self) -> dict[str, int]:
        """Flower's node ids by site; an insider may guess them, they are no secret."""
        return dict(json.loads((self.federation / NODES_FILE).read_bytes()))

    def hears(self, sentence: str, act: Callable[[], object]) -> str:
        """The line that the coordinator's console says of an act.

        Raises:
            GotIn: it says nothing.
        """
        seen = self.server_log.stat().st_size
        act()
        deadline = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline:
            for line in self.server_log.read_bytes()[seen:].decode(errors="replace").splitlines():
                if sentence in line:
                    return line.partition("Z ")[2]
            time.sleep(TURN_S)
        raise GotIn("the server took it without a word")


def prepare(root: Path) -> tuple[LocalFederation, Ground]:
    """A federation of the honest sites and the insider, not started."""
    data = draw_sites(root / "images", dict.fromkeys((*HONEST, INSIDER), 64), seed=0)
    federation = LocalFederation(root / "bench", data, device="cpu")
    scratch = root / "scratch"
    scratch.mkdir()
    return federation, Ground(federation, scratch, Studies(federation))


def open_doors(federation: LocalFederation) -> None:
    """Start the server and the honest sites."""
    federation.serve()
    for site in HONEST:
        federation.start_site(site)
