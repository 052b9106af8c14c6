"""A rehearsal from the server's side: everybody is asked once, nobody is waited for without end, and it survives."""

import contextlib
from pathlib import Path
from typing import Any

import pytest
from lone_site import a_study
from scripted_ward import SITES, STATE, Line, PowerCut, Reply, Script, Ward

from server.history import StudyHistory
from server.journal import Journal, read_history
from server.rehearsal import Rehearsal, rehearsal_of
from server.study_folder import REHEARSAL, Request, StudyFolder, StudyState
from shared.address import UNADDRESSED
from shared.clock import utc_now
from shared.errors import StudyError, WireCode
from shared.rehearsal import Check, Code, Terms
from shared.rehearsal_contract import rehearsal_contract
from shared.update import pack
from shared.wire import Close, Closed, Refused, Rehearse, Rehearsed

STUDY = a_study("lungs-rehearsal")


@pytest.fixture
def ward(tmp_path: Path) -> Ward:
    return Ward(tmp_path)


def folder_of(ward: Ward, *, deadline_s: float = 30.0) -> StudyFolder:
    folder = StudyFolder(ward.root / "studies" / STUDY.name)
    if not folder.path.exists():
        (folder.path / "models").mkdir(parents=True)
        (folder.path / "models" / "start.safetensors").write_bytes(pack(STATE))
        (folder.path / REHEARSAL).write_text(Terms(deadline_s=deadline_s).model_dump_json())
    return folder


def run(
    ward: Ward, script: Script, *, there: tuple[str, ...] = SITES, cohort: tuple[str, ...] = SITES, **terms: Any
) -> tuple[StudyHistory, Line]:
    """Rehearse until it ends or the script raises."""
    folder, line = folder_of(ward, **terms), Line(ward, script, lambda: None)
    line.there = set(there)
    with Journal.open(folder.journal, key=ward.federation.coordinator_key, clock=utc_now) as journal:
        desk = ward._desk(STUDY, folder, line, journal)
        desk.rehearsal, desk.cohort = folder.rehearsal(), cohort
        with contextlib.suppress(PowerCut):
            Rehearsal(desk).run()
    return read_history(folder.journal), line


def well(site: str, message: Any, **changes: Any) -> Rehearsed | None:
    """The answer of a site where all is well."""
    if not isinstance(message, Rehearse):
        return None
    contract = rehearsal_contract(message.study, site=site).digest()
    findings = dict.fromkeys(Check, Code.PASS)
    return Rehearsed(
        address=message.address, contract_digest=contract, findings=findings, work_s=2.0, travel_s=0.1
    ).model_copy(update=changes)


def asked(line: Line, kind: type) -> list[str]:
    return sorted(site for site, message in line.sent if isinstance(message, kind))


def test_everybody_answers_and_no_one_is_told_more(ward: Ward) -> None:
    history, line = run(ward, well)
    assert history.rehearsed.keys() == set(SITES)
    assert history.missing == {}
    assert asked(line, Rehearse) == sorted(SITES)
    assert len(line.sent) == len(SITES)  # nothing was opened, and nothing is closed
    assert (history.opened, history.commits) == ({}, [])
    folder = folder_of(ward)
    assert folder.standing().state is StudyState.FINISHED
    assert list((folder.path / "models").iterdir()) == []


def test_who_does_not_answer_is_named_with_the_cause(ward: Ward) -> None:
    def script(site: str, message: Any) -> Reply:
        if site == "north" and isinstance(message, Rehearse):
            return Refused(address=UNADDRESSED, refusal=WireCode.PROTOCOL, version="0.0.9")  # an older site
        return None if site == "south" else well(site, message)

    history, line = run(ward, script, there=("north", "south"), deadline_s=0.5)
    assert history.missing == {"east": "waiting", "north": "protocol", "south": "asked"}
    assert asked(line, Close) == ["south"]  # it may be at work still


def test_a_site_that_says_more_than_codes_is_not_believed(ward: Ward) -> None:
    def script(site: str, message: Any) -> Reply:
        return well(site, message, contract_digest="0" * 64) if site == "east" else well(site, message)

    history, _ = run(ward, script)
    assert history.missing == {"east": "contract"}


def test_a_new_process_asks_only_who_has_not_answered(ward: Ward) -> None:
    folder = folder_of(ward)

    def script(site: str, message: Any) -> Reply:
        folder.ask(Request.PAUSE)  # what is in hand is taken in, and the south is not connected
        return well(site, message)

    first, line = run(ward, script, there=("east", "north"))
    assert asked(line, Close) == []
    assert (first.rehearsed.keys(), first.missing) == ({"east", "north"}, None)
    assert folder.standing().state is StudyState.PAUSED
    folder.withdraw_requests()
    history, line = run(ward, well)
    assert asked(line, Rehearse) == ["south"]
    assert history.rehearsed.keys() == set(SITES)
    assert (history.epoch, folder.standing().state) == (2, StudyState.FINISHED)


def test_a_site_that_was_removed_meanwhile_is_not_said_to_be_away(ward: Ward) -> None:
    folder = folder_of(ward)

    def script(site: str, message: Any) -> Reply:
        folder.ask(Request.PAUSE)
        return well(site, message)

    run(ward, script, there=("east", "north"))
    folder.withdraw_requests()
    history, line = run(ward, well, cohort=("east", "north"))  # as `server/cohort.py` leaves it
    assert asked(line, Rehearse) == []
    assert history.missing == {"south": "removed"}


def test_a_process_that_is_killed_is_followed_by_another(ward: Ward) -> None:
    def script(site: str, message: Any) -> Reply:
        raise PowerCut

    assert run(ward, script)[0].rehearsed == {}
    history, line = run(ward, well)
    assert asked(line, Rehearse) == sorted(SITES)
    assert history.missing == {}


def test_one_that_is_stopped_is_ended_at_the_sites(ward: Ward) -> None:
    folder = folder_of(ward)

    def script(site: str, message: Any) -> Reply:
        folder.ask(Request.STOP)
        return Closed(address=message.address, head="0" * 64) if isinstance(message, Close) else None

    history, line = run(ward, script)
    assert asked(line, Close) == sorted(SITES)
    assert {message.reason for _, message in line.sent if isinstance(message, Close)} == {"stopped"}
    assert history.closed.keys() == set(SITES)
    assert folder.standing().state is StudyState.STOPPED


def test_it_has_a_name_of_its_own() -> None:
    study = a_study("lungs")
    assert rehearsal_of(study, taken=set()).name == "lungs-rehearsal"
    assert rehearsal_of(study, taken={"lungs-rehearsal"}).name == "lungs-rehearsal-2"
    assert rehearsal_of(a_study("x" * 48), taken=set()).name == "x" * 38 + "-rehearsal"
    assert rehearsal_of(study, taken=set()).training == study.training


def test_a_folder_whose_terms_are_damaged_is_not_run_as_a_study(ward: Ward) -> None:
    folder = folder_of(ward)
    (folder.path / REHEARSAL).write_text("{}")
    with pytest.raises(StudyError, match="cannot be read"):
        folder.rehearsal()
