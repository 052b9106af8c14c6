"""Keys stay in files that only their owner reads, and public keys have one form."""

import re
import stat
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from shared.errors import TrustError
from shared.keys import (
    fingerprint,
    identity_hex,
    load_identity_key,
    load_transport_key,
    make_identity_key,
    make_transport_key,
    read_identity_hex,
    read_transport_pem,
    save_key,
    transport_pem,
)


def test_keys_survive_their_files(tmp_path: Path) -> None:
    transport, identity = make_transport_key(), make_identity_key()
    save_key(tmp_path / "t", transport)
    save_key(tmp_path / "i", identity)
    assert stat.S_IMODE((tmp_path / "t").stat().st_mode) == 0o600
    assert load_transport_key(tmp_path / "t").private_numbers() == transport.private_numbers()
    assert load_identity_key(tmp_path / "i").private_bytes_raw() == identity.private_bytes_raw()


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o660, 0o700])
def test_an_exposed_key_is_refused_with_the_cure(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "identity.pem"
    save_key(path, make_identity_key())
    path.chmod(mode)
    with pytest.raises(TrustError, match=f"identity key has file mode {mode:04o}") as caught:
        load_identity_key(path)
    assert f"chmod 600 {path}" in caught.value.remedy


def test_a_read_only_key_is_fine(tmp_path: Path) -> None:
    save_key(tmp_path / "k", make_identity_key())
    (tmp_path / "k").chmod(0o400)
    load_identity_key(tmp_path / "k")


def test_one_kind_of_key_never_passes_for_the_other(tmp_path: Path) -> None:
    save_key(tmp_path / "t", make_transport_key())
    save_key(tmp_path / "i", make_identity_key())
    save_key(tmp_path / "p256", ec.generate_private_key(ec.SECP256R1()))
    with pytest.raises(TrustError, match="not an Ed25519"):
        load_identity_key(tmp_path / "t")
    for path in ("i", "p256"):
        with pytest.raises(TrustError, match="not an EC P-384"):
            load_transport_key(tmp_path / path)


def test_a_missing_or_spoilt_key_file_says_so_and_shows_nothing(tmp_path: Path) -> None:
    with pytest.raises(TrustError, match="coordinator's key cannot be read"):
        load_identity_key(tmp_path / "none", role="coordinator's key")
    (tmp_path / "k").write_text("-----BEGIN PRIVATE KEY-----\nSECRET\n-----END PRIVATE KEY-----\n")
    (tmp_path / "k").chmod(0o600)
    with pytest.raises(TrustError, match="not a PEM private key") as caught:
        load_identity_key(tmp_path / "k")
    assert "SECRET" not in str(caught.value) + caught.value.remedy


def test_an_encrypted_key_is_refused_in_words(tmp_path: Path) -> None:
    pem = make_identity_key().private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.BestAvailableEncryption(b"x")
    )
    (tmp_path / "k").write_bytes(pem)
    (tmp_path / "k").chmod(0o600)
    with pytest.raises(TrustError, match="is encrypted, and no passphrase is given"):
        load_identity_key(tmp_path / "k")


def test_public_keys_have_one_text() -> None:
    transport, identity = make_transport_key().public_key(), make_identity_key().public_key()
    assert read_transport_pem(transport_pem(transport)) == transport
    assert read_identity_hex(identity_hex(identity)) == identity


def test_other_texts_of_a_public_key_are_refused() -> None:
    key = make_transport_key().public_key()
    text = transport_pem(key)
    compressed = key.public_bytes(serialization.Encoding.X962, serialization.PublicFormat.CompressedPoint).hex()
    p256 = transport_pem(ec.generate_private_key(ec.SECP256R1()).public_key())
    for other in (text + "\n", text.replace("\n", "\r\n"), "note\n" + text, compressed, p256, "", "-----BEGIN"):
        with pytest.raises(ValueError, match="public key"):
            read_transport_pem(other)


def test_a_fingerprint_is_eight_groups_and_depends_on_every_key() -> None:
    assert re.fullmatch(r"([0-9a-f]{4} ){7}[0-9a-f]{4}", fingerprint("a"))
    assert len({fingerprint("a"), fingerprint("b"), fingerprint("a", "b"), fingerprint("b", "a")}) == 4


def test_a_key_behind_a_link_is_judged_by_the_file_it_leads_to(tmp_path: Path) -> None:
    save_key(tmp_path / "key", make_identity_key())
    (tmp_path / "link").symlink_to(tmp_path / "key")
    load_identity_key(tmp_path / "link")
    (tmp_path / "key").chmod(0o644)
    with pytest.raises(TrustError, match="mode 0644"):
        load_identity_key(tmp_path / "link")


def test_a_folder_in_place_of_a_key_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TrustError, match="transport key cannot be read"):
        load_transport_key(tmp_path)
