"""What a backbone goes with, which part of each network it is, and how it is frozen."""

from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
import torch
from lone_site import a_study
from torch import nn

from client.work.networks import start_network
from server.launch import launch, start_state, whole_table
from shared.backbone import HEADS, check_backbone, of_head
from shared.canonical import digest
from shared.errors import ConfigError
from shared.methods import frozen_tensors
from shared.networks.freezing import mixes_batches, start_training
from shared.networks.spec import SERIES, ModelSpec
from shared.study import Study
from shared.update import CONTROL, pack

SHA = "a" * 64
STEPS = {"steps_per_round": 1, "batch_size": 4}


def on_backbone(*, rate: float = 0.0, sha256: str = SHA, **changes: Any) -> Study:
    return a_study(**({"images": {"size_px": 32}, "backbone": {"sha256": sha256, "rate": rate}} | changes))


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"study": {"name": "s", "kind": "evaluate"}, "model": {"start_sha256": SHA}}, "a study that trains"),
        ({"model": {"start_sha256": SHA}}, "gives every weight"),
        ({"clinical": {"age": {"low": 0, "high": 110}}}, "clinical columns"),
        ({"model": {"norm": "batch"}, "training": STEPS | {"algorithm": "fedbn"}}, "fedbn, whose norm layers"),
        ({"rate": 0.5, "training": STEPS | {"algorithm": "scaffold", "momentum": 0}}, "one learning rate"),
    ],
)
def test_what_does_not_go_with_a_backbone_is_refused_by_name(changes: dict[str, Any], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        on_backbone(**changes)


def seen_by(name: str) -> dict[str, int]:
    """The images that a network takes."""
    return {"size_px": 32, "slices": 8} if name in SERIES else {"size_px": 32}


def test_all_but_those_that_draw_have_a_head() -> None:
    assert set(get_args(ModelSpec.model_fields["name"].annotation)) - HEADS.keys() == {"vae"}


@pytest.mark.parametrize("name", HEADS)
def test_the_head_of_each_network_is_its_last_layer(name: str) -> None:
    task = {"classes": ["a"]} if name not in ("unet", "segresnet") else {"classes": ["a"], "kind": "segmentation"}
    study = on_backbone(model={"name": name, "norm": "batch", "width": 8}, task=task, images=seen_by(name))
    network = start_network(study)
    heads = {k: v.shape[0] for k, v in network.named_parameters() if v.requires_grad}
    assert list(heads.values()) == [1, 1], heads
    assert set(heads) == {k for k in network.state_dict() if of_head(k, name)} == start_state(study).keys()
    assert frozen_tensors(network, study) == network.state_dict().keys() - heads.keys()
    assert not mixes_batches(network)


@pytest.mark.parametrize("name", [name for name in HEADS if name not in ("unet", "segresnet")])
def test_a_frozen_network_trains_its_head_alone(name: str) -> None:
    """Neither weights nor statistics of the backbone change, and it makes the same of an image in every step."""
    model, seen_images = {"name": name, "norm": "batch", "width": 8}, seen_by(name)
    network = start_training(start_network(on_backbone(model=model, images=seen_images)))
    before = {k: v.clone() for k, v in network.state_dict().items()}
    last = network.get_submodule(HEADS[name])
    assert isinstance(last, nn.Linear)
    seen: list[torch.Tensor] = []
    last.register_forward_pre_hook(lambda _, given: seen.append(given[0].detach()))
    images = torch.rand(4, 1, *([8] if name in SERIES else []), 32, 32)
    optimizer = torch.optim.SGD([p for p in network.parameters() if p.requires_grad], lr=1.0)
    for _ in range(2):
        optimizer.zero_grad()
        network(images).sum().backward()
        optimizer.step()
    changed = {k for k, v in network.state_dict().items() if not torch.equal(v, before[k])}
    assert changed == {f"{HEADS[name]}.{tensor}" for tensor in ("weight", "bias")}
    if name != "efficientnet-b0":  # whose last dropout is the head's
        torch.testing.assert_close(*seen, rtol=0, atol=0)


def test_scaffold_on_a_frozen_backbone_sends_variates_of_the_head_alone() -> None:
    study = on_backbone(training=STEPS | {"algorithm": "scaffold", "momentum": 0})
    assert start_state(study).keys() == {f"{p}head.{t}" for p in ("", CONTROL) for t in ("weight", "bias")}


def test_a_private_study_takes_batch_norms_that_are_frozen() -> None:
    privacy = {"noise_multiplier": 1.0, "sampling_rate": 0.5, "patients_per_step": 2, "images_per_patient": 1}
    asked = {"model": {"norm": "batch"}, "training": STEPS, "privacy": privacy}
    assert on_backbone(**asked).freezes
    with pytest.raises(ValueError, match="freeze the backbone"):
        on_backbone(rate=0.1, **asked)


# ------------------------------------------------------------------ the file


def a_file(path: Path, **changes: Any) -> Path:
    study = on_backbone(task={"mode": "multilabel", "classes": ["a", "b"]}, **changes)
    path.write_bytes(pack({t.name: np.ones(t.shape, t.dtype) for t in whole_table(study)}))
    return path


def launched(tmp_path: Path, study: Study, backbone: Path | None) -> None:
    launch(tmp_path, study, source="", start_model=None, backbone=backbone, now="2026-01-01T00:00:00Z")


def test_the_head_of_the_file_may_be_any(tmp_path: Path) -> None:
    check_backbone(a_file(tmp_path / "b"), whole_table(on_backbone()), "basic_cnn")


@pytest.mark.parametrize(("width", "images"), [(16, {"size_px": 32}), (128, {"size_px": 32, "channels": 3})])
def test_a_file_of_another_network_names_what_does_not_fit(tmp_path: Path, width: int, images: dict[str, int]) -> None:
    file = a_file(tmp_path / "b", model={"width": width}, images=images)
    with pytest.raises(ConfigError, match=r"does not fit basic_cnn in \d tensors, first \w+\.\w+"):
        launched(tmp_path, on_backbone(sha256=digest(file.read_bytes())), file)
    assert not (tmp_path / "studies" / "lungs").exists()


@pytest.mark.parametrize(
    ("pins", "given", "why"),
    [
        (True, None, "pins a backbone"),
        (True, "other", "not the one that the study pins"),
        (False, "other", "the study does not pin one"),
        (True, "absent", "cannot be read"),
    ],
)
def test_a_launch_takes_the_pinned_file_and_no_other(tmp_path: Path, pins: bool, given: str | None, why: str) -> None:
    a_file(tmp_path / "other")
    study = on_backbone() if pins else a_study()
    with pytest.raises(ConfigError, match=why):
        launched(tmp_path, study, tmp_path / given if given else None)
