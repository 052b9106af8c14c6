"""The archive for support says what helps, and nothing that was planted comes out of it."""

import json
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from live_federation import answer, wardround
from lone_site import LoneSite

from client.imaging.label_settings import LabelSettings
from client.imaging.settings import DataSettings
from client.notify_settings import NotifySettings
from client.policy import Policy
from client.privacy.budget_settings import BudgetSettings
from client.settings import AboutSite, SiteSettings, write_settings
from client.support import support_files

PATIENT = "Mustermann"
PLANTED = (PATIENT, "secret-folder", "C0FFEE-KEY", "Befund-von", "10.1.2.3", "Dr. Geheim", "/srv/")
LOG = f"""\
worker 7: network namespace empty
Traceback (most recent call last):
  File "/srv/secret-folder/client/worker.py", line 80, in do_job
    return bench.open({PATIENT})
  File "/srv/secret-folder/{PATIENT}.py", line 3, in {PATIENT}
ValueError: cannot read /srv/secret-folder/{PATIENT}.dcm
Traceback (most recent call last):
  File "/usr/lib/client/imaging/cache.py", line 5, in prepare
{PATIENT}: is no exception
Traceback (most recent call last):
torch.OutOfMemoryError: {PATIENT}
"""


@pytest.fixture
def site(tmp_path: Path) -> Iterator[LoneSite]:
    lone = LoneSite(tmp_path / "secret-folder")
    yield lone
    lone.close()


def plant(site: LoneSite) -> None:
    (site.folder / "site.toml").unlink()
    labels = LabelSettings(columns={"Befund-von": "label"}, words={PATIENT: "negative"})
    notify = NotifySettings(command=("/srv/tell", PATIENT), webhook="https://10.1.2.3/C0FFEE-KEY")
    policy = Policy(budget=BudgetSettings(lifetime_epsilon=3), smallest_cell=7)
    data = DataSettings(kind="dicom", folder=Path("/srv/images"), labels=Path("/srv/labels.csv"))
    settings = SiteSettings(site=AboutSite(name="north"), data=data, labels=labels, policy=policy, notify=notify)
    write_settings(site.folder / "site.toml", settings)
    (site.folder / "worker.log").write_text(LOG)
    status = {"state": "waiting", "trouble": "The line to 10.1.2.3 is down.", "device": "cuda:0", "site": "north"}
    (site.folder / "status.json").write_text(json.dumps(status | {"round": PATIENT + " ", "bytes_up": 7}))
    site.site.ledger.append("patient_withdrawn", {"by": "Dr. Geheim", "mark": "C0FFEE-KEY"}, time=site.site.now())
    site.site.ledger.append("worker_restarted", {"during": "round"}, time=site.site.now())
    (site.folder / "keys" / "patients.key").write_text("C0FFEE-KEY")


def test_nothing_that_was_planted_is_in_the_archive_and_what_helps_is(site: LoneSite, tmp_path: Path) -> None:
    plant(site)
    to = tmp_path / "out.zip"
    said = answer("site", "support", "--config", site.folder / "site.toml", "--to", to, "--yes")
    with zipfile.ZipFile(to) as packed:
        files = {name: packed.read(name) for name in packed.namelist()}
    whole = to.read_bytes() + b"".join(files.values())
    for word in PLANTED:
        assert word.encode() not in whole, word
    for key in site.folder.glob("keys/*"):
        assert key.read_bytes()[40:80] not in whole or not key.read_bytes()[40:80]
    parts = {name: json.loads(data) for name, data in files.items()}
    assert said["files"] == {name: len(data) for name, data in files.items()}
    settings = parts["settings.json"]
    assert (settings["policy"]["smallest_cell"], settings["data"]["kind"]) == (7, "dicom")
    assert (settings["data"]["folder"], settings["labels"]["words"]) == ("(set)", {"entries": 1})
    assert parts["failures.json"] == [
        {"raised": "ValueError", "through": ["client/worker.py:80 do_job"]},
        {"raised": "another", "through": ["client/imaging/cache.py:5 prepare"]},
        {"raised": "torch.OutOfMemoryError", "through": []},
    ]
    last = parts["ledger.json"]["last"][-1]
    assert (last["type"], last["during"]) == ("worker_restarted", "round")
    assert parts["status.json"] | {"in_trouble": True, "device": "cuda:0", "bytes_up": 7} == parts["status.json"]
    assert (to.stat().st_mode & 0o777, oct(to.stat().st_mode)[-3:]) == (0o600, "600")


def test_the_list_is_shown_and_asked_about_before_anything_is_written(site: LoneSite, tmp_path: Path) -> None:
    to = tmp_path / "out.zip"
    done = wardround("site", "support", "--config", site.folder / "site.toml", "--to", to)
    assert done.exit_code != 0 and not to.exists()
    assert "settings.json" in done.output and max(map(len, done.output.splitlines()[:8])) <= 80


def test_a_broken_site_has_an_archive_too(site: LoneSite, tmp_path: Path) -> None:
    (site.folder / "site.toml").write_text(f'[data]\nfolder = "{PATIENT}"\n')
    (site.folder / "ledger.jsonl").write_text(f"{PATIENT}\n")
    to = tmp_path / "out.zip"
    answer("site", "support", "--config", site.folder / "site.toml", "--to", to, "--yes")
    with zipfile.ZipFile(to) as packed:
        assert json.loads(packed.read("settings.json")) == {"unreadable": "config"}
        assert "unreadable" in json.loads(packed.read("ledger.json"))
        assert not any(PATIENT.encode() in packed.read(name) for name in packed.namelist())


def test_failures_are_found_in_a_log_that_was_put_aside(site: LoneSite) -> None:
    plant(site)
    whole = json.loads(support_files(site.folder)["failures.json"])
    (site.folder / "worker.log").rename(site.folder / "worker.log.1")
    assert json.loads(support_files(site.folder)["failures.json"]) == whole != []
