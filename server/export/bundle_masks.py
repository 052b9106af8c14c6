"""What a bundle makes of a network's output at each place: masks on the images' own grids, and how large they are.

As `client/imaging/outline.py` has it: shares are brought back, and of several structures the likeliest is called.
The expressions need `numpy as np`, `pathlib`, `json` and PIL imported, and of planes `sized` (`bundle_reading.py`).
"""

from typing import Any

from shared.model_card import Inputs

Config = dict[str, Any]
EACH = "$lambda: (logits for batch in @dataloader for logits in @step(batch['image']))"
SHARES = {"binary": "$lambda logits: torch.sigmoid(logits).numpy()"}
SEVERAL = "$lambda logits: torch.softmax(logits, dim=0).numpy()"
CALLED = {"binary": "$lambda shares, own: (own(shares[0]) >= 0.5).astype(np.uint8)"}
LIKELIEST = "$lambda shares, own: np.stack([own(share) for share in shares]).argmax(axis=0).astype(np.uint8)"
_INNER = "$lambda size: tuple(max(1, round(edge * {size} / max(size))) for edge in size)"
_CUT = (
    "$lambda plane, inner: np.ascontiguousarray(plane[({size} - inner[1]) // 2:][:inner[1],"
    " ({size} - inner[0]) // 2:][:, :inner[0]])"
)
_OWN = (
    "$lambda plane, size: np.asarray(Image.fromarray(@cut(plane, @inner(size)))"
    ".resize(size, Image.Resampling.BILINEAR))"
)
_OUTLINE = (
    "$lambda logits, image: (lambda size: @called(@postprocessing(logits), lambda plane: @own(plane, size)))"
    "(@sized(image))"
)
_SAVE = "$lambda mask, place, _: Image.fromarray(mask * np.uint8({white})).save(place)"
PLACE = (
    "$lambda image: (lambda place: (place.parent.mkdir(parents=True, exist_ok=True), place)[1])"
    "(pathlib.Path(@output_dir, pathlib.Path(image).relative_to(@dataset_dir).as_posix() + '{ending}'))"
)
TOLD = (
    "$lambda image, mask: (@save(mask, @place(image), image), {{'image': image, 'mask': str(@place(image)),"
    " '{unit}': {{name: int((mask == n).sum()) for n, name in enumerate({names}, 1)}}}})[1]"
)
WRITE = (
    "$lambda each: pathlib.Path(@output_dir).mkdir(parents=True, exist_ok=True) or"
    " pathlib.Path(@output_dir, 'predictions.json').write_text(json.dumps("
    "[@told(d['image'], @outline(logits, d['image'])) for d, logits in zip(@datalist, each)], indent=1))"
)


def masks_of_planes(inputs: Inputs) -> Config:
    """The entries from logits to PNG files; `evaluator` gives the logits of each image, one after the other."""
    mode, size, names = inputs.task.mode, inputs.images.size_px, list(inputs.task.classes)
    return {
        "postprocessing": SHARES.get(mode, SEVERAL),
        "called": CALLED.get(mode, LIKELIEST),
        "inner": _INNER.format(size=size),
        "cut": _CUT.format(size=size),
        "own": _OWN,
        "outline": _OUTLINE,
        "save": _SAVE.format(white=255 if mode == "binary" else 1),
        "place": PLACE.format(ending=".mask.png"),
        "told": TOLD.format(unit="pixels", names=names),
        "evaluator": EACH,
        "writer": WRITE,
    }
