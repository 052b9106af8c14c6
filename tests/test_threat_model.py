"""Each threat of the document names what holds it, the test that shows it, and what stays open."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "docs" / "threat-model.md").read_text()
ROWS = [
    [cell.strip() for cell in line.strip("|").split("|")]
    for line in TEXT.splitlines()
    if line.startswith("|") and not set(line) <= set("|-: ") and not line.startswith("| may try")
]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0][:40])
def test_the_tests_of_a_threat_exist(row: list[str]) -> None:
    _, holds, tests, still_open = row
    named = re.findall(r"`(tests/[\w/]+\.py)(?:::(\w+))?`", tests)
    assert named or (tests == "nothing" and holds.startswith("Nothing") and still_open)
    for path, name in named:
        assert f"def {name or 'test_'}" in (ROOT / path).read_text(), path


def test_every_actor_has_a_table_and_the_known_gaps_are_named() -> None:
    actors = re.findall(r"^## (.+)$", TEXT, re.MULTILINE)
    assert TEXT.count("\n| may try |") == len(actors) >= 7
    for gap in ("Sybil", "lying wheel", "self-declared", "floating-point", "no secure aggregation", "comes first"):
        assert gap in TEXT
