"""What the hardening page tells an administrator to look at is there, and its firewalls are understood."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from tiny_federation import study_text

from client.checks.grounds import Grounds
from client.checks.registry import checks_for
from server.checks.registry import CHECKS
from shared.study import parse_study

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "docs/hardening.md").read_text()
FIREWALLS = [block for block in TEXT.split("```")[1::2] if block.strip().startswith("table ")]
SAID = re.findall(r"[Ll]ines? ((?:`[^`]+`(?:, | and )?)+)", TEXT)


def test_each_line_that_is_named_is_one_of_a_check(tmp_path: Path) -> None:
    named = {name for said in SAID for name in re.findall(r"`([^`]+)`", said)}
    site = Grounds(tmp_path, study=parse_study(study_text("s", rounds=1, sites=1)))
    there = {check.name for check in (*CHECKS, *checks_for(site))}
    assert {"control", "encryption", "policy"} <= named <= there


@pytest.mark.parametrize("row", re.findall(r"^\| (?!do |---).+$", TEXT, re.MULTILINE), ids=lambda row: row[2:30])
def test_each_thing_to_do_has_a_command_that_shows_it(row: str) -> None:
    what, how, shown = (cell.strip() for cell in row.strip("|").split("|"))
    assert what.endswith(".")
    assert how
    assert "`" in shown


@pytest.mark.parametrize("rules", FIREWALLS, ids=["server", "site"])
def test_the_firewall_is_understood(rules: str, tmp_path: Path) -> None:
    """The page's account is not on this machine; root is."""
    nft = shutil.which("nft", path="/usr/sbin:/sbin:/usr/bin")
    if nft is None:
        pytest.skip("needs nftables")
    file = tmp_path / "rules.nft"
    file.write_text(rules.replace('"wardround"', '"root"'))
    done = subprocess.run([nft, "--check", "--file", str(file)], capture_output=True, text=True, check=False)
    if "Operation not permitted" in done.stderr:
        pytest.skip("needs root")
    assert done.returncode == 0, done.stderr
