"""What the coordinator types: write a study, check it, launch it, follow it, stop it."""

import json
from pathlib import Path

import pytest
from live_federation import STUDY, CalmStudy, LiveFederation, answer, wardround


def refused(*words: object) -> tuple[int, str]:
    done = wardround(*words, "--json")
    return done.exit_code, json.loads(done.stdout)["error"]["what"]


def test_a_new_study_file_can_be_checked_at_once(tmp_path: Path) -> None:
    path = tmp_path / "My_First.toml"
    assert answer("study", "new", path)["study"] == "my-first"
    said = answer("study", "check", path)
    assert said["study"] == "my-first"
    assert any("never an image" in line for line in said["explained"])
    assert refused("study", "new", path)[0] == 3


def test_a_study_file_with_an_unknown_key_names_the_known_ones(tmp_path: Path) -> None:
    path = tmp_path / "s.toml"
    path.write_text(STUDY.format(name="s", rounds=1, steps=1, quorum=1) + "\n[extra]\n")
    code, what = refused("study", "check", path)
    assert code == 3
    assert "extra: unknown key; known here: " in what


def test_a_study_is_listed_and_shown(federation: LiveFederation, calm_study: CalmStudy) -> None:
    listed = {
        study["study"]: study["state"] for study in answer("study", "list", "-f", federation.federation)["studies"]
    }
    assert listed["calm"] == "finished"
    said = answer("study", "status", "calm", "-f", federation.federation)
    assert (said["state"], said["committed"], said["rounds"]) == ("finished", 3, 3)
    for words in (("list",), ("status", "calm"), ("watch", "calm")):
        shown = wardround("study", *words, "-f", federation.federation)
        assert shown.exit_code == 0
        assert "finished" in shown.stdout
        assert max(map(len, shown.stdout.splitlines())) <= 80


def test_the_report_is_one_file_that_needs_no_network(federation: LiveFederation, calm_study: CalmStudy) -> None:
    path = Path(answer("study", "report", "calm", "-f", federation.federation)["report"])
    text = path.read_text()
    assert "calm" in text
    assert 'src="http' not in text
    assert 'href="http' not in text


@pytest.mark.parametrize(("verb", "code"), [("stop", 7), ("resume", 7)])
def test_a_finished_study_is_neither_stopped_nor_resumed(
    federation: LiveFederation, calm_study: CalmStudy, verb: str, code: int
) -> None:
    assert refused("study", verb, "calm", "-f", federation.federation)[0] == code


def test_a_name_is_used_once(federation: LiveFederation, calm_study: CalmStudy, tmp_path: Path) -> None:
    path = tmp_path / "again.toml"
    path.write_text(STUDY.format(name="calm", rounds=1, steps=1, quorum=1))
    code, what = refused("study", "launch", path, "-f", federation.federation)
    assert (code, what) == (7, "A study named calm exists already.")


def test_a_study_that_is_not_there_is_answered_with_those_that_are(
    federation: LiveFederation, calm_study: CalmStudy
) -> None:
    done = wardround("study", "status", "no-such", "-f", federation.federation, "--json")
    assert done.exit_code == 7
    assert "calm" in json.loads(done.stdout)["error"]["remedy"]
