"""A whole federation inside the test's process: the ServerApp's conductor and the ClientApp over a Grid that is a call.

Everything but the line and the worker's process is the real thing: folders, keys, doors, ledgers, spools,
journal, checkpoints. Needs the fixture `flower_process`.
"""

import time
from collections.abc import Iterable
from pathlib import Path
from uuid import uuid4

import pytest
from flwr.app import Context, Message, RecordDict
from flwr.serverapp import Grid
from flwr.supercore.task_identity import TaskIdentity

from client.app import app
from client.imaging.settings import DataSettings
from client.policy import Policy
from client.settings import AboutSite, ComputeSettings, SiteSettings, write_settings
from deploy.audit.anchors import read_anchors
from deploy.audit.examine import Findings, examine
from deploy.audit.keys import read_signer
from deploy.local import TELLS_ALL
from deploy.provision import provision
from server.conduct import conduct
from server.journal import read_history
from server.launch import launch
from server.study_folder import StudyFolder, StudyState
from shared.errors import LinkError
from shared.ledger import read_lines
from shared.study import parse_study


def as_flower_process(patch: pytest.MonkeyPatch) -> None:
    """Make this process one of Flower's, which are told their run and node; messages can be made only there."""
    for name, number in {"_task_id": 1, "_run_id": 1, "_node_id": 0}.items():
        patch.setattr(TaskIdentity, name, number)


class CallGrid(Grid):
    """Flower's Grid whose nodes are calls of the ClientApp; the line breaks after `lasts` messages."""

    def __init__(self, folders: Iterable[Path], *, lasts: int | None = None) -> None:
        self._lasts = lasts
        self._contexts = {n: Context(1, n, {"site-folder": str(f)}, RecordDict(), {}) for n, f in enumerate(folders, 1)}
        self._replies: dict[str, Message] = {}

    def get_node_ids(self) -> Iterable[int]:
        return list(self._contexts)

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        return [self._push(message) for message in messages]

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        return [self._replies.pop(name) for name in message_ids if name in self._replies]

    def _push(self, message: Message) -> str:
        if self._lasts == 0:
            raise LinkError("The line is cut.", remedy="None: this is a test.")
        self._lasts = None if self._lasts is None else self._lasts - 1
        name = message.metadata.__dict__["_message_id"] = str(uuid4())
        self._replies[name] = app(message, self._contexts[message.metadata.dst_node_id])
        return name

    create_message = get_nodes = send_and_receive = run = set_run = None


class MemoryWard:
    """The federation's folder and its sites', ready for studies.

    Args:
        root: an empty folder.
        data: what each site has.
        policy: of each site.
    """

    def __init__(self, root: Path, data: dict[str, DataSettings], *, policy: Policy = TELLS_ALL) -> None:
        place = provision(root, name="ward", host="127.0.0.1", fleet_port=9, sites=list(data), now=int(time.time()))
        self.federation, self.sites = place.federation, place.sites
        for name, described in data.items():
            compute = ComputeSettings(device="cpu", threads=1)
            settings = SiteSettings(site=AboutSite(name=name), data=described, compute=compute, policy=policy)
            write_settings(self.sites[name] / "site.toml", settings)

    def run(self, text: str, *, backbone: Path | None = None, cut_after: int | None = None) -> StudyFolder:
        """Take a study from its text to its end; the sites' ledgers conform, and the journal anchors them.

        After `cut_after` messages the first owner loses the line, and another goes on.
        """
        study, now = parse_study(text), "2026-01-01T00:00:00Z"
        folder = launch(self.federation, study, source=text, start_model=None, backbone=backbone, now=now)
        if cut_after is not None:
            with pytest.raises(LinkError):
                conduct(self.federation, folder, CallGrid(self.sites.values(), lasts=cut_after), say=lambda _: None)
        conduct(self.federation, folder, CallGrid(self.sites.values()), say=lambda _: None)
        assert folder.standing().state is StudyState.FINISHED, folder.standing().reason
        for name in self.sites:
            found = self.audited(name, folder)
            assert found.end_anchored, (found.broken, found.missing, found.behind)
            assert (found.breaches.kept, dict(found.unknown)) == ([], {})
        return folder

    def audited(self, site: str, folder: StudyFolder) -> Findings:
        """What an auditor finds in a site's ledger, with the study's journal beside it."""
        who = read_signer(str(self.federation / "roster.signed"), site)
        return examine(read_lines(self.sites[site] / "ledger.jsonl"), who, read_anchors(str(folder.journal), who))

    def model_digest(self, folder: StudyFolder) -> str:
        """Of the final model."""
        digest = read_history(folder.path / "journal.jsonl").final_digest
        assert digest is not None
        return digest
