"""The guides that the drill and the tests follow: every command that they type stands in one, word for word."""

import re
from pathlib import Path
from typing import NamedTuple

from drill.broken import Broken
from drill.network import Crossing

ROOT = Path(__file__).parents[2]
COORDINATOR = ROOT / "docs/coordinator.md"
SITE = ROOT / "docs/site.md"
AUDITOR = ROOT / "docs/auditor.md"
HARDENING = ROOT / "docs/hardening.md"
README = ROOT / "README.md"
MATRIX = ROOT / "docs/network-matrix.md"


class Command(NamedTuple):
    """A command as a guide has it, about the guide's own site."""

    guide: Path
    text: str

    def words(self, site: str = "ward-a") -> list[str]:
        """What is typed, about this site in the place of the guide's.

        Raises:
            Broken: the guide has no such command.
        """
        if self.text not in commands(self.guide):
            raise Broken(f"{self.guide.name} does not say `{self.text}`.")
        return self.text.replace("ward-a", site).split()


INIT = Command(COORDINATOR, "wardround federation init north --name north --host federation.example.org")
INVITE = Command(COORDINATOR, "wardround federation invite north ward-a")
ADMIT = Command(COORDINATOR, "wardround federation admit north ward-a-request.json")
SERVE = Command(COORDINATOR, "wardround federation serve north")
STATUS = Command(COORDINATOR, "wardround federation status north")
RENEW_SERVER = Command(COORDINATOR, "wardround federation renew north")
RENEW_SITE = Command(COORDINATOR, "wardround federation renew north --site ward-a")
REVOKE = Command(COORDINATOR, "wardround federation revoke north ward-a")
NEW = Command(README, "wardround study new pneumonia.toml")
LAUNCH = Command(README, "wardround study launch pneumonia.toml --federation north")
WATCH = Command(README, "wardround study watch pneumonia --federation north")
JOIN = Command(SITE, "wardround site join ward-a.json ward-a --data images --labels labels.csv")
START = Command(SITE, "wardround site start --config ward-a/site.toml")
SENT = Command(SITE, "wardround site sent --config ward-a/site.toml")


def commands(guide: Path) -> set[str]:
    """The commands of a guide: lines of its blocks, and what stands between backticks elsewhere."""
    parts = guide.read_text(encoding="utf-8").split("```")  # prose and blocks in turns
    lines = (
        line.removeprefix("$ ").partition("  #")[0].strip() for block in parts[1::2] for line in block.splitlines()
    )
    inline = (" ".join(code.split()) for part in parts[::2] for code in re.findall(r"`([^`]+)`", part))
    return {found for found in (*lines, *inline) if found.startswith("wardround ")}


def first_part(guide: Path) -> list[str]:
    """What a guide has its reader type up to the first result: the blocks before its first heading."""
    blocks = guide.read_text(encoding="utf-8").partition("\n## ")[0].split("```")[1::2]
    return [line for block in blocks for line in block.strip().splitlines()]


def promised(matrix: Path = MATRIX) -> set[Crossing]:
    """The lines of the first table of the network matrix: what crosses a border."""
    rows = [line.strip("|").split("|") for line in matrix.read_text(encoding="utf-8").splitlines() if "|" in line]
    found = set()
    for row in rows[2:]:
        direction, source, destination, port, protocol, *_ = (cell.strip() for cell in row)
        if direction == "direction":  # the head of the next table
            break
        if port.isdecimal():
            found.add(Crossing(source, destination, protocol.lower(), int(port)))
    return found
