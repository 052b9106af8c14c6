"""What earlier versions said and wrote is read by this one as they meant it, and would be written as it was."""

import json
import tarfile
from pathlib import Path
from typing import Any

import pytest
import recording
from live_federation import answer
from lone_site import START, LoneSite, opened
from pydantic import BaseModel
from recording import COORDINATOR_KEY, IDENTITY_KEY, NOW, SITE

from client.jobs import OpenJob
from client.join import load_enrolment
from client.privacy.budget_file import BudgetFile, Kept
from client.site import open_site
from client.study_store import StudyRecord
from server.federation import load_federation
from server.journal import read_history
from server.study_folder import Standing, find_study
from shared.admission import read_admission
from shared.amendment import trail
from shared.canonical import digest
from shared.contract import contract_of, derive_contract, report_fault
from shared.enrolment import read_invitation, read_join_request
from shared.envelope import open_envelope
from shared.identity import COORDINATOR, read_roster
from shared.key_card import read_key_card
from shared.ledger import read_entries, read_lines, verify
from shared.protocol import PROTOCOL
from shared.rehearsal_contract import rehearsal_contract, rehearsal_fault
from shared.site_terms import SiteTerms
from shared.study import Study
from shared.update import PackedFile, pack
from shared.version import VERSION
from shared.wire import (
    TO_SERVER,
    FromServer,
    FromSite,
    Open,
    Opened,
    Ready,
    Rehearse,
    Rehearsed,
    decode_to_server,
    decode_to_site,
    encode,
    to_site,
)

EVERY = sorted(recording.RECORDED.iterdir())
CHANGED = "What travels has changed: docs/adr/0024-messages-bear-the-lowest-number.md says how that is done."


@pytest.fixture(scope="module", params=EVERY, ids=lambda folder: folder.name)
def said(request: pytest.FixtureRequest) -> dict[str, Any]:
    """The messages of one version."""
    return dict(json.loads((request.param / "messages.json").read_text()))


@pytest.fixture(params=EVERY, ids=lambda folder: folder.name)
def folders(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """The folders of one version, as they lay there."""
    with tarfile.open(request.param / "folders.tar.gz") as archive:
        archive.extractall(tmp_path, filter=_as_it_lay)
    return tmp_path


def _as_it_lay(member: tarfile.TarInfo, target: str) -> tarfile.TarInfo | None:
    safe = tarfile.data_filter(member, target)
    return safe.replace(mode=member.mode, deep=False) if safe else None


def to_a_site(said: dict[str, Any]) -> dict[str, tuple[bytes, FromServer]]:
    keys, purpose = {COORDINATOR: COORDINATOR_KEY.public_key()}, to_site(SITE)
    bodies = {n: open_envelope(bytes.fromhex(e), keys=keys, purpose=purpose).body for n, e in said["to site"].items()}
    return {name: (body, decode_to_site(body)) for name, body in bodies.items()}


def to_the_server(said: dict[str, Any]) -> dict[str, tuple[bytes, FromSite]]:
    keys = {SITE: IDENTITY_KEY.public_key()}
    bodies = {
        n: open_envelope(bytes.fromhex(e), keys=keys, purpose=TO_SERVER).body for n, e in said["to server"].items()
    }
    return {name: (body, decode_to_server(body)) for name, body in bodies.items()}


def test_every_kind_of_message_was_recorded(said: dict[str, Any]) -> None:
    kinds = {message.type for _, message in (to_a_site(said) | to_the_server(said)).values()}
    assert kinds >= {"open", "work", "grant", "close", "rehearse"}
    assert kinds >= {"opened", "ready", "uploaded", "closed", "rehearsed", "refused"}


def test_each_message_is_read_and_would_be_written_as_it_was(said: dict[str, Any]) -> None:
    """So an older peer, which refuses what it does not know, reads what this version writes."""
    for name, (body, message) in (to_a_site(said) | to_the_server(said)).items():
        assert encode(message) == body, f"{name}. {CHANGED}"


def test_a_message_bears_the_lowest_number_that_says_it(said: dict[str, Any]) -> None:
    for name, (_, message) in (to_a_site(said) | to_the_server(said)).items():
        assert message.protocol == (2 if isinstance(message, Rehearse | Rehearsed) else 1), name


def test_both_sides_derive_the_contracts_that_were_agreed_to(said: dict[str, Any]) -> None:
    terms = SiteTerms.model_validate(said["terms"])
    openings = [m for _, m in to_a_site(said).values() if isinstance(m, Open) and not m.amendments]
    for opening in openings:
        known = said["digests"][opening.study.name]
        contract = derive_contract(opening, site=SITE)
        assert contract == contract_of(opening.study, opening.tensors, site=SITE, cohort=opening.cohort)
        found = {
            "study": opening.study.digest(),
            "contract": contract.under(terms).digest(),
            "rehearsal": rehearsal_contract(opening.study, site=SITE, survey=True).digest(),
        }
        assert found == known, f"{opening.study.name}. {CHANGED}"
    assert len(openings) == len(said["digests"])


def test_what_sites_answered_keeps_the_contract(said: dict[str, Any]) -> None:
    openings = {m.study.name: m for _, m in to_a_site(said).values() if isinstance(m, Open) and not m.amendments}
    for _, message in to_the_server(said).values():
        if isinstance(message, Opened):
            contract = derive_contract(openings[message.address.study], site=SITE).under(message.terms)
            assert message.contract_digest == contract.digest()
        elif isinstance(message, Ready):
            assert report_fault(derive_contract(openings[message.address.study], site=SITE), message) is None
        elif isinstance(message, Rehearsed):
            study = openings[message.address.study].study
            assert rehearsal_fault(rehearsal_contract(study, site=SITE, survey=True), message) is None


def test_amendments_and_papers_are_read(said: dict[str, Any]) -> None:
    papers, key = said["papers"], COORDINATOR_KEY.public_key()
    _, amended = to_a_site(said)["open amended"]
    assert isinstance(amended, Open)
    assert trail(amended.study, amended.amendments, coordinator=key)[0] == said["digests"]["plain"]["study"]
    invitation = read_invitation(papers["invitation"].encode())
    assert read_join_request(papers["join request"].encode()).answers(invitation)
    assert read_admission(papers["admission"].encode(), coordinator_key=key).site == SITE
    assert read_key_card(papers["key card"].encode()).encode() == papers["key card"].encode()
    assert read_roster(bytes.fromhex(papers["roster"]), coordinator_key=key).by_site(SITE).valid(NOW)


def test_an_update_has_the_bytes_that_it_had(said: dict[str, Any], tmp_path: Path) -> None:
    file, packed = tmp_path / "update", bytes.fromhex(said["update"])
    file.write_bytes(packed)
    state = {name: PackedFile(file).tensor(name) for name in PackedFile(file).declared()}
    assert pack(state) == packed, CHANGED


def test_a_site_of_today_answers_a_server_of_then(said: dict[str, Any], tmp_path: Path) -> None:
    """The coordinator's very words, signed anew for this site; its answers are such as that server read."""
    body, message = to_a_site(said)["open plain"]
    assert isinstance(message, Open)
    site = LoneSite(tmp_path, study=message.study)
    try:
        site.answering.receive(site.coordinator.parcel(body))
        assert site.answering.current is not None
        assert isinstance(site.answering.current.job, OpenJob)
        site.answering.hear(opened())
        (agreed,) = site.answers
        assert (agreed.type, agreed.protocol) == ("opened", 1)
        contract = derive_contract(message, site=SITE).under(agreed.terms)
        assert agreed.contract_digest == contract.digest()
        site.coordinator.epoch = message.address.epoch
        site.tell(site.coordinator.work(1, START))
        assert all(answer.protocol == 1 for answer in site.answers)
    finally:
        site.close()


def test_a_sites_folder_opens_with_its_identity_ledger_budget_and_study(folders: Path) -> None:
    folder = folders / "site"
    enrolment = load_enrolment(folder)
    before = (folder / "ledger.jsonl").read_bytes()
    assert verify(read_lines(folder / "ledger.jsonl"), public_key=enrolment.identity_key.public_key(), signer=SITE).ok
    site = open_site(folder, say=print)
    try:
        record = site.studies.find("lungs")
        assert record is not None
        assert site.studies.active() == ["lungs"]
        releases = [entry.data for entry in read_entries(folder / "ledger.jsonl") if entry.type == "release"]
        assert {release["contract"] for release in releases} == {record.contract(SITE).digest()}
        assert (record.epoch, [*record.chain]) == (1, [1])
        assert site.spool.find("lungs", 1, digest(START)) is not None
        kept = BudgetFile(folder, key_check=json.loads((folder / "budget.json").read_bytes())["key_check"]).in_step()
        assert kept.budget.accounts["lungs"].charged == 1
    finally:
        site.ledger.close()
    assert (folder / "ledger.jsonl").read_bytes().startswith(before)
    assert answer("site", "sent", "--config", folder / "site.toml")["releases"]


def test_a_federations_folder_opens_with_its_roster_studies_and_reports(folders: Path) -> None:
    folder = folders / "federation"
    federation = load_federation(folder)
    assert federation.roster.sites() == ("north", "south", "west")
    study = find_study(folder, "chest")
    history = read_history(study.journal)
    models = study.path / "models"
    assert history.final_digest == digest((models / "round-00001.safetensors").read_bytes())
    assert history.started is not None
    assert history.started.study_digest == study.study().digest()
    (row,) = answer("study", "list", "-f", folder)["studies"]
    assert (row["study"], row["state"]) == ("chest", "finished")


WRITTEN: dict[str, type[BaseModel]] = {
    "site/budget.json": Kept,
    "site/state/lungs.json": StudyRecord,
    "site/spool/lungs/round-000001/ready.json": Ready,
    "federation/studies/chest/study.json": Study,
    "federation/studies/chest/state.json": Standing,
}


@pytest.mark.parametrize("name", WRITTEN)
def test_a_file_would_be_written_as_it_was(folders: Path, name: str) -> None:
    """Older software refuses a file that has a key which it does not know, or takes it for absent."""
    then = (folders / name).read_bytes()
    now = WRITTEN[name].model_validate_json(then).model_dump(mode="json")
    assert now == json.loads(then), f"{name} has other keys: leave a default out of it, or raise FOLDER_FORMAT."


def test_what_is_spoken_today_was_recorded() -> None:
    said = json.loads((EVERY[-1] / "messages.json").read_text())
    spoken = {message.protocol for _, message in (to_a_site(said) | to_the_server(said)).values()}
    assert max(spoken) == PROTOCOL, f"Record {VERSION} with tests/recording.py before it is released."
