"""The openings that a site kept show who asked for what; nothing else passes for one."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from audited import STUDIES, Handed
from live_federation import wardround
from lone_site import LoneSite, a_study
from rich.console import Console

from client.evidence import export_ledger
from deploy.audit.keys import read_signer
from deploy.audit.openings import Requests, requests, requests_page
from shared.canonical import canonical
from shared.envelope import seal
from shared.errors import TrustError
from shared.identity import COORDINATOR
from shared.ledger import read_entries
from shared.openings import KeptOpening
from shared.wire import to_site


@pytest.fixture
def kept(handed: Handed) -> Path:
    return handed.ledger.with_name("north-openings.jsonl")


def found(handed: Handed, *lines: bytes) -> Requests:
    return requests(read_entries(handed.ledger), lines, handed.signer)


def test_each_study_was_asked_for_by_the_coordinator(handed: Handed, kept: Path) -> None:
    done = wardround("audit", "openings", handed.ledger, kept, "--key", handed.card, "--json")
    said = json.loads(done.stdout)["data"]
    assert done.exit_code == 0
    assert {one["study"] for one in said["asked"]} == set(STUDIES)
    contracts = {entry.n for entry in read_entries(handed.ledger) if entry.type == "contract"}
    assert {n for one in said["asked"] for n in one["entries"]} == contracts
    assert all(one["cohort"] == ["north", "south"] and one["rounds"] == 2 for one in said["asked"])
    assert said["contracts_without"] == []
    page = wardround("audit", "openings", handed.ledger, kept, "--key", handed.card).stdout
    assert "signed each of these requests" in " ".join(page.split())
    assert page.count("A round counts with 2 of the sites at least.") == 2
    assert max(map(len, page.splitlines())) <= 80


def test_each_cohort_has_its_opening_and_no_contract_but_its_own(tmp_path: Path) -> None:
    site = LoneSite(tmp_path / "ward", study=a_study())
    cohorts = (("north",), ("north", "south", "west"), ("north",))
    for cohort in cohorts:
        site.tell(site.coordinator.open().model_copy(update={"cohort": cohort}))
        site.finish()
    site.tell(site.coordinator.close(2))
    ledger, card, kept = export_ledger(site.folder, tmp_path / "out").files
    site.close()
    entries, lines = list(read_entries(ledger)), kept.read_bytes().splitlines(keepends=True)
    alone, all_three, again = (entry.n for entry in entries if entry.type == "contract")
    shown = requests(entries, lines, read_signer(str(card), None))
    assert [(one.cohort, one.entries) for one in shown.asked] == [
        (cohorts[0], (alone, again)),
        (cohorts[1], (all_three,)),
    ]
    assert shown.without == ()
    for line in lines:  # a site that shows one cohort's alone
        (one,) = (part := requests(entries, [line], read_signer(str(card), None))).asked
        assert sorted((*one.entries, *part.without)) == [alone, all_three, again]
        assert (one.cohort == cohorts[1]) == (one.entries == (all_three,))


def test_an_amended_study_was_asked_for_twice_and_both_are_shown(handed: Handed, kept: Path) -> None:
    (one, *_), shown = found(handed, *kept.read_bytes().splitlines(keepends=True)).asked, Console(width=80)
    with shown.capture() as captured:
        shown.print(requests_page(Requests((one, replace(one, rounds=7, entries=())), (), "1a2b")))
    assert "2 rounds" in captured.get() and "7 rounds" in captured.get()


def test_what_nobody_signed_and_no_opening_at_all_are_a_no(handed: Handed, kept: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    (tmp_path / "unsigned").write_bytes(b"".join(handed.lines[:3]))
    for ledger, openings in ((handed.ledger, tmp_path / "empty"), (tmp_path / "unsigned", kept)):
        assert wardround("audit", "openings", ledger, openings, "--key", handed.card).exit_code == TrustError.exit_code


def test_a_contract_without_its_opening_is_said(handed: Handed, kept: Path) -> None:
    one, two = kept.read_bytes().splitlines(keepends=True)
    assert len(found(handed, one).without) == len(found(handed, two).without) == 1
    assert len(found(handed).without) == 2


def test_what_the_coordinator_did_not_sign_is_refused(handed: Handed, kept: Path) -> None:
    (line, *_) = kept.read_bytes().splitlines(keepends=True)
    asked = json.loads(line)
    flipped = asked["envelope"][:-2] + f"{int(asked['envelope'][-2:], 16) ^ 1:02x}"
    body = bytes.fromhex(asked["envelope"])[-20:]
    forged = seal(body, key=handed.key, signer=COORDINATOR, purpose=to_site("north")).hex()
    for envelope in (flipped, forged, ""):
        with pytest.raises(TrustError):
            found(handed, canonical(KeptOpening(envelope=envelope).model_dump()))


@pytest.mark.parametrize("line", [b"", b"[]", b"{}\n", b"\xff", b"[" * 10_000])
def test_what_is_no_line_of_openings_is_refused(handed: Handed, line: bytes) -> None:
    with pytest.raises(TrustError, match="no line of openings"):
        found(handed, line)
