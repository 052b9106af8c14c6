"""Many virtual sites in one process: the Grid, the engine, the bare loop beside it, and the command."""

import json
import os
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from flwr.app import ConfigRecord, Context, Message, RecordDict
from typer.testing import CliRunner

from deploy.cli import app
from deploy.simulation.grid import InProcessGrid
from deploy.simulation.in_process import available_cores, lanes_for
from deploy.simulation.run import run, spans
from deploy.simulation.virtual import Wish, make_federation
from server.journal import read_history
from server.record import Record
from server.records import RoundCommitted, RoundOpened, SiteScored
from server.study_folder import StudyState
from shared.errors import ConfigError, StudyError
from shared.ledger import read_entries
from shared.study import Study, parse_study

PLAIN = {**os.environ, "COLUMNS": "80", "NO_COLOR": "1", "TERM": "dumb"}
DIGEST = "a" * 64
STUDY = """\
[study]
name = "squares"
[task]
classes = ["bright"]
[images]
size_px = 16
[model]
width = 8
norm = "{norm}"
[training]
batch_size = 8
epochs_per_round = 1
[rounds]
count = 5
quorum = {quorum}
"""


@pytest.fixture
def study_file(tmp_path: Path) -> Path:
    file = tmp_path / "study.toml"
    file.write_text(STUDY.format(quorum=2, norm="batch"))
    return file


@pytest.fixture
def npz(tmp_path: Path) -> Path:
    """Ninety-six bright and dark squares, each its own patient."""
    rng, labels = np.random.default_rng(0), np.arange(96) % 2
    squares = rng.integers(0, 120, (96, 16, 16), dtype=np.uint8) + (100 * labels[:, None, None]).astype(np.uint8)
    np.savez(tmp_path / "squares.npz", images=squares, labels=labels)
    return tmp_path / "squares.npz"


def wish(study_file: Path | None, npz: Path | None, *, sites: int = 4, rounds: int | None = 2) -> Wish:
    return Wish(study_file, npz, "iid", sites, rounds, seed=3, device="cpu")


def simulated(root: Path, asked: Wish, *, cores: int, plain_loop: bool = False) -> dict[str, Any]:
    root.mkdir()
    return run(root, asked, ray=False, cluster=None, cores=cores, plain_loop=plain_loop, say=lambda _: None)


# ------------------------------------------------------------------ the Grid


def echo(message: Message, context: Context) -> Message:
    """Who answered, on which thread; node 3 fails."""
    if context.node_config["name"] == "c":
        raise RuntimeError("broken")
    said = ConfigRecord({"name": str(context.node_config["name"]), "thread": threading.current_thread().name})
    return Message(RecordDict({"config": said}), reply_to=message)


@pytest.mark.usefixtures("flower_process")
def test_a_message_is_answered_once_by_the_node_it_was_sent_to() -> None:
    with InProcessGrid(echo, [{"name": "a"}, {"name": "b"}], lanes=2) as grid:
        assert list(grid.get_node_ids()) == [1, 2]
        sent = [Message(RecordDict(), node, "train") for node in (2, 1)]
        replies = list(grid.send_and_receive(sent, timeout=60))
        assert list(grid.pull_messages([message.metadata.message_id for message in sent])) == []
    by_question = {reply.metadata.reply_to_message_id: reply.content["config"]["name"] for reply in replies}
    assert [by_question[message.metadata.message_id] for message in sent] == ["b", "a"]
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("lane")]


@pytest.mark.usefixtures("flower_process")
def test_an_app_that_raises_gives_an_error_reply_and_its_lane_goes_on(capsys: pytest.CaptureFixture[str]) -> None:
    begun: list[str] = []
    nodes = [{"name": "a"}, {"name": "b"}, {"name": "c"}]
    with InProcessGrid(echo, nodes, lanes=1, begin=lambda: begun.append("lane")) as grid:
        sent = [grid.create_message(RecordDict(), "train", node, "1") for node in (3, 1)]
        failed, answered = sorted(grid.send_and_receive(sent, timeout=60), key=lambda reply: not reply.has_error())
    assert failed.has_error()
    assert "broken" not in str(failed.error)
    assert answered.content["config"]["thread"] == "lane-0"
    assert begun == ["lane"]
    assert "broken" in capsys.readouterr().err


@pytest.mark.usefixtures("flower_process")
def test_nobody_is_waited_for_longer_than_was_said() -> None:
    gate = threading.Event()

    def slow(message: Message, context: Context) -> Message:
        gate.wait(60)
        return Message(RecordDict(), reply_to=message)

    with InProcessGrid(slow, [{"name": "a"}], lanes=1) as grid:
        assert list(grid.send_and_receive([Message(RecordDict(), 1, "train")], timeout=0.05)) == []
        gate.set()


@pytest.mark.usefixtures("flower_process")
def test_who_leaves_early_waits_for_the_work_in_hand_alone() -> None:
    begun, gate, answered = threading.Event(), threading.Event(), []

    def slow(message: Message, context: Context) -> Message:
        begun.set()
        gate.wait(60)
        answered.append(message.metadata.message_id)
        return Message(RecordDict(), reply_to=message)

    with InProcessGrid(slow, [{"name": "a"}], lanes=1) as grid:
        first, *_ = grid.push_messages([Message(RecordDict(), 1, "train") for _ in range(5)])
        assert begun.wait(60)
        threading.Timer(2.0, gate.set).start()
    assert answered == [first]


# ------------------------------------------------------------------ studies and lanes


def study(name: str = "squares", norm: str = "group") -> Study:
    return parse_study(STUDY.format(quorum=2, norm=norm).replace("squares", name))


def test_a_copy_of_a_study_that_says_something_else_has_another_digest() -> None:
    one = study()
    before = one.digest()
    other = one.model_copy(update={"rounds": one.rounds.model_copy(update={"count": 9})})
    assert other.digest() != before
    assert other.digest() == Study.model_validate(other.model_dump()).digest()
    assert one.model_copy().digest() == one.digest() == before
    assert one == study()


def test_a_network_that_draws_random_numbers_gets_one_lane() -> None:
    drawing = study().model_copy(update={"model": study().model.model_copy(update={"name": "efficientnet-b0"})})
    assert lanes_for(study(), 4) == 4
    assert lanes_for(drawing, 4) == 1
    assert 1 <= available_cores() <= (os.cpu_count() or 1)


# ------------------------------------------------------------------ a whole study


def test_the_model_does_not_depend_on_the_number_of_lanes(tmp_path: Path, study_file: Path, npz: Path) -> None:
    two = simulated(tmp_path / "two", wish(study_file, npz), cores=2, plain_loop=True)
    one = simulated(tmp_path / "one", wish(study_file, npz), cores=1)
    assert one["weights_sha256"] == two["weights_sha256"]
    assert (two["sites"], two["rounds"], two["lanes"], two["engine"]) == (4, 2, 2, "in-process")
    assert (len(two["seconds"]), len(two["plain_loops"])) == (2, 3)
    assert min(two["plain_loops"]) <= two["plain_loop_s"] <= max(two["plain_loops"])
    assert two["ratio"] == pytest.approx(two["seconds_per_round"] / two["plain_loop_s"], rel=0.05)
    assert "ratio" not in one

    history = read_history(Path(two["study_folder"]) / "journal.jsonl")
    names = tuple(f"site-{number}" for number in range(1, 5))
    assert [commit.counted for commit in history.commits] == [names] * 2
    for name in names:
        entries = read_entries(tmp_path / "two" / "sites" / name / "ledger.jsonl")
        kinds = [entry.data["kind"] for entry in entries if entry.type == "release"]
        assert kinds == ["opened", "ready", "ready", "ready", "closed"]


def test_a_study_that_fails_says_why(tmp_path: Path, study_file: Path) -> None:
    labels = np.zeros(16, np.int64) + 7  # no class of the study
    np.savez(tmp_path / "odd.npz", images=np.zeros((16, 16, 16), np.uint8), labels=labels)
    with pytest.raises(StudyError, match="Too few sites to open the study"):
        simulated(tmp_path / "root", wish(study_file, tmp_path / "odd.npz"), cores=1)


def test_a_quorum_above_the_sites_is_refused_before_anything_runs(tmp_path: Path, npz: Path) -> None:
    file = tmp_path / "study.toml"
    file.write_text(STUDY.format(quorum=9, norm="group"))
    with pytest.raises(ConfigError, match="quorum is 9; there are 4"):
        make_federation(tmp_path / "root", wish(file, npz))


def test_a_study_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"absent\.toml"):
        make_federation(tmp_path, wish(tmp_path / "absent.toml", None))


def test_the_derived_study_fits_the_file_and_the_number_of_sites(tmp_path: Path, npz: Path) -> None:
    made = make_federation(tmp_path / "root", wish(None, npz, sites=3, rounds=None))
    derived = made.study.study()
    assert (derived.rounds.quorum, derived.rounds.count, derived.images.size_px) == (3, 3, 16)
    assert made.study.standing().state is StudyState.QUEUED


def test_rounds_are_timed_by_the_journal() -> None:
    records: list[tuple[str, Record]] = []
    for number, (opened, committed) in {1: (0, 4), 2: (5, 7.5)}.items():
        records.append((stamp(opened), RoundOpened(round=number, epoch=1, model_digest=DIGEST, cohort=("a",))))
        if number == 2:
            records.append((stamp(6), RoundOpened(round=2, epoch=2, model_digest=DIGEST, cohort=("a",))))
        done = RoundCommitted(round=number, epoch=1, model_digest=DIGEST, previous_digest=DIGEST, counted=("a",))
        records.append((stamp(committed), done))
    assert spans(records) == [5, 2.5]


def stamp(second: float) -> str:
    return f"2026-01-01T00:00:{second:06.3f}Z"


# ------------------------------------------------------------------ the command


def test_the_command_answers_in_json_and_leaves_nothing(tmp_path: Path, study_file: Path, npz: Path) -> None:
    words = ["simulate", str(study_file), "--npz", str(npz), "--sites", "3", "--rounds", "1", "--json"]
    done = CliRunner().invoke(app, [*words, "--keep", str(tmp_path / "kept")], env=PLAIN)
    found = json.loads(done.stdout)
    assert found["ok"], found
    assert (found["data"]["sites"], found["data"]["rounds"]) == (3, 1)
    assert found["data"]["rss_peak_bytes"] > 0
    assert (Path(found["data"]["study_folder"]) / "report.html").is_file()

    shown = CliRunner().invoke(app, words[:-1], env=PLAIN)
    assert shown.exit_code == 0
    assert found["data"]["weights_sha256"] in shown.stdout
    assert "to one thread" in shown.stdout


# ------------------------------------------------------------------ clinical columns


CLINICAL = """
[clinical.age]
unit = "years"
low = 0
high = 100
[clinical.sex]
kind = "category"
values = ["f", "m"]
"""


@pytest.mark.usefixtures("flower_process")
def test_a_study_learns_from_what_is_known_beside_the_images(tmp_path: Path, study_file: Path) -> None:
    """The pictures are noise; the label is whether the patient is old, and a quarter of the ages is missing."""
    rng, age = np.random.default_rng(0), np.linspace(20, 80, 160)
    images = rng.integers(0, 256, (160, 16, 16), dtype=np.uint8)
    told, sex = np.where(rng.random(160) < 0.25, np.nan, age), np.tile(["f", "m", "unknown", ""], 40)
    np.savez(tmp_path / "old.npz", images=images, labels=(age > 50).astype(np.uint8), age=told, sex=sex)
    study_file.write_text(STUDY.format(quorum=2, norm="group") + CLINICAL)
    asked = wish(study_file, tmp_path / "old.npz", sites=2, rounds=4)
    simulated(tmp_path / "run", asked, cores=1)
    journal = next((tmp_path / "run").rglob("journal.jsonl"))
    scored = [entry.data["scores"] for entry in read_entries(journal) if entry.type == SiteScored.entry_type()]
    areas = [score["figures"]["auroc"] for scores in scored for score in scores if score["split"] == "test"]
    assert len(areas) == 2
    assert np.mean(areas) > 0.75
