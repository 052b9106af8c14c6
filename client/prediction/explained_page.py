"""The hospital's own page of explanations: pictures of its patients, so that it is never released and says so."""

import base64
import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined
from numpy.typing import NDArray
from PIL import Image

from client.prediction.explaining import Explained, View
from shared.durable import write_atomically
from shared.metrics import Floats
from shared.model_card import RESEARCH_ONLY

_EDGE = 256  # px of a picture on the page
_WARM, _COLD = np.array([230.0, 90.0, 20.0]), np.array([20.0, 110.0, 230.0])
_OPACITY = 0.6


def write_page(path: Path, explained: Sequence[Explained], *, model: str) -> None:
    """Write the page for this account alone.

    Args:
        path: the file.
        explained: in the order in which they are shown.
        model: SHA-256 of the model file.
    """
    environment = Environment(
        loader=PackageLoader("client.prediction", "."), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    shown = [(one, [(view, _uris(view, one)) for view in one.views]) for one in explained]
    page = environment.get_template("explained.html.jinja").render(
        shown=shown, model=model, notice=RESEARCH_ONLY, edge=_EDGE
    )
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)  # no exam may have been answered
    write_atomically(path, page.encode(), mode=0o600)


def _uris(view: View, of: Explained) -> list[str]:
    height = max(1, round(_EDGE * view.height))
    return [_uri(picture, height) for picture in _pictures(view, reach=max(map(abs, of.drop)) or 1.0)]


def _pictures(view: View, *, reach: float) -> tuple[NDArray[np.uint8], ...]:
    """The image, Grad-CAM over it, occlusion over it, the strongest where it is `reach`: (rows, columns, 3) each."""
    channels = np.broadcast_to(view.image, (3, *view.image.shape[1:])) if len(view.image) == 1 else view.image
    plain = np.moveaxis(channels / 257.0, 0, -1)
    cam, drop = view.maps.cam, view.maps.drop / reach
    parts = (
        plain,
        _over(plain, cam, _WARM),
        _over(_over(plain, np.clip(drop, 0, 1), _WARM), np.clip(-drop, 0, 1), _COLD),
    )
    return tuple(np.rint(np.clip(part, 0, 255)).astype(np.uint8) for part in parts)


def _over(plain: Floats, strength: Floats, colour: Floats) -> Floats:
    weight = (_OPACITY * strength)[..., None]
    return plain * (1 - weight) + colour * weight


def _uri(picture: NDArray[np.uint8], height: int) -> str:
    data = io.BytesIO()
    Image.fromarray(picture).resize((_EDGE, height), Image.Resampling.BICUBIC).save(data, format="PNG")
    return f"data:image/png;base64,{base64.b64encode(data.getvalue()).decode()}"
