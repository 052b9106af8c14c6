"""`study rehearse` against running federations: what is found, what is told, and that nothing is left of it."""

import json
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import psutil
import pytest
from live_federation import PATIENCE_S, PLAIN, STUDY, CalmStudy, LiveFederation, answer, wardround
from rich.console import Console

from client.imaging.settings import DataSettings
from deploy.bench.small_disk import fill, small_disk, why_not
from deploy.local import LocalFederation, wardround_command
from deploy.provision import provision
from server.cli.rehearsing import follow_to_end, shown
from server.forecast import TRIP_S, Seen, forecast
from server.launch import launch
from server.study_folder import StudyFolder, StudyState, all_studies, find_study
from shared.clock import utc_now
from shared.errors import StudyError
from shared.rehearsal import Check, Code, Terms, told
from shared.study import parse_study

NOW = 1_800_000_000
CHECKS = [check.value for check in Check]


def study_file(root: Path, name: str, *, rounds: int = 3, quorum: int = 3) -> Path:
    file = root / f"{name}.toml"
    file.write_text(STUDY.format(name=name, rounds=rounds, steps=4, quorum=quorum))
    return file


def left_behind(site: Path, name: str) -> list[Path]:
    """Files of a rehearsal at a site, its log and ledger apart."""
    return [path for path in site.rglob("*") if name in path.name or ".partial" in path.name]


def types(federation: LiveFederation, folder: StudyFolder) -> list[str]:
    return [entry.type for entry in federation.journal(folder)]


def test_the_table_fits_80_columns(capsys: pytest.CaptureFixture[str]) -> None:
    worst = dict.fromkeys(Check, Code.PASS) | told(Code.NO_TRAINING_PATIENTS) | told(Code.CLOCK_BEHIND)
    sites = (
        Seen("st-mary-of-the-lake", dict.fromkeys(Check, Code.PASS), 99_000.0, 900.0),
        Seen("south", worst),
        Seen("west", missing="waiting"),
        *(Seen(f"ward-{number}", dict.fromkeys(Check, Code.PASS), 11.0, 1.0) for number in range(6)),
    )
    study = parse_study(STUDY.format(name="night", rounds=10, steps=4, quorum=3))
    Console(width=80).print(shown(study, forecast(study, sites)), markup=False)
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 80
    assert next(line for line in lines if line.startswith("west")).split()[1:] == ["\N{EN DASH}"] * 9
    assert any(line.startswith("FIX   south, images: No patient") for line in lines)
    assert "the study  about 280 h: 10 rounds" in "\n".join(lines)
    assert sum(line.startswith("advice") for line in lines) == 5


def test_what_is_below_a_second_is_not_told_to_the_millisecond(capsys: pytest.CaptureFixture[str]) -> None:
    study = parse_study(STUDY.format(name="night", rounds=10, steps=4, quorum=1))
    Console(width=80).print(shown(study, forecast(study, (Seen("north", {}, 0.058, 0.0),))), markup=False)
    text = capsys.readouterr().out
    assert "a round    less than 1 s; north takes longest" in text
    assert "the study  about 6.6 s: 10 rounds" in text


def test_a_buffer_that_no_round_can_fill_is_refused_before_anything_is_asked(tmp_path: Path) -> None:
    place = provision(tmp_path / "ward", name="ward", host="127.0.0.1", fleet_port=9, sites=["north", "south"], now=NOW)
    file = study_file(tmp_path, "night", quorum=1)
    file.write_text(file.read_text().replace("[rounds]\n", "[rounds]\nbuffer = 3\n"))
    done = wardround("study", "rehearse", file, "-f", place.federation, "--json")
    assert json.loads(done.stdout)["error"]["what"].startswith("A round of the study closes with 3 sites, but only 2")
    assert list(all_studies(place.federation)) == []


def test_why_a_rehearsal_failed_is_told(tmp_path: Path) -> None:
    place = provision(tmp_path / "ward", name="ward", host="127.0.0.1", fleet_port=9, sites=["north"], now=NOW)
    study = parse_study(STUDY.format(name="night-rehearsal", rounds=1, steps=4, quorum=1))
    terms = Terms(deadline_s=9)
    folder = launch(place.federation, study, source="", start_model=None, now=utc_now(), rehearsal=terms)
    folder.move(StudyState.FAILED, now=utc_now(), reason="The roster is damaged.", remedy="Mend the roster.")
    with pytest.raises(StudyError) as caught:
        follow_to_end(folder, place.federation)
    assert "The roster is damaged." in caught.value.what
    assert caught.value.remedy == "Mend the roster."


# ------------------------------------------------------------ three sites that are ready


def test_a_rehearsal_beside_a_running_study_tells_the_time_and_changes_nothing(
    federation: LiveFederation, calm_study: CalmStudy
) -> None:
    beside = federation.launch("beside")
    file = study_file(federation.root, "night", rounds=10)
    said = answer("study", "rehearse", file, "-f", federation.federation)
    assert federation.finished(beside) == calm_study.digest
    assert (said["study"], said["rehearsal"], said["ready"], said["remarks"]) == ("night", "night-rehearsal", True, [])
    assert [site["site"] for site in said["sites"]] == list(federation.sites)
    for site in said["sites"]:
        assert {check: found["outcome"] for check, found in site["findings"].items()} == dict.fromkeys(CHECKS, "pass")
        assert site["round_s"] >= site["work_s"] > 0
    assert said["slowest"] in federation.sites
    assert said["round_s"] >= TRIP_S
    assert said["study_s"] == pytest.approx(10 * said["round_s"] + 2 * TRIP_S, rel=0.1)
    folder = find_study(federation.federation, "night-rehearsal")
    assert federation.journal_verdict(folder).ok
    for site, place in federation.sites.items():
        federation.until(lambda place=place: left_behind(place, "night") == [], f"{site} has put it away")
        (release,) = federation.ledger(site, "release", "night-rehearsal")
        assert (release["kind"], release["update_digest"]) == ("rehearsed", None)
        assert release["bytes"] < 1000
        assert federation.ledger_verdict(site).ok
    assert federation.run_study("after") == calm_study.digest


def test_it_is_listed_as_a_rehearsal_and_is_not_taken_for_a_study(federation: LiveFederation) -> None:
    file = study_file(federation.root, "noon")
    shown = wardround("study", "rehearse", file, "-f", federation.federation)
    assert shown.exit_code == 0, shown.output
    assert max(map(len, shown.stdout.splitlines())) <= 80
    head, row = shown.stdout.splitlines()[:2]
    assert head.split() == ["site", *CHECKS, "round"]
    assert row.split()[1:9] == ["PASS"] * 8
    listed = wardround("study", "list", "-f", federation.federation).stdout
    assert next(line for line in listed.splitlines() if line.startswith("noon-rehearsal")).split()[2] == "rehearsal"
    assert "this is a rehearsal" in wardround("study", "status", "noon-rehearsal", "-f", federation.federation).stdout
    log = wardround("study", "log", "noon-rehearsal", "-f", federation.federation).stdout
    assert "has rehearsed: all is well; a round takes it" in log
    assert "the rehearsal is finished" in log
    assert "its model is" not in log
    name, file_too = "noon-rehearsal", str(federation.root / "cloned.toml")
    commands = [["replay", name], ["amend", name, "--rounds", "9"], ["report", name], ["compare", name, name]]
    for command in (*commands, ["clone", name, file_too], ["track", name, "--to", "http://127.0.0.1:9"]):
        refused = wardround("study", *command, "-f", federation.federation, "--json")
        assert "is a rehearsal" in json.loads(refused.stdout)["error"]["what"]
    again = answer("study", "rehearse", file, "-f", federation.federation)
    assert again["rehearsal"] == "noon-rehearsal-2"


@pytest.fixture
def held_up(federation: LiveFederation, request: pytest.FixtureRequest) -> Iterator[psutil.Process]:
    """A worker of the first site that stands still."""
    federation.run_study(request.node.name.replace("_", "-")[:40], rounds=1)  # so that there is one
    worker = psutil.Process(federation.worker_pid("site-1"))
    worker.suspend()
    yield worker
    if worker.is_running():
        worker.resume()


def begin(federation: LiveFederation, name: str) -> tuple[subprocess.Popen[bytes], StudyFolder]:
    """Rehearse in a process of its own, until all but the first site have answered."""
    file = study_file(federation.root, name)
    command = [wardround_command(), "study", "rehearse", str(file), "-f", str(federation.federation), "--json"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=PLAIN)
    folder = StudyFolder(federation.federation / "studies" / f"{name}-rehearsal")
    federation.until(lambda: folder.journal.exists() and types(federation, folder).count("site_rehearsed") == 2, name)
    return process, folder


@pytest.mark.slow
def test_ctrl_c_ends_it_at_the_sites_too(federation: LiveFederation, held_up: psutil.Process) -> None:
    process, folder = begin(federation, "cut-short")
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=PATIENCE_S)
    error = json.loads(out)["error"]
    assert (process.returncode, error["code"]) == (130, "interrupted")
    assert "at the sites, too" in error["what"]
    assert "go on" not in error["remedy"]
    assert folder.standing().state is StudyState.STOPPED
    federation.until(lambda: not held_up.is_running(), "the end of the worker that stood still")
    assert len(federation.ledger("site-1", "rehearsal_ended", folder.name)) == 1
    assert left_behind(federation.sites["site-1"], "cut-short") == []
    assert federation.journal_verdict(folder).ok


@pytest.mark.slow
def test_it_survives_its_process(federation: LiveFederation, held_up: psutil.Process) -> None:
    process, folder = begin(federation, "killed")
    federation.kill(federation.serverapp_pid(folder))
    federation.until(lambda: types(federation, folder).count("epoch_claimed") == 2, "a new owner")
    held_up.resume()
    out, _ = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 0, out
    assert types(federation, folder).count("site_rehearsed") == 3
    assert json.loads(out)["data"]["ready"]
    assert federation.journal_verdict(folder).ok


# ------------------------------------------------------------ sites that are not


def squares(path: Path, *, classes: int) -> DataSettings:
    """Thirty images of one class or of two."""
    rng, arrays = np.random.default_rng(0), {}
    for split, count in {"train": 16, "val": 8, "test": 6}.items():
        arrays[f"{split}_images"] = rng.integers(0, 255, (count, 28, 28), dtype=np.uint8)
        arrays[f"{split}_labels"] = np.arange(count) % classes
    np.savez(path, **arrays)
    return DataSettings(kind="npz", file=path)


class TroubledFederation(LocalFederation):
    """Six sites, of which one is ready; what is wrong with each of the others is in its name."""

    def __init__(self, root: Path) -> None:
        root.mkdir()
        data = {name: squares(root / f"{name}.npz", classes=2) for name in ("ready", "away", "full-disk", "tight")}
        data |= {"one-class": squares(root / "one.npz", classes=1)}
        data |= {"no-file": DataSettings(kind="npz", file=root / "nowhere.npz")}
        super().__init__(root, data, device="cpu")

    def begin(self) -> None:
        self.serve()
        for name in self.sites:
            if name != "away":
                self.start_site(name)
        self.wait_for(lambda: all(map(self._waits, self.sites)), patience_s=PATIENCE_S, what="the sites are there")

    def _waits(self, name: str) -> bool:
        status = self.sites[name] / "status.json"
        return name == "away" or (status.exists() and json.loads(status.read_bytes())["state"] == "waiting")


@pytest.mark.slow
@pytest.mark.skipif(why_not() is not None, reason="a small disk needs root on Linux")
def test_each_trouble_is_named_with_its_remedy(tmp_path: Path) -> None:
    with TroubledFederation(tmp_path / "ward") as federation:
        with small_disk(federation.sites["full-disk"] / "spool", mib=1) as disk:
            federation.begin()
            fill(disk)
            worker = next(
                child
                for child in psutil.Process(federation.processes["tight"].pid).children()
                if "client.worker" in child.cmdline()
            )
            worker.rlimit(psutil.RLIMIT_AS, (1 << 20, psutil.RLIM_INFINITY))
            file = study_file(tmp_path, "night", quorum=2)
            done = wardround("study", "rehearse", file, "-f", federation.federation, "--deadline", "60", "--json")
            shown = wardround("study", "status", "night-rehearsal", "-f", federation.federation)
        for site in federation.sites.values():
            assert left_behind(site, "night") == []
    assert done.exit_code == 7, shown.output
    said = json.loads(done.stdout)
    assert said["error"]["what"] == "night is not ready: away, full-disk, no-file, tight."
    found = {(r["site"], r["check"], r["outcome"], r["code"]) for r in said["data"]["remarks"]}
    assert found == {
        ("away", "answer", "fix", "waiting"),
        ("full-disk", "disk", "fix", "no_room"),
        ("no-file", "images", "fix", "not_found"),
        ("one-class", "images", "warn", "one_class"),
        ("tight", "memory", "fix", "out_of_memory"),
    }
    assert all(remark["remedy"] for remark in said["data"]["remarks"])
    times = {site["site"]: site["round_s"] for site in said["data"]["sites"]}
    assert {site for site, seconds in times.items() if seconds is not None} == {"ready", "one-class"}
