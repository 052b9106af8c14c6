"""Explanations against outlines: what is counted, and which demos cannot be asked."""

import json
from pathlib import Path

import numpy as np
import pytest
from finished_study import finished_study
from live_federation import wardround

from deploy.bench.explain import missed, run, show
from server.launch import FINAL_MODEL
from shared.console import Answer, envelope
from shared.errors import ConfigError


def demo(root: Path, masks: np.ndarray, **study: str) -> Path:
    """A kept demo of one site whose ten images, five of them for testing, have these masks."""
    done = finished_study(root, **study)  # type: ignore[arg-type]
    assert done.place.federation == root / "federation"
    (done.folder.path / FINAL_MODEL).write_bytes((done.folder.path / "models" / "round-00001.safetensors").read_bytes())
    (root / "images" / "north").mkdir(parents=True)
    pictures = np.random.default_rng(0).integers(0, 256, (10, 28, 28), dtype=np.uint8)
    split = np.array(["train", "test"] * 5)
    np.savez(root / "images" / "north" / "images.npz", images=pictures, labels=split == "x", split=split, masks=masks)
    return root


def test_what_is_all_mask_is_always_hit_and_by_chance_too(tmp_path: Path) -> None:
    kept = demo(tmp_path / "demo", np.ones((10, 28, 28), dtype=np.uint8))
    found = run(kept, images=200, seed=0, scratch=tmp_path)
    assert found == {
        "study": "chest",
        "images": 5,
        "hits": {"grad_cam": 1.0, "occlusion": 1.0},
        "by_chance": 1.0,
    }
    assert [sentence.split()[0] for sentence in missed(found)] == ["grad_cam", "occlusion"]


def test_chance_is_the_share_of_the_mask_and_a_hit_is_the_highest_place(tmp_path: Path) -> None:
    left = np.zeros((10, 28, 28), dtype=np.uint8)
    left[:, :, :14] = 1
    first = run(demo(tmp_path / "left", left), images=200, seed=0, scratch=tmp_path / "a")
    other = run(demo(tmp_path / "right", 1 - left), images=200, seed=0, scratch=tmp_path / "b")
    assert first["by_chance"] == other["by_chance"] == 0.5
    for name in ("grad_cam", "occlusion"):
        assert first["hits"][name] + other["hits"][name] == pytest.approx(1)
    envelope("bench.explain", Answer(first, show(first)))


def test_images_without_a_mask_are_not_asked(tmp_path: Path) -> None:
    found = run(demo(tmp_path / "demo", np.zeros((10, 28, 28), np.uint8)), images=9, seed=0, scratch=tmp_path)
    assert found["images"] == 0
    assert list(missed(found)) == ["No test image has a mask."]


def test_only_a_finished_demo_that_classifies_images_is_asked(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no finished demo"):
        run(tmp_path, images=1, seed=0, scratch=tmp_path)
    finds_masks = {"kind": "segmentation", "model": "unet"}
    kept = demo(tmp_path / "demo", np.ones((10, 28, 28), np.uint8), size_px="32", **finds_masks)  # type: ignore[arg-type]
    done = wardround("bench", "explain", "--demo", kept, "--json")
    assert done.exit_code == 3
    assert "classify" in json.loads(done.stdout)["error"]["what"]
