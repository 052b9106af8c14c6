"""A study whose rounds cost next to nothing but the exchange: its model, its images, its text.

The model is `basic_cnn` at 28 px, widened until its packed bytes are those asked for. Decides no
figure; what is measured on it is left to `rounds` and `memory`.
"""

from functools import cache
from pathlib import Path

import numpy as np

from server.launch import start_state
from shared.study import Study, parse_study
from shared.update import FloatDtype, pack

SIZE_PX = 28
_IMAGES = 6  # of each split
_NARROW, _WIDE = 8, 264  # the packed size is linear in the width but for a few digits in the header

_TEXT = """\
[study]
name = "{name}"
description = "Rounds that only exchange a model."

[task]
mode = "binary"
classes = ["positive"]

[images]
size_px = {size_px}

[model]
name = "basic_cnn"
norm = "group"
width = {width}

[training]
optimizer = "sgd"
learning_rate = 0.001
momentum = 0.0
batch_size = 2
steps_per_round = {steps}

[rounds]
count = {rounds}
quorum = {sites}
deadline_s = {deadline_s}

[admission]
norm_factor = 1000000

[transfer]
update_dtype = "{dtype}"
model_dtype = "{dtype}"
"""


def study_text(
    name: str,
    *,
    width: int,
    rounds: int,
    sites: int,
    steps: int = 1,
    deadline_s: int = 600,
    dtype: FloatDtype = "float32",
) -> str:
    """The study as its coordinator would write it.

    One step on one image, not none: Flower stores equal objects once, so a change of zeros, the same
    from every site, would hardly travel.
    """
    return _TEXT.format(
        name=name,
        size_px=SIZE_PX,
        width=width,
        steps=steps,
        rounds=rounds,
        sites=sites,
        deadline_s=deadline_s,
        dtype=dtype,
    )


def width_for(model_bytes: int) -> int:
    """The width whose packed model comes closest to so many bytes."""
    narrow, wide = _packed_bytes(_NARROW), _packed_bytes(_WIDE)
    each = (wide - narrow) / (_WIDE - _NARROW)
    return max(_NARROW, _NARROW + round((model_bytes - narrow) / each))


def write_images(file: Path, *, seed: int) -> None:
    """A handful of random images of both classes in each split, as one .npz in the flat form."""
    count = 3 * _IMAGES
    np.savez(
        file,
        images=np.random.default_rng(seed).integers(0, 256, (count, SIZE_PX, SIZE_PX), dtype=np.uint8),
        labels=np.arange(count) % 2,
        split=np.repeat(["train", "validation", "test"], _IMAGES),
    )


@cache
def _packed_bytes(width: int) -> int:
    return len(pack(start_state(_study(width))))


def _study(width: int) -> Study:
    return parse_study(study_text("size", width=width, rounds=1, sites=1))
