"""Keys lie encrypted where a passphrase is given, and open under no other."""

from pathlib import Path

import pytest

from shared.errors import ConfigError, TrustError
from shared.key_files import asked_passphrase, rekey
from shared.keys import load_identity_key, load_transport_key, make_identity_key, make_transport_key, save_key
from shared.passphrase import CREDENTIAL, FILE_VARIABLE, VARIABLE, given_passphrase

ONE, OTHER = "correct horse battery", "another passphrase"


@pytest.fixture(autouse=True)
def nothing_given(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (FILE_VARIABLE, VARIABLE, "CREDENTIALS_DIRECTORY"):
        monkeypatch.delenv(name, raising=False)


def written(path: Path, text: str, mode: int = 0o600) -> Path:
    path.write_text(text)
    path.chmod(mode)
    return path


def test_a_passphrase_comes_from_a_file_a_credential_or_a_variable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert given_passphrase() is None
    monkeypatch.setenv(VARIABLE, "from the variable")
    assert given_passphrase() == "from the variable"
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    assert given_passphrase() == "from the variable"
    written(tmp_path / CREDENTIAL, "from the credential\n", 0o440)  # systemd guards the folder
    assert given_passphrase() == "from the credential"
    monkeypatch.setenv(FILE_VARIABLE, str(written(tmp_path / "file", "from the file\nnot this\n")))
    assert given_passphrase() == "from the file"


def test_one_that_is_short_absent_or_open_to_others_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "short")
    with pytest.raises(ConfigError, match="fewer than 12 characters"):
        given_passphrase()
    monkeypatch.setenv(FILE_VARIABLE, str(tmp_path / "none"))
    with pytest.raises(ConfigError, match="cannot be read"):
        given_passphrase()
    monkeypatch.setenv(FILE_VARIABLE, str(written(tmp_path / "open", ONE, 0o644)))
    with pytest.raises(TrustError, match="other accounts"):
        given_passphrase()


def test_a_key_that_was_made_under_a_passphrase_opens_under_that_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, ONE)
    path, key = tmp_path / "key.pem", make_identity_key()
    save_key(path, key)
    assert path.read_bytes().startswith(b"# scrypt 15 8 1 ")
    assert b"ENCRYPTED" in path.read_bytes()
    assert path.stat().st_mode & 0o777 == 0o600
    assert load_identity_key(path).public_key() == key.public_key()
    monkeypatch.setenv(VARIABLE, OTHER)
    with pytest.raises(TrustError, match="identity key is encrypted under another passphrase"):
        load_identity_key(path)
    monkeypatch.delenv(VARIABLE)
    with pytest.raises(TrustError, match="is encrypted, and no passphrase is given") as caught:
        load_identity_key(path)
    assert FILE_VARIABLE in caught.value.remedy
    monkeypatch.setenv(VARIABLE, ONE)
    path.write_bytes(path.read_bytes().partition(b"\n")[2])
    with pytest.raises(TrustError, match="by other software"):
        load_identity_key(path)


def test_keys_go_from_none_to_one_to_another_and_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_key(tmp_path / "a", make_identity_key())
    save_key(tmp_path / "b", make_transport_key())
    first = load_identity_key(tmp_path / "a").public_key()
    with pytest.raises(ConfigError, match="No passphrase is given"):
        asked_passphrase(None, remove=False)
    with pytest.raises(ConfigError, match="not both"):
        asked_passphrase(tmp_path / "p", remove=True)
    new = asked_passphrase(written(tmp_path / "p", ONE), remove=False)
    assert rekey(tmp_path, ("a", "b", "absent"), passphrase=new) == ("a", "b")
    with pytest.raises(TrustError, match="no passphrase is given"):
        load_transport_key(tmp_path / "b")
    monkeypatch.setenv(VARIABLE, ONE)
    rekey(tmp_path, ("a",), passphrase=OTHER)  # and then the power was cut
    assert rekey(tmp_path, ("a", "b"), passphrase=OTHER) == ("a", "b")
    monkeypatch.setenv(VARIABLE, OTHER)
    assert load_identity_key(tmp_path / "a").public_key() == first
    rekey(tmp_path, ("a", "b"), passphrase=None)
    monkeypatch.delenv(VARIABLE)
    assert load_identity_key(tmp_path / "a").public_key() == first
    assert sorted(p.name for p in tmp_path.iterdir() if p.suffix == ".part") == []


def test_keys_of_which_one_cannot_be_read_all_stay(tmp_path: Path) -> None:
    save_key(tmp_path / "a", make_identity_key())
    written(tmp_path / "b", "no key")
    before = (tmp_path / "a").read_bytes()
    with pytest.raises(TrustError, match="key b is not a PEM private key"):
        rekey(tmp_path, ("a", "b"), passphrase=ONE)
    assert (tmp_path / "a").read_bytes() == before
