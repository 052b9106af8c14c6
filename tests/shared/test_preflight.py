"""How checks are run and read: in order, within time, and whatever a look does."""

import threading

from shared.errors import ConfigError, NotReady
from shared.preflight import Check, Finding, look_at, page, passed, warn


def fails(_: None) -> Finding:
    raise ConfigError("It is wrong.", remedy="Correct it.")


def crashes(_: None) -> Finding:
    raise RuntimeError("/srv/images/patient-17.dcm")


def hangs(_: None) -> Finding:
    threading.Event().wait(30)
    return passed("too late")


def test_each_line_is_one_check_in_order() -> None:
    checks = (
        Check("good", lambda _: passed("Well.", bytes=3)),
        Check("doubtful", lambda _: warn("Slow.", "Wait.")),
        Check("wrong", fails),
        Check("beyond", lambda _: passed("Well."), after=("doubtful", "wrong")),
        Check("farther", lambda _: passed("Well."), after=("beyond",)),
        Check("last", lambda _: passed("Well."), after=("doubtful",)),
    )
    answer = page(list(look_at(checks, None)), more={"site": "a"})
    said = [(line["check"], line["outcome"]) for line in answer.data["lines"]]
    assert said == [
        ("good", "pass"),
        ("doubtful", "warn"),
        ("wrong", "fix"),
        ("beyond", None),
        ("farther", None),
        ("last", "pass"),
    ]
    assert answer.data["lines"][0]["facts"] == {"bytes": 3}
    assert {answer.data["lines"][n]["what"] for n in (3, 4)} == {"Not looked at: mend wrong first."}
    assert answer.data["lines"][2]["remedy"] == "Correct it."
    assert (answer.data["ready"], answer.data["site"]) == (False, "a")
    assert isinstance(answer.error, NotReady)
    assert answer.error.exit_code == 1
    assert "wrong" in answer.error.what


def test_a_page_without_a_fix_is_ready() -> None:
    answer = page(list(look_at((Check("doubtful", lambda _: warn("Slow.", "Wait.")),), None)))
    assert answer.error is None
    assert answer.data["counts"] == {"pass": 0, "warn": 1, "fix": 0}


def test_a_check_that_crashes_or_hangs_ends_nothing_and_is_never_called_sound() -> None:
    checks = (Check("crashes", crashes), Check("hangs", hangs, limit_s=0.05), Check("good", lambda _: passed("Well.")))
    crashed, hung, good = look_at(checks, None)
    assert crashed.finding is not None and hung.finding is not None and good.finding is not None
    assert (crashed.finding.outcome, hung.finding.outcome, good.finding.outcome) == ("fix", "fix", "pass")
    assert "RuntimeError" in crashed.finding.what
    assert "patient" not in crashed.finding.what + crashed.finding.remedy
    assert "0.05 s" in hung.finding.what
