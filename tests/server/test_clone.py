"""A cloned study asks the same under another name, in the coordinator's own words where they still hold."""

import pytest

from server.clone import cloned
from shared.errors import ConfigError
from shared.study import parse_study

SOURCE = """\
# what we want to know
[study]
name = "first"  # ours
[task]
classes = ["a", "b", "c"]
mode = "multiclass"
[model]
name = "resnet18"
[training]
steps_per_round = 0
"""
FIRST = parse_study(SOURCE)


def test_comments_are_kept() -> None:
    text = cloned(FIRST, source=SOURCE, name="second")
    assert text == SOURCE.replace('"first"', '"second"')


@pytest.mark.parametrize(
    "source",
    [
        "",  # it was lost
        SOURCE.replace("steps_per_round = 0", "steps_per_round = 9"),
        SOURCE.replace('[study]\nname = "first"  # ours\n', "") + '[study]\nname = "first"\n',
        "not TOML [",
    ],
    ids=["lost", "of another study", "named last", "no TOML"],
)
def test_what_was_launched_counts_and_not_its_source(source: str) -> None:
    again = parse_study(cloned(FIRST, source=source, name="second"))
    assert again.name == "second"
    assert again.model_dump(exclude={"study"}) == FIRST.model_dump(exclude={"study"})


def test_a_name_that_is_not_allowed_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"study\.name"):
        cloned(FIRST, source=SOURCE, name="Not Allowed")
