"""A study whose backbone comes trained: the whole engine, a real line, the published model, the audit."""

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from live_federation import STUDY, CalmStudy, LiveFederation, answer, wardround
from memory_ward import MemoryWard
from tiny_federation import images, study_text

from client.backbones import FOLDER
from deploy.audit.remade import remake
from server.journal import read_history
from server.study_folder import find_study
from shared.backbone import head_of
from shared.canonical import digest
from shared.ledger import read_entries
from shared.update import PackedFile, pack

HEAD = {"head.bias", "head.weight"}


def sha(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


def state(file: Path) -> dict[str, Any]:
    return dict(PackedFile(file).items())


def section(file: Path, *, rate: float = 0.0) -> str:
    return f'[backbone]\nsha256 = "{sha(file)}"\nrate = {rate}\n'


def of_three_classes(name: str, file: Path) -> str:
    """A study on a backbone that was trained to tell two."""
    text = study_text(name, rounds=2, sites=2).replace("[training]", f"{section(file)}[training]")
    return text.replace('classes = ["bright"]', 'mode = "multiclass"\nclasses = ["dark", "bright", "neither"]')


@pytest.fixture(scope="module")
def ward(tmp_path_factory: pytest.TempPathFactory) -> MemoryWard:
    root = tmp_path_factory.mktemp("transfer")
    return MemoryWard(root / "ward", images(root, ["east", "west"]))


@pytest.fixture
def backbone(ward: MemoryWard, flower_process: None) -> Path:
    """The final model of a study before."""
    made = ward.federation / "studies" / "before" / "model.safetensors"
    return made if made.exists() else ward.run(study_text("before", rounds=1, sites=2)).path / made.name


def test_only_the_head_trains_and_travels_and_the_final_model_is_whole(
    ward: MemoryWard, backbone: Path, tmp_path: Path
) -> None:
    text = of_three_classes("frozen", backbone) + "keep_updates = true\n"
    folder = ward.run(text, backbone=backbone)
    start, final = folder.path / "models" / "start.safetensors", folder.path / "model.safetensors"
    updates = list((folder.path / "updates").glob("round-*/*"))
    assert [PackedFile(file).declared().keys() for file in (start, *updates)] == [HEAD] * 5
    for place in ward.sites.values():
        assert [file.name for file in (place / FOLDER).iterdir()] == [f"{sha(backbone)}.brought.safetensors"]
    before, whole = state(backbone), state(final)
    assert whole["head.weight"].shape == (3, 8) != before["head.weight"].shape
    assert not np.array_equal(whole["head.weight"], state(start)["head.weight"])
    assert whole.keys() == before.keys()
    for name in whole.keys() - HEAD:
        np.testing.assert_array_equal(whole[name], before[name])
    scored = digest(pack(dict(head_of(PackedFile(final), "basic_cnn"))))
    assert scored == read_history(folder.journal).final_digest
    assert remake(read_entries(folder.journal), folder.path).final is True
    answer("study", "export", "frozen", "-f", ward.federation, "--out", tmp_path / "package")
    assert (tmp_path / "package" / "model.safetensors").read_bytes() == final.read_bytes()
    final.write_bytes(pack(whole | {"head.bias": whole["head.bias"] + np.float32(1)}))
    assert remake(read_entries(folder.journal), folder.path).final is False


def test_a_backbone_at_a_lower_rate_travels_and_moves_less(ward: MemoryWard, backbone: Path) -> None:
    moved = {}
    for rate in (0.01, 1.0):
        text = study_text(f"rate-{rate:g}".replace(".", "-"), rounds=1, sites=2)
        folder = ward.run(text.replace("[training]", f"{section(backbone, rate=rate)}[training]"), backbone=backbone)
        before, after = state(backbone), state(folder.path / "model.safetensors")
        start = state(folder.path / "models" / "start.safetensors")
        assert not np.array_equal(start["head.weight"], before["head.weight"])
        np.testing.assert_array_equal(start["hidden.weight"], before["hidden.weight"])
        moved[rate] = float(np.abs(after["hidden.weight"] - before["hidden.weight"]).sum())
    assert 0 < moved[0.01] < 0.1 * moved[1.0]


def test_over_a_real_line_a_backbone_travels_once(
    federation: LiveFederation, calm_study: CalmStudy, tmp_path: Path
) -> None:
    file, backbone = tmp_path / "transfer.toml", calm_study.folder.path / "model.safetensors"
    text = STUDY.format(name="transfer", rounds=2, steps=2, quorum=3)
    file.write_text(text.replace("[training]", f"{section(backbone)}[training]"))
    said = answer("study", "check", file)
    assert said["model_bytes"] + said["frozen_bytes"] == sum(t.nbytes for t in PackedFile(backbone).table())
    assert said["model_bytes"] == 4 * (16 + 1)
    refused = wardround("study", "launch", file, "-f", federation.federation)
    assert "Name its file with --backbone." in " ".join(refused.output.split())
    answer("study", "launch", file, "-f", federation.federation, "--backbone", backbone)
    folder = find_study(federation.federation, "transfer")
    federation.finished(folder)
    assert set(PackedFile(folder.path / "model.safetensors").declared()) == set(PackedFile(backbone).declared())
    sent = [e.data["update_bytes"] for e in read_entries(folder.journal) if e.type == "update_spooled"]
    assert len(sent) == 6
    assert max(sent) < 1000 < backbone.stat().st_size
    for place in federation.sites.values():
        assert [held.name for held in (place / FOLDER).iterdir()] == [f"{sha(backbone)}.brought.safetensors"]
