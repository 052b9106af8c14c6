"""Each rule for releases finds its breach, and no ledger that a site keeps honestly breaks one."""

from pathlib import Path
from typing import Any

import pytest
from lone_site import START, UPDATE, LoneSite, a_study

from client.join import load_enrolment
from deploy.audit.examine import Findings, examine
from deploy.audit.keys import Signer
from deploy.audit.releases import Releases
from shared.canonical import digest
from shared.chain import NO_ENTRY, Entry
from shared.ledger import read_lines

CONTRACT = ("contract", {"study": "lungs", "study_digest": "a" * 64, "contract": "c" * 64})
MODEL = ("model_received", {"study": "lungs", "round": 1, "model_digest": "d" * 64})
CLOSED = ("study_closed", {"study": "lungs", "reason": "finished"})
NEXT = START.replace(b"\x00\x00\xa0@", b"\x00\x00\xb0@")  # another model of the same table


def release(kind: str = "ready", number: int = 1, **changes: Any) -> tuple[str, dict[str, Any]]:
    said = {
        "study": "lungs",
        "round": number,
        "stage": "train",
        "kind": kind,
        "bytes": 1000,
        "body_digest": "b" * 64,
        "update_digest": "e" * 64 if kind == "ready" else None,
        "contract": "c" * 64,
    }
    return "release", said | changes


def faults(*entries: tuple[str, dict[str, Any]]) -> list[str | None]:
    releases = Releases()
    return [
        releases.follow(Entry({"n": n, "time": f"2026-01-0{n}T00:00:00.5Z", "type": kind, "data": said}, NO_ENTRY))
        for n, (kind, said) in enumerate(entries, 1)
    ]


def test_an_agreed_round_conforms() -> None:
    course = [CONTRACT, release("opened", 0), MODEL, release(), release("ready", 2), CLOSED, release("closed", 3)]
    assert faults(*course) == [None] * 7
    assert faults(*course, CONTRACT, release()) == [None] * 9  # opened anew, from its first round on


def test_a_new_contract_counts_its_rounds_anew_and_the_same_one_does_not() -> None:
    """An amended study trains on where a validation trip of the shorter one stood."""
    amended = ("contract", {**CONTRACT[1], "contract": "9" * 64})
    begun = [CONTRACT, MODEL, release("ready", 4)]
    assert faults(*begun, amended, release("ready", 3, contract="9" * 64)) == [None] * 5
    assert faults(*begun, CONTRACT, release("ready", 3))[-1] == "round 3 left after round 4"


def test_a_refusal_may_leave_without_a_contract_and_after_the_end() -> None:
    assert faults(release("refused", contract=None), CONTRACT, CLOSED, release("refused")) == [None] * 4


def until(day: int) -> tuple[str, dict[str, Any]]:
    return "contract", {**CONTRACT[1], "expires": f"2026-01-0{day}T00:00:00Z"}


def test_after_its_contract_s_end_nothing_leaves_but_a_refusal_and_the_closing_answer() -> None:
    assert faults(until(5), MODEL, release(), release("refused")) == [None] * 4
    assert faults(until(4), MODEL, release(), release("refused"), release("closed", 1)) == [None] * 5
    late = "the release left after the end of its contract"
    assert faults(until(3), MODEL, release(), until(9), release("ready", 2)) == [None, None, late, None, None]


@pytest.mark.parametrize(
    ("entries", "fault"),
    [
        ([CONTRACT, release("opened", contract=None)], "names no contract"),
        ([MODEL, release()], "names a contract that no entry before it made"),
        ([release(), CONTRACT], "names a contract that no entry before it made"),
        ([("contract", {**CONTRACT[1], "study": "other"}), release()], "names a contract that no entry"),
        ([CONTRACT, release("opened", bytes=0)], "0 bytes cannot be"),
        ([CONTRACT, release("opened", bytes=9 << 20)], "bytes cannot be"),
        ([CONTRACT, release("opened", update_digest="e" * 64)], "no answer to a round"),
        ([CONTRACT, release()], "follows no model"),
        ([CONTRACT, MODEL, release("ready", 2), release("ready", 1)], "round 1 left after round 2"),
        ([CONTRACT, MODEL, release(), CLOSED, release("ready", 2)], "after the study was closed"),
        ([("contract", {"study": "lungs"})], "no digest"),
        ([("contract", {**CONTRACT[1], "expires": "soon"})], "is no time"),
        ([("contract", {**CONTRACT[1], "expires": 7})], "is no time"),
        ([("study_closed", {})], "does not say of which study"),
        *(
            ([CONTRACT, MODEL, release(**{name: value})], "lacks a field")
            for name, value in {
                "round": -1,
                "bytes": "1",
                "kind": None,
                "stage": 1,
                "body_digest": None,
                "update_digest": "no",
                "contract": 1,
            }.items()
        ),
    ],
)
def test_a_breach_is_found(entries: list[tuple[str, dict[str, Any]]], fault: str) -> None:
    assert any(fault in found for found in faults(*entries) if found)


def test_a_field_that_is_missing_is_not_taken_for_none() -> None:
    kind, said = release("refused")
    del said["contract"]
    assert "lacks a field" in str(faults((kind, said))[0])


# ------------------------------------------------------------ what honest sites write


def audited(site: LoneSite) -> Findings:
    site.close()
    key = load_enrolment(site.folder).identity_key.public_key()
    return examine(read_lines(site.folder / "ledger.jsonl"), Signer(site.name, key, ""))


def assert_sound(found: Findings) -> None:
    assert (found.broken, found.breaches.kept, dict(found.unknown)) == (None, [], {})


def test_a_study_that_was_stopped_and_resumed(tmp_path: Path) -> None:
    site = LoneSite(tmp_path)
    say = site.coordinator
    site.open()
    site.tell(say.work(1, slot=0))
    site.finish()
    site.tell(say.close(1, reason="stopped"))
    say.epoch = 2
    site.open()
    site.tell(say.work(1))
    assert site.uploads == [UPDATE]
    assert_sound(audited(site))


def test_work_that_was_late_for_its_own_round(tmp_path: Path) -> None:
    site = LoneSite(tmp_path, study=a_study(rounds=4, late="next"))
    say = site.coordinator
    site.open()
    site.tell(say.work(1, slot=0))
    site.finish()
    told = site.coordinator.receipt(1, outcome="late")
    site.tell(say.work(2, NEXT, previous_digest=digest(START), receipts=(told,)), model=NEXT)
    found = audited(site)
    assert_sound(found)
    assert found.studies["lungs"].receipts == {"late": 1}


def test_refusals_and_strangers_are_remarked(tmp_path: Path) -> None:
    site = LoneSite(tmp_path)
    site.tell(site.coordinator.work(1))  # of a study that was never opened here
    site.open()
    site.answering.receive(site.coordinator.parcel(site.coordinator.work(1), site="south"))
    found = audited(site)
    assert_sound(found)
    assert [note.what for note in found.remarks.kept] == [
        "the site refused, round 1 of lungs",
        "a message was thrown away: it was not the coordinator's word to this site",
    ]
    assert found.studies["lungs"].refused == 1


def test_what_the_door_held_back_is_remarked(tmp_path: Path) -> None:
    site = LoneSite(tmp_path)
    site.open()
    site.tell(site.coordinator.work(1))
    site.finish(update=START.replace(b"\x00\x00\xa0@", b"\x00\x00\xc0\x7f"))  # not a number
    found = audited(site)
    assert_sound(found)
    assert found.remarks.kept[0].what.startswith("the door held a release back: Nothing was released")
