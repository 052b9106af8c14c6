"""Images out of a generative model: normal codes, decoded. This module imports torch."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from shared.models import build_model, load_state
from shared.networks.vae import CODE, Vae
from shared.randomness import StudyRandom
from shared.study import Study
from shared.tasks import task_for
from shared.update import CONTROL, PackedFile


def draw_images(study: Study, model: Path, *, count: int, seed: int) -> NDArray[Any]:
    """Draw images from the final model of a study; the same seed draws the same.

    Args:
        study: of a generative task.
        model: its weights, checked by the caller.
        count: images.
        seed: of the codes.

    Returns:
        (count, size_px, size_px) or (count, size_px, size_px, 3) uint8.
    """
    random = StudyRandom(seed)
    outputs = task_for(study.task).outputs
    network = build_model(study.model, images=study.images, outputs=outputs, random=random)
    assert isinstance(network, Vae)
    load_state(network, {name: values for name, values in PackedFile(model).items() if not name.startswith(CONTROL)})
    codes = random.child("codes").generator().standard_normal((count, CODE), dtype=np.float32)
    with torch.inference_mode():
        drawn = network.eval().draw(torch.from_numpy(codes)).numpy()
    pixels = np.rint((drawn + 1) * 127.5).astype(np.uint8)
    return np.asarray(pixels[:, 0] if pixels.shape[1] == 1 else pixels.transpose(0, 2, 3, 1))
