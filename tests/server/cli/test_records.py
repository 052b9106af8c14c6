"""What is kept of a study, as the coordinator reads it: the log, a clone, the comparison."""

import json
from pathlib import Path

import pytest
import tiny_federation
from live_federation import CalmStudy, LiveFederation, answer, wardround

from deploy.provision import provision
from server.federation import load_federation
from server.journal import Journal
from server.records import EpochClaimed, ModelChosen, StudyStarted, TrainingEnded
from server.study_folder import StudyFolder
from shared.clock import utc_now
from shared.study import parse_study


@pytest.fixture
def begun(tmp_path: Path) -> StudyFolder:
    """A study of a federation that nobody serves, whose journal has two entries."""
    place = provision(tmp_path, name="f", host="127.0.0.1", fleet_port=9, sites=["a"], now=1_700_000_000)
    folder = tiny_federation.queue_study(place.federation, "begun", rounds=1, sites=1)
    key, one = load_federation(place.federation).coordinator_key, "1" * 64
    with Journal.open(folder.journal, key=key, clock=utc_now) as journal:
        journal.write(StudyStarted(study="begun", study_digest=one, start_digest=one, cohort=("a",)))
        journal.write(EpochClaimed(epoch=1, pid=10))
    return folder


def test_the_log_is_verified_and_fits_a_terminal(federation: LiveFederation, calm_study: CalmStudy) -> None:
    said = answer("study", "log", "calm", "-f", federation.federation)
    assert said["verified"]
    assert [entry["n"] for entry in said["entries"]] == list(range(1, len(said["entries"]) + 1))
    assert {entry["site"] for entry in said["entries"] if entry["type"] == "update_admitted"} == set(federation.sites)
    shown = wardround("study", "log", "calm", "-f", federation.federation).stdout.splitlines()
    numbers = [line.split()[0] for line in shown[1:-2]]  # the day before, an empty line and the verdict after
    assert [n for n in numbers if n.isdigit()] == [str(entry["n"]) for entry in said["entries"]]
    assert max(map(len, shown)) <= 80
    assert any("the round is committed: site-1, site-2, site-3" in line for line in shown)


def test_sites_of_few_patients_withhold_their_scores_and_every_view_says_so(
    federation: LiveFederation, calm_study: CalmStudy
) -> None:
    """Six patients of each site are for validation, and as many for testing."""
    words = ("calm", "-f", federation.federation)
    said = " ".join(wardround("study", "log", *words).stdout.split())
    assert "site-2 scores the model; withheld: validation, test" in said
    assert "by site-1, site-2, site-3: too few patients, in all or on one side of a class" in " ".join(
        wardround("study", "status", *words).stdout.split()
    )
    facts = answer("study", "report", *words)["facts"]
    assert facts["test"]["withheld"] == ["site-1", "site-2", "site-3"] and facts["test"]["auroc"]["value"] is None
    for site in federation.sites:
        told = {word for entry in federation.ledger(site, "release", "calm") for word in entry["tells"]}
        assert {"withheld.validation", "withheld.test"} < told and not any(word.startswith("scores.") for word in told)


def test_a_line_that_is_too_long_for_a_terminal_goes_on_beneath_itself(begun: StudyFolder) -> None:
    federation, one = begun.path.parents[1], "1" * 64
    with Journal.open(begun.journal, key=load_federation(federation).coordinator_key, clock=utc_now) as journal:
        journal.write(TrainingEnded(round=0, cause="patience", best=0))
        best = {"cause": "best", "metric": "auroc", "value": 0.9125, "cohort": ("a",), "candidates": (0,)}
        journal.write(ModelChosen.model_validate({"round": 0, "model_digest": one} | best))
    shown = wardround("study", "log", "begun", "-f", federation).stdout
    assert max(map(len, shown.splitlines())) <= 80
    told = shown[shown.index("the start model is chosen") :].splitlines()
    assert "\N{HORIZONTAL ELLIPSIS}" not in shown
    assert told[1].startswith(" " * 21) and not told[1].startswith(" " * 22)
    assert "the validation patients of 1 site is 0.912, the best of 1 model" in " ".join(shown.split())


def test_a_log_that_is_followed_ends_with_the_study(federation: LiveFederation, calm_study: CalmStudy) -> None:
    done = wardround("study", "log", "calm", "--follow", "-f", federation.federation)
    assert done.exit_code == 0
    assert "the study is finished" in done.stderr
    assert "The chain holds" in done.stdout


def test_a_log_that_was_changed_says_where(begun: StudyFolder) -> None:
    begun.journal.write_bytes(begun.journal.read_bytes().replace(b'"pid":10', b'"pid":11') + b"{}\n")
    done = wardround("study", "log", "begun", "-f", begun.path.parents[1], "--json")
    said = json.loads(done.stdout)
    assert (done.exit_code, said["error"]["code"], said["data"]["verified"]) == (4, "trust", False)
    assert len(said["data"]["entries"]) == 2


def test_a_clone_can_be_checked_and_asks_the_same(begun: StudyFolder, tmp_path: Path) -> None:
    federation, path = begun.path.parents[1], tmp_path / "Next_One.toml"
    said = answer("study", "clone", "begun", path, "-f", federation)
    assert (said["study"], said["from"], said["start_model"]) == ("next-one", "begun", None)
    assert answer("study", "check", path)["study"] == "next-one"
    assert parse_study(path.read_text()).rounds == begun.study().rounds
    assert wardround("study", "clone", "begun", path, "-f", federation).exit_code == 3  # the file is there
    assert wardround("study", "clone", "begun", tmp_path / "begun.toml", "-f", federation).exit_code == 3


def test_two_studies_stand_side_by_side(federation: LiveFederation, calm_study: CalmStudy) -> None:
    federation.run_study("one-round", rounds=1)
    said = answer("study", "compare", "calm", "one-round", "-f", federation.federation)
    assert said["differ"] == [{"key": "rounds.count", "a": 3, "b": 1}]
    assert (said["a"]["counted"], said["b"]["counted"], said["same_model"]) == (9, 3, False)
    shown = wardround("study", "compare", "calm", "one-round", "-f", federation.federation).stdout
    assert max(map(len, shown.splitlines())) <= 80
    assert "rounds.count" in shown
    assert "updates counted    9 of 9" in shown


def test_a_replay_is_the_same_byte_for_byte(federation: LiveFederation, calm_study: CalmStudy) -> None:
    said = answer("study", "replay", "calm", "-f", federation.federation)
    assert (said["replay"], said["bit_identical"], said["rounds"]) == ("calm-replay", True, 3)
    assert (said["first_difference"], said["differ"]) == (None, [])


def test_a_real_study_by_letter_names_no_site(federation: LiveFederation, calm_study: CalmStudy) -> None:
    words = ("study", "report", "calm", "-f", federation.federation)
    named = Path(answer(*words)["report"])
    said = answer(*words, "--letters")
    page, table = Path(said["report"]), Path(said["csv"])
    assert sorted(said["letters"]) == ["site A", "site B", "site C"]
    assert sorted(said["letters"].values()) == sorted(federation.sites)
    for site in federation.sites:
        assert site in named.read_text() + named.with_suffix(".csv").read_text()
        assert site not in page.read_text() + table.read_text()
        assert site not in json.dumps(said["facts"]) + page.name + table.name
    for letter in said["letters"]:
        assert letter in page.read_text()
        assert letter in table.read_text()
    shown = wardround(*words, "--letters").stdout
    assert all(f"{letter}  {name}" in shown for letter, name in said["letters"].items())
    assert max(len(line) for line in shown.splitlines() if "/" not in line) <= 80


def test_a_comparison_by_letter_names_no_site(federation: LiveFederation, calm_study: CalmStudy) -> None:
    words = ("study", "compare", "calm", "calm", "-f", federation.federation, "--letters")
    said = answer(*words)
    letters = said.pop("letters")
    assert said["a"]["worst_site"] in {*letters, None}  # None if all sites have the same figure
    assert not any(site in json.dumps(said) for site in federation.sites)
    assert "site A  site-" in wardround(*words).stdout
