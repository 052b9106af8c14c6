"""The best model through the whole engine: real doors, ledgers, spools and journals, two sites."""

from pathlib import Path

import pytest
from memory_ward import MemoryWard
from rich.console import Console
from tiny_federation import images

from client.policy import Policy
from server.cli.standing import show_standing, standing_of
from server.journal import read_history
from server.report import report_data
from server.study_folder import StudyFolder
from shared.canonical import digest
from shared.ledger import read_entries
from shared.metrics import add
from shared.study import parse_study
from shared.tasks import task_for

pytestmark = pytest.mark.usefixtures("flower_process")

STUDY = """\
[study]
name = "choosing"
seed = 5
[task]
classes = ["bright"]
[images]
size_px = 16
[model]
width = 8
[training]
batch_size = 4
learning_rate = 0.3
epochs_per_round = 1
[rounds]
count = 9
quorum = 2
deadline_s = 600
[selection]
model = "best"
metric = "loss"
patience_rounds = 2
"""


def test_the_best_model_of_a_study_that_stops_early_is_tested_and_no_other(tmp_path: Path) -> None:
    ward = MemoryWard(tmp_path / "ward", images(tmp_path, ["east", "west"]))
    folder = ward.run(STUDY)
    history, task = read_history(folder.journal), task_for(parse_study(STUDY).task)

    scores = {n: [r.scores[0] for r in history.readies if r.round == n + 1] for n in range(history.last_round)}
    scores[history.last_round] = [said.scores[0] for said in history.validated.values()]
    assert all(len(of_model) == 2 for of_model in scores.values())
    losses = {n: task.figures(add(s.statistics for s in of_model))["loss"] for n, of_model in scores.items()}
    best = min(losses, key=lambda n: (losses[n], n))

    assert history.trained is not None
    assert history.chosen is not None
    assert history.trained.cause == "patience"
    assert history.last_round < 9
    assert (history.chosen.round, history.chosen.value) == (best, losses[best])
    assert best != history.last_round  # else this test shows nothing
    assert digest((folder.path / "model.safetensors").read_bytes()) == history.digest_after(best)
    assert report_data(folder)["integrity"]["model_holds"]
    assert_told(folder, ward.federation, history.trained.round, best)
    for site in ward.sites.values():
        released = [entry.data for entry in read_entries(site / "ledger.jsonl") if entry.type == "release"]
        trips = [
            (e["stage"], e["round"], e["scored_model"]) for e in released if e["stage"] in ("validate", "evaluate")
        ]
        assert trips == [("validate", 10, history.model_digest), ("evaluate", 11, history.final_digest)]


@pytest.mark.parametrize(("smallest", "told"), [(2, "mean"), (3, None)], ids=["their own AUROC", "nothing"])
def test_sites_that_tell_little_still_have_a_model_chosen(tmp_path: Path, smallest: int, told: str | None) -> None:
    """Each has two patients of a class to validate on, and two to test."""
    text = STUDY.replace('"loss"', '"auroc"').replace("count = 9", "count = 2").replace("patience_rounds = 2\n", "")
    ward = MemoryWard(tmp_path / "ward", images(tmp_path, ["east", "west"]), policy=Policy(smallest_cell=smallest))
    folder = ward.run(text)
    history, report = read_history(folder.journal), report_data(folder)
    assert history.chosen is not None
    assert (history.chosen.cause, history.chosen.how) == (("best", "mean") if told else ("unscored", "pooled"))
    assert all(not score.statistics for ready in history.readies for score in ready.scores)
    assert report["test"]["sites"] == (("east", "west") if told else ())
    assert report["test"]["withheld"] == (() if told else ("east", "west"))
    assert (report["test"]["auroc"]["value"] is not None) == bool(told)


def test_each_sites_own_model_is_scored_at_every_site(tmp_path: Path) -> None:
    ward = MemoryWard(tmp_path / "ward", images(tmp_path, ["east", "west"]))
    crossed = STUDY.replace("count = 9", 'count = 1\nsites = ["east", "west"]').replace("width = 8", 'norm = "batch"')
    folder = ward.run(crossed.partition("[selection]")[0] + "[selection]\ncross_site = true\n")
    history = read_history(folder.journal)
    assert {(said.of, said.site) for said in history.own_scores} == {(a, b) for a in ward.sites for b in ward.sites}
    assert all(said.model_digest == history.own_models[said.of] for said in history.own_scores)
    assert len({*history.own_models.values(), history.model_digest}) == 3
    assert len(report_data(folder)["own_models"]["rows"]) == 3
    for site in ward.sites.values():
        entries = [entry.data for entry in read_entries(site / "ledger.jsonl") if entry.type == "model_received"]
        assert [(e["round"], e.get("own_model_of")) for e in entries] == [
            (1, None),
            (2, "east"),
            (3, "west"),
            (4, None),
        ]
        assert [e["model_digest"] for e in entries[1:3]] == [history.own_models[name] for name in ("east", "west")]


def assert_told(folder: StudyFolder, federation: Path, last: int, best: int) -> None:
    """Status says after which round training stopped, and which model was taken."""
    standing = standing_of(folder, federation=federation)
    assert (standing["trained"]["round"], standing["chosen"]["round"]) == (last, best)
    assert (standing["round"], standing["committed"]) == (last, last)
    assert (standing["sites"], standing["closes_in_s"]) == ([], None)  # the study has ended: nobody works
    console = Console(width=80, record=True, file=(folder.path / "shown").open("w"))
    console.print(show_standing(standing))
    console.file.close()
    shown = " ".join(console.export_text().split())
    assert f"training stopped after round {last}: no better model since that of round" in shown
    assert f"chosen the model of round {best}: its loss on the validation patients of 2 sites is" in shown
