"""A package is believed whole or not at all."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from finished_study import finished_study

from server.export import Asked, evidence_for, export_model
from server.federation import load_federation
from shared.canonical import canonical
from shared.envelope import seal
from shared.errors import ConfigError, TrustError
from shared.keys import make_identity_key
from shared.model_package import (
    CARD,
    MANIFEST,
    PURPOSE,
    SIGNATURE,
    Listed,
    Manifest,
    listed,
    open_package,
    sign_manifest,
)

KEY = make_identity_key()


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A real package, signed by `KEY`."""
    root = tmp_path_factory.mktemp("package")
    made = finished_study(root)
    evidence, _ = evidence_for(made.folder, roster=None)
    key = load_federation(made.place.federation).coordinator_key
    asked = Asked(federation="lung", made="2026-01-03T00:00:00Z")
    folder = export_model(made.folder, evidence, asked, to=root / "p", form="safetensors", key=key).folder
    resign(folder, Manifest.model_validate_json((folder / MANIFEST).read_bytes()))
    return folder


@pytest.fixture
def package(sound: Path, tmp_path: Path) -> Path:
    """A copy of it to harm."""
    folder = tmp_path / "package"
    folder.mkdir()
    for file in sound.iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    return folder


def resign(folder: Path, manifest: Manifest) -> None:
    for name, data in sign_manifest(manifest, key=KEY).items():
        (folder / name).write_bytes(data)


def relisted(folder: Path, **files: Listed) -> None:
    manifest = Manifest.model_validate_json((folder / MANIFEST).read_bytes())
    resign(folder, manifest.model_copy(update={"files": manifest.files | files}))


def test_a_sound_package_opens(package: Path) -> None:
    opened = open_package(package, coordinator=KEY.public_key())
    assert opened.model == package / "model.safetensors"


def test_another_key_opens_nothing(package: Path) -> None:
    with pytest.raises(TrustError):
        open_package(package, coordinator=make_identity_key().public_key())


def _grow(folder: Path) -> None:
    with (folder / "model.safetensors").open("ab") as file:
        file.write(b"\0")


def _swap(folder: Path) -> None:
    model = folder / "model.safetensors"
    data = bytearray(model.read_bytes())
    data[-1] ^= 1
    model.write_bytes(data)


def _lose(folder: Path) -> None:
    (folder / CARD).unlink()


def _add(folder: Path) -> None:
    (folder / "scripts").mkdir()
    (folder / "scripts" / "__init__.py").write_text("")


def _link_a_folder(folder: Path) -> None:
    outside = folder.parent / "outside"
    outside.mkdir()
    (outside / "__init__.py").write_text("")
    (folder / "scripts").symlink_to(outside)


def _link_the_model(folder: Path) -> None:
    model = folder / "model.safetensors"
    model.symlink_to(model.rename(folder.parent / "elsewhere"))


def _soften(folder: Path) -> None:
    card = folder / CARD
    card.write_text(card.read_text().replace("research use only", "cleared for all use"))


def _rewrite(folder: Path) -> None:
    (folder / MANIFEST).write_bytes((folder / MANIFEST).read_bytes().replace(b"chest", b"brain"))


def _for_another_purpose(folder: Path) -> None:
    body = (folder / MANIFEST).read_bytes()
    (folder / SIGNATURE).write_bytes(seal(body, key=KEY, signer="coordinator", purpose="roster"))


@pytest.mark.parametrize(
    "harm", [_grow, _swap, _lose, _add, _link_a_folder, _link_the_model, _soften, _rewrite, _for_another_purpose]
)
def test_a_harmed_package_opens_not(package: Path, harm: Callable[[Path], None]) -> None:
    harm(package)
    with pytest.raises(TrustError):
        open_package(package, coordinator=KEY.public_key())


@pytest.mark.parametrize("path", ["../model.safetensors", "/etc/passwd", "a/../b", ".hidden", "", "a//b"])
def test_a_signed_path_that_leads_elsewhere_is_refused(package: Path, path: str) -> None:
    body = json.loads((package / MANIFEST).read_bytes())
    body["files"][path] = {"sha256": "0" * 64, "bytes": 0}
    data = canonical(body)
    (package / MANIFEST).write_bytes(data)
    (package / SIGNATURE).write_bytes(seal(data, key=KEY, signer="coordinator", purpose=PURPOSE))
    with pytest.raises(TrustError, match="fields outside its type"):
        open_package(package, coordinator=KEY.public_key())


def test_the_card_is_of_the_model_beside_it(package: Path) -> None:
    _swap(package)
    relisted(package, **{"model.safetensors": listed((package / "model.safetensors").read_bytes())})
    with pytest.raises(TrustError, match="another model"):
        open_package(package, coordinator=KEY.public_key())


def test_a_card_with_unknown_fields_says_what_to_install(package: Path) -> None:
    card = json.loads((package / CARD).read_bytes()) | {"shiny": True}
    (package / CARD).write_text(json.dumps(card))
    relisted(package, **{CARD: listed((package / CARD).read_bytes())})
    with pytest.raises(TrustError, match="does not know") as caught:
        open_package(package, coordinator=KEY.public_key())
    assert "Install" in caught.value.remedy


def test_a_folder_without_a_package_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"manifest\.json"):
        open_package(tmp_path, coordinator=KEY.public_key())
