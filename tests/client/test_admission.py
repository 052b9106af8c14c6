"""A site takes an admission that is its own, by its coordinator, and no older than the last."""

from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from client.admission import ENTRY, FILE_NAME, take_admission
from client.join import Enrolment, join, load_enrolment
from client.renewal import ADMITTED, RENEWED, Renewals
from client.site import Site
from client.starting import keys_of
from client.waiting_entries import entries_said, keep_entry
from deploy.audit.vocabulary import KNOWN
from server.federation import create_federation, load_federation
from server.membership.admissions import admission_path, issue_admission
from server.membership.enrolment import admit, invite, revoke
from server.membership.renewal import renew_authority
from shared.admission import Access, make_admission, read_admission
from shared.canonical import canonical
from shared.errors import TrustError
from shared.keys import make_identity_key, transport_pem
from shared.wire import Close

NOW = 1_800_000_000


@pytest.fixture
def federation(tmp_path: Path) -> Path:
    return create_federation(tmp_path / "f", name="lungs", host="fl.example", fleet_port=9092, now=NOW).folder


def admitted(federation: Path, site: str = "north") -> Path:
    """The folder of a site that has joined and is on the roster."""
    folder = federation.parent / site
    admit(federation, join(invite(federation, site, now=NOW), folder, now=NOW).read_bytes(), now=NOW)
    return folder


def take(folder: Path, data: bytes) -> Enrolment:
    had = load_enrolment(folder)
    public = transport_pem(had.transport_key.public_key())
    how = {"invitation": had.invitation, "coordinator": had.coordinators.key, "note": partial(keep_entry, folder)}
    take_admission(folder, data, transport_key=public, **how)
    return load_enrolment(folder)


def again(federation: Path, site: str = "north", *, now: int = NOW + 100) -> bytes:
    """Another admission of the same site."""
    found = load_federation(federation)
    return issue_admission(found, found.roster.by_site(site), now=now).read_bytes()


def test_before_its_admission_a_site_goes_by_its_invitation_and_then_by_that(federation: Path) -> None:
    folder = admitted(federation)
    before = load_enrolment(folder).reach
    assert (before.host, before.port, before.certificate_pem) == ("fl.example", 9092, None)
    text = (federation / "federation.toml").read_text()
    (federation / "federation.toml").write_text(text.replace("fl.example", "new.example").replace("9092", "443"))
    after = take(folder, again(federation)).reach
    assert (after.host, after.port, after.ca_pem) == ("new.example", 443, before.ca_pem)
    assert after.certificate_pem is not None
    assert (folder / FILE_NAME).stat().st_mode & 0o777 == 0o600


def test_the_console_tells_the_first_one_from_those_that_renew_it(federation: Path) -> None:
    folder = admitted(federation)
    said: list[Any] = []
    for now, told in ((NOW, ADMITTED), (NOW + 100, RENEWED)):
        had = load_enrolment(folder)
        parts: dict[str, Any] = {"folder": folder, "enrolment": had, "coordinator": had.coordinators.key}
        parts |= {"say": said.append, "now": lambda: "2027-01-15T08:00:00Z"}
        parts |= {"link": SimpleNamespace(reach=lambda **_: None)}
        parts |= {"ledger": SimpleNamespace(append=lambda *_, **__: None)}
        message = Close.model_construct(admission=again(federation, now=now).decode())
        Renewals(cast(Site, SimpleNamespace(**parts))).take(message)
        assert said.pop().event == told
    assert said == []


def test_an_older_one_is_refused_and_the_same_again_changes_nothing(federation: Path) -> None:
    folder = admitted(federation)
    first = admission_path(federation, "north").read_bytes()
    second = again(federation, now=NOW)  # in the same second
    assert take(folder, second) and take(folder, second)
    with pytest.raises(TrustError, match="older than the one"):
        take(folder, first)
    assert (folder / FILE_NAME).read_bytes() == second


def test_a_site_that_joins_anew_goes_by_its_new_invitation(federation: Path) -> None:
    folder = admitted(federation)
    stale = admission_path(federation, "north").read_bytes()
    assert take(folder, stale).admission is not None
    revoke(federation, "north")
    text = (federation / "federation.toml").read_text()
    (federation / "federation.toml").write_text(text.replace("fl.example", "new.example"))
    new = invite(federation, "north", now=NOW + 1).read_bytes()
    (file := folder.parent / "new.json").write_bytes(new)
    request = join(file, folder, now=NOW + 1).read_bytes()
    anew = load_enrolment(folder)
    assert anew.admission is None and anew.reach.host == "new.example"
    admit(federation, request, now=NOW + 1)
    taken = take(folder, admission_path(federation, "north").read_bytes()).admission
    join(file, folder, now=NOW + 2)
    assert load_enrolment(folder).admission == taken  # the same invitation again ends nothing


def test_the_ledger_says_once_where_an_admission_sends_the_site_and_whom_it_trusts(federation: Path) -> None:
    folder = admitted(federation)
    before = keys_of(folder)["ca_certificate"]
    renew_authority(federation, now=NOW + 1)  # another one is coming
    newest = admission_path(federation, "north").read_bytes()
    assert take(folder, newest) and take(folder, newest)
    (entry,) = entries_said(folder, [ENTRY])
    assert (entry.data["host"], entry.data["port"]) == ("fl.example", 9092)
    assert entry.data["authorities"] == keys_of(folder)["ca_certificate"] != before
    assert entry.data.keys() == KNOWN[ENTRY]


def test_an_admission_for_a_key_that_was_lost_counts_for_none(federation: Path) -> None:
    folder = admitted(federation)
    take(folder, admission_path(federation, "north").read_bytes())
    (folder / "keys" / "transport.pem").unlink()
    join(folder / "invitation.json", folder, now=NOW + 1)
    assert load_enrolment(folder).reach.certificate_pem is None


def test_another_sites_another_federations_and_another_keys_are_refused(federation: Path, tmp_path: Path) -> None:
    folder, _ = admitted(federation), admitted(federation, "south")
    with pytest.raises(TrustError, match="for site 'south' of federation 'lungs'; this is 'north' of 'lungs'"):
        take(folder, admission_path(federation, "south").read_bytes())
    found = load_federation(federation)
    read = read_admission(again(federation), coordinator_key=found.coordinator_key.public_key())
    said: dict[str, Any] = read.model_dump(exclude={"signature"})
    with pytest.raises(TrustError, match="admission was changed after it was signed"):
        take(folder, make_admission(Access(**said), key=make_identity_key()))
    with pytest.raises(TrustError, match="admission was changed after it was signed"):
        take(folder, canonical({**read.model_dump(mode="json"), "host": "evil.example"}))
    south = read_admission(
        admission_path(federation, "south").read_bytes(), coordinator_key=found.coordinator_key.public_key()
    )
    other = make_admission(Access(**{**said, "certificate": south.certificate}), key=found.coordinator_key)
    with pytest.raises(TrustError, match="another key than this site's"):
        take(folder, other)
    elsewhere = create_federation(tmp_path / "g", name="lungs", host="fl.example", fleet_port=9092, now=NOW)
    foreign = make_admission(Access(**{**said, "authorities": elsewhere.trusted()}), key=found.coordinator_key)
    with pytest.raises(TrustError, match="not from one of the authorities"):
        take(folder, foreign)
    for spoilt in ("no certificate", said["certificate"][:200]):
        with pytest.raises(TrustError, match="cannot be read"):
            take(folder, make_admission(Access(**{**said, "certificate": spoilt}), key=found.coordinator_key))
    assert not (folder / FILE_NAME).exists()
