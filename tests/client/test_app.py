"""The ClientApp as Flower calls it: a Message in, a Message out, a real site folder behind it."""

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from flwr.app import Array, ArrayRecord, ConfigRecord, Context, Message, RecordDict
from tiny_federation import images, queue_study

from client import in_process
from client.app import SITES_VARIABLE, app, site_folder
from client.jobs import RoundDone, RoundJob
from client.settings import AboutSite, ComputeSettings, SiteSettings, write_settings
from client.worker_process import WorkerProcess
from deploy.local import TELLS_ALL
from deploy.provision import Provisioned, provision
from server.federation import load_federation
from server.launch import START_MODEL
from shared.address import Address, Stage
from shared.canonical import digest
from shared.envelope import open_envelope, seal
from shared.errors import ConfigError, WireCode
from shared.ledger import read_entries, read_lines, verify
from shared.update import PackedFile, payload_limit
from shared.wire import (
    TO_SERVER,
    Close,
    Closed,
    Grant,
    Open,
    Opened,
    Ready,
    Refused,
    Uploaded,
    Work,
    decode_to_server,
    encode,
    to_site,
)

pytestmark = pytest.mark.usefixtures("flower_process")


class Server:
    """The coordinator's side of one study, and the site `north` behind the ClientApp."""

    def __init__(self, place: Provisioned) -> None:
        self.folder, self.other = place.sites["north"], place.sites["south"]
        self.federation = load_federation(place.federation)
        queued = queue_study(place.federation, "tiny", rounds=2, sites=2)
        self.study, self.model = queued.study(), (queued.path / START_MODEL).read_bytes()
        self.tensors = PackedFile(queued.path / START_MODEL).table()
        self.config: dict[str, Any] = {"site-folder": str(self.folder)}

    def address(self, stage: Stage, number: int, *, attempt: int = 1) -> Address:
        return Address(study="tiny", epoch=1, round=number, attempt=attempt, stage=stage)

    def opening(self) -> Open:
        cohort = ("north", "south")
        return Open(address=self.address(Stage.OPEN, 0), study=self.study, tensors=self.tensors, cohort=cohort)

    def work(self, stage: Stage, number: int, *, attempt: int = 1, slot: bool = True) -> Work:
        return Work(
            address=self.address(stage, number, attempt=attempt),
            study_digest=self.study.digest(),
            model_digest=digest(self.model),
            previous_digest=None if number == 1 else digest(self.model),
            payload_bytes=len(self.model),
            slot_bytes=payload_limit(self.tensors) if slot else 0,
        )

    def send(self, envelope: bytes, payload: bytes | None = None) -> Message:
        content = RecordDict({"config": ConfigRecord({"envelope": envelope})})
        if payload is not None:
            array = Array(dtype="uint8", shape=(len(payload),), stype="safetensors", data=payload)
            content["payload"] = ArrayRecord({"payload": array})
        return self.deliver(content)

    def deliver(self, content: RecordDict, kind: str = "train") -> Message:
        """Hand a message to the ClientApp as Flower does; whatever comes back is one reply without an error."""
        message = Message(content, 7, kind)
        message.metadata.__dict__["_message_id"] = "a" * 64
        reply = app(message, Context(1, 7, self.config, RecordDict(), {}))
        assert not reply.has_error()
        assert reply.metadata.reply_to_message_id == "a" * 64
        return reply

    def ask(self, message: Any, *, site: str = "north") -> tuple[Any, bytes | None]:
        """The site's answer, its signature checked, and the payload that came with it."""
        envelope = seal(
            encode(message), key=self.federation.coordinator_key, signer="coordinator", purpose=to_site(site)
        )
        reply = self.send(envelope, self.model if isinstance(message, Work) else None).content
        payload = reply["payload"]["payload"].data if "payload" in reply else None
        answer = reply["config"]["envelope"]
        if not answer:
            return None, payload
        keys = self.federation.roster.identity_keys(at=time.time())
        opened = open_envelope(answer, keys=keys, purpose=TO_SERVER)
        assert opened.signer == "north"
        return decode_to_server(opened.body), payload

    def entries(self, kind: str) -> list[dict[str, Any]]:
        return [entry.data for entry in read_entries(self.folder / "ledger.jsonl") if entry.type == kind]


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    place = provision(
        tmp_path, name="ward", host="127.0.0.1", fleet_port=9, sites=["north", "south"], now=int(time.time())
    )
    for name, data in images(tmp_path, ["north", "south"]).items():
        compute = ComputeSettings(device="cpu", threads=1)
        settings = SiteSettings(site=AboutSite(name=name), data=data, compute=compute, policy=TELLS_ALL)
        write_settings(place.sites[name] / "site.toml", settings)
    threads, repeatable = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    yield Server(place)
    in_process._benches.clear()
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(repeatable)


# ------------------------------------------------------------------ a study


def test_a_whole_study_goes_through_the_clientapp(server: Server) -> None:
    opened, _ = server.ask(server.opening())
    assert isinstance(opened, Opened)
    assert opened.patients == {"train": 16, "validation": 4, "test": 4}

    trained, update = server.ask(server.work(Stage.TRAIN, 1))
    assert isinstance(trained, Ready)
    assert trained.uploaded
    assert trained.update_digest == digest(update)
    assert trained.counts.examples == 16

    scored, nothing = server.ask(server.work(Stage.EVALUATE, 3))
    assert isinstance(scored, Ready)
    assert [score.split for score in scored.scores] == ["validation", "test"]
    assert nothing is None

    closed, _ = server.ask(Close(address=server.address(Stage.CLOSE, 3), reason="finished"))
    assert isinstance(closed, Closed)
    assert [entry["kind"] for entry in server.entries("release")] == ["opened", "ready", "ready", "closed"]
    key = server.federation.roster.identity_keys(at=time.time())["north"]
    assert verify(read_lines(server.folder / "ledger.jsonl"), public_key=key, signer="north").ok


def test_the_update_is_the_one_that_a_worker_process_makes(server: Server, tmp_path: Path) -> None:
    server.ask(server.opening())
    _, update = server.ask(server.work(Stage.TRAIN, 1))
    model = tmp_path / "model.safetensors"
    model.write_bytes(server.model)
    job = RoundJob(study=server.study, round=1, model=model, model_digest=digest(server.model), out=tmp_path)
    worker = WorkerProcess(server.folder)
    try:
        worker.submit(job)
        done: list[Any] = []
        while not any(isinstance(event, RoundDone) for event in done):
            assert not worker.crashed(), (server.folder / "worker.log").read_text()
            done += worker.listen(1.0)
    finally:
        worker.end()
    assert (tmp_path / "update.safetensors").read_bytes() == update


def test_without_a_slot_the_update_waits_for_its_grant(server: Server) -> None:
    server.ask(server.opening())
    ready, update = server.ask(server.work(Stage.TRAIN, 1, slot=False))
    assert (ready.uploaded, update) == (False, None)
    grant = Grant(address=server.address(Stage.UPLOAD, 1), update_digest=ready.update_digest, lease_s=30.0)
    uploaded, update = server.ask(grant)
    assert isinstance(uploaded, Uploaded)
    assert digest(update) == uploaded.update_digest == ready.update_digest


def test_a_repeated_question_is_answered_from_the_spool(server: Server) -> None:
    server.ask(server.opening())
    _, update = server.ask(server.work(Stage.TRAIN, 1))
    in_process._benches.clear()  # as in another process
    again, same = server.ask(server.work(Stage.TRAIN, 1, attempt=2))
    assert again.replayed
    assert same == update
    assert not in_process._benches  # nothing was computed


def test_data_and_model_stay_warm_until_the_study_closes(server: Server) -> None:
    server.ask(server.opening())
    bench = in_process._benches[server.folder.resolve()]
    server.ask(server.work(Stage.TRAIN, 1))
    assert in_process._benches[server.folder.resolve()] is bench
    server.ask(Close(address=server.address(Stage.CLOSE, 2), reason="stopped"))
    assert not in_process._benches


# ------------------------------------------------------------------ no


def test_a_failure_of_the_work_leaves_as_a_code(server: Server, tmp_path: Path) -> None:
    (tmp_path / "north.npz").write_bytes(b"patient 17")
    refused, _ = server.ask(server.opening())
    assert isinstance(refused, Refused)
    assert refused.refusal is WireCode.NO_DATA


def test_an_unforeseen_failure_leaves_as_internal(server: Server, capfd: pytest.CaptureFixture[str]) -> None:
    server.ask(server.opening())
    (server.folder / "spool" / "tiny").write_text("a file where a folder should be")
    refused, _ = server.ask(server.work(Stage.TRAIN, 1))
    assert isinstance(refused, Refused)
    assert refused.refusal is WireCode.INTERNAL
    assert "FileExistsError" in capfd.readouterr().err
    assert server.entries("release")[-1]["kind"] == "refused"


def test_a_model_larger_than_announced_is_refused(server: Server) -> None:
    server.ask(server.opening())
    work = server.work(Stage.TRAIN, 1).model_copy(update={"payload_bytes": len(server.model) - 1})
    assert server.ask(work)[0].refusal is WireCode.MODEL_UNSOUND


def test_a_message_for_another_site_is_thrown_away(server: Server) -> None:
    assert server.ask(server.opening(), site="south") == (None, None)
    assert server.entries("message_discarded") == [{"code": "trust"}]
    assert server.entries("release") == []


@pytest.mark.parametrize("content", [RecordDict(), RecordDict({"config": ConfigRecord({"lr": 0.1})})])
def test_a_foreign_message_gets_an_empty_envelope(server: Server, content: RecordDict) -> None:
    assert server.deliver(content).content["config"]["envelope"] == b""


def test_a_damaged_ledger_lets_nothing_out(server: Server) -> None:
    server.ask(server.opening())
    ledger = server.folder / "ledger.jsonl"
    lines = ledger.read_bytes().splitlines(keepends=True)
    first = json.loads(lines[0])
    ledger.write_bytes(b"".join([json.dumps(first | {"time": "2020"}).encode() + b"\n", *lines[1:]]))
    assert server.ask(server.work(Stage.TRAIN, 1)) == (None, None)


def test_a_node_without_a_folder_gets_an_empty_envelope(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(SITES_VARIABLE, raising=False)
    server.config = {}
    assert server.send(b"anything").content["config"]["envelope"] == b""
    assert server.deliver(RecordDict(), "query").content["config"]["site"] == ""


# ------------------------------------------------------------------ which site


def test_a_virtual_node_plays_the_site_of_its_number(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(SITES_VARIABLE, str(server.folder.parent))
    server.config = {"partition-id": 1, "num-partitions": 2}
    assert site_folder(server.config) == server.other
    assert server.deliver(RecordDict(), "query").content["config"]["site"] == "south"


def test_the_folder_that_hospital_it_names_comes_first(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(SITES_VARIABLE, str(server.folder.parent))
    assert site_folder({"site-folder": str(server.folder), "partition-id": 1}) == server.folder


@pytest.mark.parametrize("number", [2, -1, "0", None])
def test_a_number_without_a_site_is_refused(server: Server, monkeypatch: pytest.MonkeyPatch, number: object) -> None:
    monkeypatch.setenv(SITES_VARIABLE, str(server.folder.parent))
    with pytest.raises(ConfigError, match="does not know which site") as error:
        site_folder({"partition-id": number})
    assert "site-folder" in error.value.remedy


def test_images_of_the_two_sites_differ(tmp_path: Path) -> None:
    north, south = (np.load(data.file)["train_images"] for data in images(tmp_path, ["north", "south"]).values())
    assert (north != south).any()
