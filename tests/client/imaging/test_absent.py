"""Of which classes a site has nobody to train on."""

import pytest

from client.imaging.absent import absent_classes
from shared.study import TaskSpec

BINARY = TaskSpec(classes=("opacity",))
SEVERAL = TaskSpec(mode="multiclass", classes=("nv", "mel", "bkl"))
FINDINGS = TaskSpec(mode="multilabel", classes=("effusion", "nodule"))
MASKS = TaskSpec(kind="segmentation", classes=("tumour",))


@pytest.mark.parametrize(
    ("task", "training", "absent"),
    [
        (BINARY, {"opacity": 3, "negative": 4}, ()),
        (BINARY, {"negative": 4}, ("opacity",)),
        (BINARY, {"opacity": 3, "negative": 0}, ("negative",)),
        (BINARY, {"opacity": 0, "negative": 0}, ()),
        (SEVERAL, {"mel": 1, "bkl": 2}, ("nv",)),
        (FINDINGS, {"effusion": 1}, ("nodule",)),
        (MASKS, {"tumour": 1}, ()),
        (MASKS, {"negative": 1}, ("tumour",)),
    ],
)
def test_every_class_that_training_needs_is_asked_for(
    task: TaskSpec, training: dict[str, int], absent: tuple[str, ...]
) -> None:
    assert absent_classes(training, task) == absent
