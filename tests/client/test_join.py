"""A site makes its keys once, keeps them, and answers only an invitation that holds."""

import json
import stat
from pathlib import Path
from typing import Any

import pytest
from invited import KEY, handed_over, invitation, invitation_bytes
from live_federation import answer, wardround

from client.join import join, load_enrolment
from shared.canonical import canonical
from shared.enrolment import read_join_request
from shared.errors import ConfigError, ProtocolError, TrustError
from shared.keys import identity_hex, make_identity_key, transport_pem

NOW = 1_800_000_000
INVITATION = invitation(expires=NOW + 100)


def sent(tmp_path: Path, **changed: Any) -> Path:
    path = tmp_path / "from-the-coordinator.json"
    path.write_bytes(invitation_bytes(**{"expires": NOW + 100, **changed}))
    return path


def altered(tmp_path: Path, **changed: Any) -> Path:
    path = tmp_path / "altered.json"
    path.write_bytes(canonical({**INVITATION.model_dump(mode="json"), **changed}))
    return path


def keys(folder: Path) -> list[bytes]:
    return [(folder / "keys" / name).read_bytes() for name in ("transport.pem", "identity.pem")]


def test_joining_leaves_keys_invitation_and_request(tmp_path: Path) -> None:
    folder = tmp_path / "site"
    request = join(sent(tmp_path), folder, now=NOW)
    assert request == folder / "north-request.json"
    asked, enrolment = read_join_request(request.read_bytes()), load_enrolment(folder)
    assert enrolment.invitation == INVITATION
    assert asked.invitation == INVITATION.digest()
    assert asked.transport_key == transport_pem(enrolment.transport_key.public_key())
    assert asked.identity_key == identity_hex(enrolment.identity_key.public_key())


def test_private_things_are_closed_and_stay(tmp_path: Path) -> None:
    folder = tmp_path / "site"
    request = join(sent(tmp_path), folder, now=NOW).read_text()
    for name in ("keys/transport.pem", "keys/identity.pem", "invitation.json"):
        assert stat.S_IMODE((folder / name).stat().st_mode) == 0o600
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert "PRIVATE" not in request
    assert INVITATION.patient_salt not in request
    assert INVITATION.token not in request
    assert "PrivateKey" not in repr(load_enrolment(folder))
    assert INVITATION.patient_salt not in repr(load_enrolment(folder))


def test_joining_again_keeps_the_keys_and_the_request(tmp_path: Path) -> None:
    folder = tmp_path / "site"
    first = join(sent(tmp_path), folder, now=NOW).read_bytes()
    before = keys(folder)
    assert join(sent(tmp_path), folder, now=NOW + 1).read_bytes() == first
    assert keys(folder) == before


def test_a_join_that_was_cut_short_is_finished(tmp_path: Path) -> None:
    folder = tmp_path / "site"
    join(sent(tmp_path), folder, now=NOW)
    transport = keys(folder)[0]
    for name in ("keys/identity.pem", "invitation.json", "north-request.json"):
        (folder / name).unlink()
    read_join_request(join(sent(tmp_path), folder, now=NOW).read_bytes())
    assert keys(folder)[0] == transport


def test_a_new_invitation_is_answered_with_the_old_keys(tmp_path: Path) -> None:
    folder = tmp_path / "site"
    join(sent(tmp_path), folder, now=NOW)
    before = keys(folder)
    request = join(sent(tmp_path, token="00" * 32, expires=NOW + 900), folder, now=NOW + 500)
    assert read_join_request(request.read_bytes()).invitation != INVITATION.digest()
    assert load_enrolment(folder).invitation.token == "00" * 32
    assert keys(folder) == before


@pytest.mark.parametrize("changed", [{"site": "south"}, {"federation": "hearts"}])
def test_a_folder_belongs_to_one_site_of_one_federation(tmp_path: Path, changed: dict[str, Any]) -> None:
    folder = tmp_path / "site"
    request = join(sent(tmp_path), folder, now=NOW).read_bytes()
    with pytest.raises(ConfigError, match="belongs to site 'north' of federation 'lungs'"):
        join(sent(tmp_path, **changed), folder, now=NOW)
    assert (folder / "north-request.json").read_bytes() == request
    assert load_enrolment(folder).invitation == INVITATION


def test_a_new_invitation_is_taken_from_who_leads_alone(tmp_path: Path) -> None:
    folder, ben = tmp_path / "site", make_identity_key()
    request = join(sent(tmp_path), folder, now=NOW).read_bytes()
    with pytest.raises(TrustError, match="whom this site does not know") as caught:
        join(sent(tmp_path, key=ben, host="new.example"), folder, now=NOW)
    assert f"wardround site renew coordinators.signed --config {folder / 'site.toml'}" in caught.value.remedy
    load_enrolment(folder).coordinators.take(handed_over(KEY, ben).encode(), note=lambda *_: None)
    with pytest.raises(TrustError, match="signed by ann, who gave up the lead on 2027-01-15 by mandate 2"):
        join(sent(tmp_path, host="old.example"), folder, now=NOW)
    assert join(sent(tmp_path), folder, now=NOW).read_bytes() == request  # the very one that is kept
    join(sent(tmp_path, key=ben, host="new.example"), folder, now=NOW)
    assert load_enrolment(folder).invitation.host == "new.example"


def test_an_expired_invitation_says_so_and_makes_nothing(tmp_path: Path) -> None:
    with pytest.raises(TrustError, match="site 'north' has expired") as caught:
        join(sent(tmp_path), tmp_path / "site", now=NOW + 100)
    assert "new invitation" in caught.value.remedy
    assert not (tmp_path / "site").exists()


def test_another_protocol_and_spoilt_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ProtocolError, match="format 2; this software reads format 1"):
        join(altered(tmp_path, protocol=2), tmp_path / "site", now=NOW)
    with pytest.raises(TrustError, match="fields outside its type"):
        join(altered(tmp_path, site="../../north"), tmp_path / "site", now=NOW)
    with pytest.raises(TrustError, match="changed after it was signed"):
        join(altered(tmp_path, host="evil.example"), tmp_path / "site", now=NOW)
    (tmp_path / "pretty.json").write_text(json.dumps(INVITATION.model_dump(), indent=1))
    with pytest.raises(TrustError, match="is damaged"):
        join(tmp_path / "pretty.json", tmp_path / "site", now=NOW)
    assert not (tmp_path / "site").exists()


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("image,label\n1.png,opacity\n", "is no invitation."),
        ('{"type":"FeatureCollection"}', "is no invitation."),
        ('{"possession":"00","protocol":1}', "is a join request; an invitation is wanted."),
        ('{"prev":"00"}\n{"prev":"11"}\n', "is a ledger or journal; an invitation is wanted."),
    ],
)
def test_a_file_of_another_kind_is_named(tmp_path: Path, text: str, what: str) -> None:
    other = tmp_path / "other.txt"
    other.write_text(text)
    with pytest.raises(ConfigError) as caught:
        join(other, tmp_path / "site", now=NOW)
    assert caught.value.what == f"{other} {what}"
    assert not (tmp_path / "site").exists()


def test_an_invitation_that_was_cut_is_damaged(tmp_path: Path) -> None:
    whole = sent(tmp_path)
    whole.write_bytes(whole.read_bytes()[:200])
    with pytest.raises(TrustError, match="is damaged"):
        join(whole, tmp_path / "site", now=NOW)


def test_a_missing_invitation_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no invitation to read at .*none.json"):
        join(tmp_path / "none.json", tmp_path / "site", now=NOW)
    with pytest.raises(ConfigError, match="no invitation"):
        load_enrolment(tmp_path)


def test_an_exposed_key_is_never_used(tmp_path: Path) -> None:
    folder = tmp_path / "site"
    join(sent(tmp_path), folder, now=NOW)
    (folder / "keys" / "identity.pem").chmod(0o640)
    with pytest.raises(TrustError, match="identity key has file mode 0640"):
        load_enrolment(folder)
    with pytest.raises(TrustError, match="identity key has file mode 0640"):
        join(sent(tmp_path), folder, now=NOW)


def test_the_keys_of_a_site_are_encrypted_by_a_command_and_open_under_the_passphrase(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, config = tmp_path / "site", tmp_path / "site" / "site.toml"
    join(sent(tmp_path), folder, now=NOW)
    config.write_text("")  # of which only the place is needed
    new = tmp_path / "passphrase"
    new.write_text("correct horse battery\n")
    new.chmod(0o600)
    plain = keys(folder)
    assert answer("site", "passphrase", "--config", config, "--new", new)["encrypted"] is True
    assert all(b"ENCRYPTED" in key for key in keys(folder))
    refused = wardround("site", "passphrase", "--config", config, "--remove", "--json")
    assert (refused.exit_code, json.loads(refused.stdout)["error"]["code"]) == (4, "trust")
    monkeypatch.setenv("WARDROUND_PASSPHRASE_FILE", str(new))
    assert load_enrolment(folder).invitation == INVITATION
    assert answer("site", "passphrase", "--config", config, "--remove")["encrypted"] is False
    assert keys(folder) == plain
