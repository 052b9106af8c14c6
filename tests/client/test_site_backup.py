"""A site's backup: one passphrase opens it, and what it opens is the site as it was, or nothing is written."""

import fcntl
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from file_contents import files
from live_federation import answer, wardround
from lone_site import START, LoneSite, a_study

from client.join import load_enrolment
from client.privacy.budget_file import open_budget
from client.site_backup import back_up, restore
from server.heads import Heads
from shared.address import Stage
from shared.canonical import digest
from shared.errors import ConfigError, ResourceError, TrustError, WireCode
from shared.ledger import read_entries
from shared.sealed import FEDERATION, new_header

OWN = "hospital IT's own words"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A site with a study open, images and all else that does not belong into a backup."""
    lone = LoneSite(tmp_path_factory.mktemp("site"))
    lone.open()
    lone.close()
    for name in (
        "images.npz",
        "cache/a/train.npy",
        "pacs/images/a",
        "logs/agent.jsonl",
        "link/link.json",
        "proxy.login",
    ):
        _write(lone.folder / name)
    for name in ("round-000001.x.partial/update.safetensors", "round-000001/incoming.safetensors"):
        _write(lone.folder / "spool" / "lungs" / name)
    for name in ("spool/lungs/round-000001/ready.json", "approvals/lungs.json", "withdrawn.jsonl", "budget.json"):
        _write(lone.folder / name)
    return lone.folder


def _write(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"x")


@pytest.fixture(scope="module")
def file(site: Path) -> Path:
    path = site.parent / "ward.backup"
    back_up(site, path, passphrase=OWN)
    return path


def test_what_is_restored_is_the_site_without_its_images(site: Path, file: Path, tmp_path: Path) -> None:
    done = restore(file, tmp_path / "again", passphrase=OWN)
    was, now = files(site), files(tmp_path / "again")
    assert now == {name: was[name] for name in now} and done.files == len(now)
    assert {"keys/identity.pem", "keys/transport.pem", "site.toml", "ledger.jsonl", "invitation.json"} <= now.keys()
    assert any(name.endswith("-request.json") for name in now)
    assert {
        "spool/lungs/round-000001/ready.json",
        "approvals/lungs.json",
        "withdrawn.jsonl",
        "budget.json",
    } <= now.keys()
    left_out = was.keys() - now.keys()
    assert {name.partition("/")[0] for name in left_out} <= {
        *("images.npz", "cache", "pacs", "logs", "link", "proxy.login", "spool", "agent.lock")
    }
    last = list(read_entries(site / "ledger.jsonl"))[-1]
    assert (done.site, done.entries, done.last) == ("north", last.n, last.time)
    assert load_enrolment(tmp_path / "again").invitation.site == "north"
    assert file.stat().st_mode & 0o777 == 0o600 and b"BEGIN" not in file.read_bytes()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda whole: whole, "passphrase is not that of this backup"),
        (lambda whole: b"PK" + whole, "no backup of a site"),
        (lambda whole: new_header(FEDERATION) + whole, "no backup of a site"),
        (lambda whole: b"", "no backup of a site"),
        (lambda whole: whole[:-1], "damaged"),
        (lambda whole: whole[:-1] + b"\0", "damaged"),
    ],
)
def test_another_passphrase_and_a_file_that_is_not_whole_leave_nothing(
    file: Path, tmp_path: Path, change: Callable[[bytes], bytes], said: str
) -> None:
    whole, bad = file.read_bytes(), tmp_path / "bad.backup"
    bad.write_bytes(change(whole))
    guess = "somebody else's guess" if change(whole) == whole else OWN
    with pytest.raises(TrustError, match=said):
        restore(bad, tmp_path / "again", passphrase=guess)
    assert [path.name for path in tmp_path.iterdir()] == ["bad.backup"]


def test_a_backup_of_newer_software_says_so_and_leaves_nothing(site: Path, tmp_path: Path) -> None:
    newer = tmp_path / "newer"
    shutil.copytree(site, newer)
    (newer / "format.json").write_text('{"format":99,"wardround":"9.0"}\n')
    back_up(newer, tmp_path / "newer.backup", passphrase=OWN)
    with pytest.raises(TrustError, match=r"cannot be used: what is in it has format 99, of Wardround 9\.0") as refused:
        restore(tmp_path / "newer.backup", tmp_path / "again", passphrase=OWN)
    assert ".part" not in str(refused.value)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["newer", "newer.backup"]


def test_a_backup_replaces_nothing_and_needs_the_agent_stopped(site: Path, file: Path, tmp_path: Path) -> None:
    with (site / "agent.lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(ResourceError, match="agent runs"):
            back_up(site, tmp_path / "new.backup", passphrase=OWN)
    (tmp_path / "old.backup").write_text("old")
    for place in (tmp_path / "old.backup", site / "in.backup"):
        with pytest.raises(ConfigError):
            back_up(site, place, passphrase=OWN)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "kept").write_text("kept")
    with pytest.raises(ConfigError, match="not empty"):
        restore(file, tmp_path / "full", passphrase=OWN)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["full", "old.backup"]


def test_the_drill_back_up_go_on_restore_and_what_the_site_then_says(tmp_path: Path) -> None:
    """The commands as they are typed, while a study goes on; the restored site refuses until its loss is declared."""
    own = tmp_path / "own"
    own.write_text(OWN)
    own.chmod(0o600)
    site, heads = LoneSite(tmp_path / "ward", study=a_study(rounds=8)), Heads({})
    site.open()
    _hear(site, heads)
    _round(site, heads, 1)
    config, file = site.folder / "site.toml", tmp_path / "north.backup"
    site.site.ledger.close()
    made = answer("site", "backup", "--to", file, "--config", config, "--passphrase-file", own)
    assert made["files"] > 5
    site.start()
    _round(site, heads, 2)

    site.site.ledger.close()
    images = (site.folder / "images.npz").read_bytes() if (site.folder / "images.npz").exists() else None
    shutil.rmtree(site.folder)
    done = wardround("site", "restore", file, "--to", site.folder, "--passphrase-file", own)
    assert done.exit_code == 0 and "foreign_head" in done.output and "site check" in done.output
    assert max(map(len, done.output.splitlines())) <= 80
    if images is not None:
        (site.folder / "images.npz").write_bytes(images)
    site.start()
    _round(site, heads, 3)
    assert site.refused() == [WireCode.FOREIGN_HEAD]
    site.site.ledger.close()
    said = answer("site", "budget", "reconcile", "--config", config, "--by", "ada", "--reason", "disk failed")
    assert said["tail_lost"] is not None
    answer("site", "withdraw", "--complete", "--yes", "--config", config)
    assert open_budget(site.folder).read() is not None
    site.start()
    _round(site, heads, 3)
    assert site.refused() == [WireCode.FOREIGN_HEAD] and site.answers[-1].type == "ready"
    site.close()


def _round(site: LoneSite, heads: Heads, number: int) -> None:
    heads.note(Stage.TRAIN, number)
    before = digest(START) if number > 1 else None
    site.tell(site.coordinator.work(number, previous_digest=before, heads=heads.held(site.name)))
    if site.answering.current is not None:
        site.finish()
    _hear(site, heads)


def _hear(site: LoneSite, heads: Heads) -> None:
    for said in site.answers:
        heads.declared(site.name, said)
        heads.hear(site.name, said)
