"""Which part of an image a training step reads."""

import numpy as np
import torch

from client.imaging.examples import Examples
from client.imaging.patches import place_of_patch, reader
from client.imaging.transforms import to_network
from shared.patch import PatchSpec

SHAPE = (8, 40, 40)
CORNER = (7, 1, 38)  # the only place that has the structure


def volumes(count: int = 3) -> Examples:
    images = np.random.default_rng(0).integers(0, 65536, (count, 1, *SHAPE)).astype(np.uint16)
    masks = np.zeros((count, *SHAPE), np.uint16)
    masks[(slice(None), *CORNER)] = 1
    return Examples(images, np.ones((count, 1), np.int64), np.arange(count), masks=masks)


def patch(**how: float) -> PatchSpec:
    return PatchSpec.model_validate({"size_px": 16, "slices": 4} | how)


def firsts(spec: PatchSpec, mask: np.ndarray, *, times: int = 400) -> np.ndarray:
    draws = np.random.default_rng(1)
    places = [place_of_patch(mask, spec, draws) for _ in range(times)]
    assert all(tuple(part.stop - part.start for part in place) == spec.grid for place in places)
    return np.array([[part.start for part in place] for place in places])


def test_a_positive_patch_holds_the_structure_and_stays_in_the_image() -> None:
    mask = volumes(1).masks
    assert mask is not None
    assert (firsts(patch(positive=1), mask[0]) == (4, 0, 24)).all()


def test_a_patch_holds_the_structure_as_often_as_is_asked() -> None:
    mask = np.zeros((64, 64), np.uint16)
    mask[32, 32] = 1
    spec = PatchSpec(size_px=16, positive=0.7)
    centred = (firsts(spec, mask) == (24, 24)).all(axis=1).mean()
    assert 0.6 < centred < 0.8


def test_without_a_structure_every_place_is_as_likely() -> None:
    found = firsts(patch(positive=1), np.zeros(SHAPE, np.uint16))
    assert found.min(axis=0).tolist() == [0, 0, 0] and found.max(axis=0).tolist() == [4, 24, 24]
    assert np.abs(found.mean(axis=0) - (2, 12, 12)).max() < 1


def test_image_and_mask_are_cut_alike_and_again_the_same_from_the_same_stream() -> None:
    examples = volumes()
    assert examples.masks is not None
    chosen = np.array([2, 0])
    images, masks = reader(examples, patch(), np.random.default_rng(5))(chosen)
    again, _ = reader(examples, patch(), np.random.default_rng(5))(chosen)
    assert images.shape == (2, 1, 4, 16, 16) and masks.shape == (2, 4, 16, 16) and masks.dtype == torch.int64
    assert torch.equal(images, again)
    draws = np.random.default_rng(5)
    for number, image, mask in zip(chosen.tolist(), images, masks, strict=True):
        place = place_of_patch(examples.masks[number], patch(), draws)
        assert torch.equal(image, to_network(examples.images[number][:, *place]))
        assert np.array_equal(mask.numpy(), examples.masks[number][place])


def test_without_patches_images_are_read_whole() -> None:
    examples = volumes()
    images, masks = reader(examples, None, np.random.default_rng(0))(np.array([1]))
    assert images.shape == (1, 1, *SHAPE) and masks.shape == (1, *SHAPE)
