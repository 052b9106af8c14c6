"""What hospital IT types at a running site, and at one that is not."""

import json
import time
from pathlib import Path

import pytest
import tiny_federation
from live_federation import CalmStudy, LiveFederation, answer, wardround

from client.settings import load_settings
from server.federation import create_federation
from server.membership.enrolment import invite


def test_status_of_a_running_site(federation: LiveFederation, calm_study: CalmStudy) -> None:
    config = federation.sites["site-1"] / "site.toml"
    federation.until(lambda: federation.site_state("site-1") == "waiting", "the site is idle")
    said = answer("site", "status", "--config", config)
    assert (said["site"], said["state"], said["device"]) == ("site-1", "waiting", "cpu")
    assert said["bytes_up"] > 0
    shown = wardround("site", "status", "--config", config)
    assert "waiting" in shown.stdout
    assert max(map(len, shown.stdout.splitlines())) <= 80


def test_status_beside_a_file_that_cannot_be_used(federation: LiveFederation) -> None:
    config = next(iter(federation.sites.values())) / "site.toml"
    sound = config.read_text()
    try:
        config.write_text(sound + "\ncolour = 1\n")
        found = answer("site", "status", "--config", config)
    finally:
        config.write_text(sound)
    assert found["state"] != "dead"
    assert found["disk"] is None


def test_sent_lists_what_left(federation: LiveFederation, calm_study: CalmStudy) -> None:
    config = federation.sites["site-1"] / "site.toml"
    said = answer("site", "sent", "--config", config, "--study", "calm")
    kinds = ["update" if row["update_digest"] else row["kind"] for row in said["releases"]]
    assert kinds == ["opened", "update", "update", "update", "ready", "closed"]
    assert said["bytes"] == sum(row["bytes"] for row in said["releases"])
    shown = wardround("site", "sent", "--config", config, "--study", "calm").stdout
    assert "6 releases" in shown
    assert max(map(len, shown.splitlines())) <= 80


def test_the_ledger_is_verified_and_handed_over_beside_a_running_agent(
    federation: LiveFederation, calm_study: CalmStudy, tmp_path: Path
) -> None:
    config = federation.sites["site-1"] / "site.toml"
    looked = answer("site", "ledger", "--config", config)
    assert (looked["site"], looked["files"]) == ("site-1", [])
    assert looked["fingerprint"] == answer("federation", "roster", federation.federation)["sites"][0]["fingerprint"]
    said = answer("site", "ledger", "--config", config, "--to", tmp_path / "out")
    assert sorted(map(str, (tmp_path / "out").iterdir())) == sorted(said["files"])
    shown = wardround("site", "ledger", "--config", config).stdout
    assert max(map(len, shown.splitlines())) <= 80
    ledger, card, *_ = said["files"]
    head = ("--head", calm_study.folder.path / "journal.jsonl")
    found = answer("audit", "verify", ledger, "--key", card, *head)
    assert (found["conforms"], found["unknown"]) == (True, {})
    assert found["anchors"][0]["entry"] == found["anchored_entries"] > 0


def test_sent_of_another_study_is_empty(federation: LiveFederation, calm_study: CalmStudy) -> None:
    config = federation.sites["site-1"] / "site.toml"
    assert answer("site", "sent", "--config", config, "--study", "no-such")["releases"] == []


def test_a_second_agent_on_the_same_folder_is_refused(federation: LiveFederation) -> None:
    done = wardround("site", "start", "--config", federation.sites["site-1"] / "site.toml", "--json")
    assert done.exit_code == 8
    assert "already serves" in json.loads(done.stdout)["error"]["what"]


@pytest.mark.parametrize("command", ["status", "sent", "start", "ledger"])
def test_a_folder_without_a_site(tmp_path: Path, command: str) -> None:
    done = wardround("site", command, "--config", tmp_path / "site.toml", "--json")
    assert done.exit_code == 3
    assert "--config" in json.loads(done.stdout)["error"]["remedy"]


@pytest.mark.parametrize("command", ["status", "sent", "start", "ledger"])
def test_a_configuration_with_another_name_is_refused(tmp_path: Path, command: str) -> None:
    (tmp_path / "site.toml").touch()
    (tmp_path / "other.toml").touch()
    done = wardround("site", command, "--config", tmp_path / "other.toml", "--json")
    assert done.exit_code == 3
    assert "other.toml would not be read" in json.loads(done.stdout)["error"]["what"]


# ------------------------------------------------------------------ joining


@pytest.fixture
def invitation(tmp_path: Path) -> Path:
    now = int(time.time())
    made = create_federation(tmp_path / "f", name="north", host="localhost", fleet_port=9443, now=now)
    return invite(made.folder, "ward-a", now=now)


def npz(tmp_path: Path, name: str) -> Path:
    file = tiny_federation.images(tmp_path, [name])[name].file
    assert file is not None
    return file


def test_join_prints_both_fingerprints(tmp_path: Path, invitation: Path) -> None:
    words = ("site", "join", invitation, tmp_path / "ward", "--kind", "npz", "--data", npz(tmp_path, "a"))
    said = answer(*words)
    theirs = answer("federation", "init", tmp_path / "g", "--name", "g", "--host", "h")["coordinator_fingerprint"]
    assert len(said["coordinator_fingerprint"]) == len(theirs)
    assert said["config_written"]
    shown = wardround(*words).stdout
    assert said["fingerprint"] in shown
    assert said["coordinator_fingerprint"] in shown
    assert "(kept as it was)" not in shown  # the same words again change nothing
    assert max(map(len, shown.splitlines())) <= 80


def test_joining_with_other_data_says_that_the_configuration_is_kept(tmp_path: Path, invitation: Path) -> None:
    words = ("site", "join", invitation, tmp_path / "ward", "--kind", "npz", "--data")
    answer(*words, npz(tmp_path, "a"))
    before = (tmp_path / "ward" / "site.toml").read_bytes()
    shown = " ".join(wardround(*words, npz(tmp_path, "b")).stdout.split())
    assert "(kept as it was)" in shown
    assert "Edit it" in shown
    assert not answer(*words, npz(tmp_path, "b"))["config_written"]
    assert (tmp_path / "ward" / "site.toml").read_bytes() == before


@pytest.mark.parametrize(
    "options",
    [
        ("--kind", "npz", "--data", "nowhere.npz"),
        ("--data", "nowhere", "--labels", "f/salt"),
        ("--data", "f", "--labels", "nowhere.csv", "--kind", "dicom"),
        ("--data", "f", "--labels", "f/salt"),
        ("--data", "f", "--kind", "dicom"),
        ("--labels", "f/salt"),
        ("--labels", "f/salt", "--modality", "CR"),
    ],
)
def test_join_makes_no_keys_for_data_that_are_not_there(
    tmp_path: Path, invitation: Path, options: tuple[str, ...]
) -> None:
    words = [
        tmp_path / word if n % 2 and options[n - 1] in ("--data", "--labels") else word
        for n, word in enumerate(options)
    ]
    done = wardround("site", "join", invitation, tmp_path / "ward", *words, "--json")
    assert done.exit_code == 3
    assert "--" in str(json.loads(done.stdout)["error"])
    assert not (tmp_path / "ward").exists()


def test_a_site_joins_with_the_kind_of_images_that_lie_there(tmp_path: Path, invitation: Path) -> None:
    (tmp_path / "images").mkdir()
    (tmp_path / "images/1.jpg").touch()
    words = ("--data", tmp_path / "images", "--labels", tmp_path / "f" / "salt")
    shown = " ".join(wardround("site", "join", invitation, tmp_path / "ward", *words).stdout.split())
    assert "images read as pictures, as they look" in shown
    commands = [f"site {word} --config" for word in ("data", "check", "start")]
    assert sorted(commands, key=shown.index) == commands
    assert load_settings(tmp_path / "ward" / "site.toml").data.kind == "pictures"
    answer("site", "join", invitation, tmp_path / "array", "--data", npz(tmp_path, "a"))
    assert load_settings(tmp_path / "array" / "site.toml").data.kind == "npz"


@pytest.mark.parametrize(
    ("pacs", "spoken_to"),
    [
        ("https://pacs.example/dicom-web", {"web": {"url": "https://pacs.example/dicom-web"}}),
        ("MAIN PACS@10.0.0.7:11112", {"dimse": {"called": "MAIN PACS", "host": "10.0.0.7", "port": 11112}}),
    ],
)
def test_a_site_with_a_pacs_alone_joins(
    tmp_path: Path, invitation: Path, pacs: str, spoken_to: dict[str, dict[str, object]]
) -> None:
    words = ("--pacs", pacs, "--modality", "CR", "--modality", "DX", "--labels", tmp_path / "f" / "salt")
    shown = wardround("site", "join", invitation, tmp_path / "ward", *words).stdout
    assert "site pull" in shown
    assert max(map(len, shown.splitlines())) <= 80
    found = load_settings(tmp_path / "ward" / "site.toml").data.pacs
    assert found is not None
    assert found.model_dump(exclude_defaults=True) == spoken_to | {"query": {"modalities": ("CR", "DX")}}


@pytest.mark.parametrize(
    "words",
    [
        ("--pacs", "pacs.example", "--modality", "CR"),
        ("--pacs", "AE@host:99999", "--modality", "CR"),
        ("--pacs", "https://pacs.example/dicom-web"),
        ("--pacs", "https://pacs.example/dicom-web", "--modality", "chest"),
        ("--pacs", "https://pacs.example/dicom-web", "--modality", "CR", "--kind", "nifti"),
        ("--pacs", "https://pacs.example/dicom-web", "--modality", "CR", "--data", "."),
    ],
)
def test_a_pacs_that_is_not_named_soundly_makes_no_keys(
    tmp_path: Path, invitation: Path, words: tuple[str, ...]
) -> None:
    labels = ("--labels", tmp_path / "f" / "salt")
    done = wardround("site", "join", invitation, tmp_path / "ward", *words, *labels, "--json")
    assert done.exit_code == 3
    assert json.loads(done.stdout)["error"]["remedy"]
    assert not (tmp_path / "ward").exists()
