"""A network for images joined with clinical columns: one answer from what is seen and what is known.

The image network ends in an embedding instead of logits; the columns, standardised as the study declares, pass a
hidden layer of their own; one layer makes logits of both. A missing value is 0, the middle, and a feature of its own
says that it is missing: so a network can learn that a test was not ordered. All is trained together. This module
imports torch.
"""

import torch
from torch import Tensor, nn

from shared.clinical import Columns

EMBEDDING = 64  # features of the image
_HIDDEN = 32


class Fusion(nn.Module):
    """An image network and the clinical columns of a study.

    Shapes: images as the image network takes them, clinical (batch, columns) float32, NaN where missing, in the order
    and units of the study, a category as its position in `values`; to (batch, outputs) float32.

    Args:
        images: a network with `EMBEDDING` outputs.
        columns: the study's.
        outputs: logits.
    """

    def __init__(self, images: nn.Module, *, columns: Columns, outputs: int) -> None:
        super().__init__()
        self.images = images
        self._columns = tuple(columns.values())
        self.known = nn.Linear(sum(column.width for column in self._columns), _HIDDEN)
        self.head = nn.Linear(EMBEDDING + _HIDDEN, outputs)

    def forward(self, images: Tensor, clinical: Tensor) -> Tensor:
        """Logits of a batch of images and what is known beside them."""
        seen = torch.relu(self.images(images))
        known = torch.relu(self.known(self.features(clinical)))
        return self.head(torch.cat([seen, known], dim=1))  # type: ignore[no-any-return]

    def features(self, clinical: Tensor) -> Tensor:
        """(batch, columns) values to the (batch, features) that the network sees."""
        missing = torch.isnan(clinical)
        values = torch.nan_to_num(clinical)
        parts: list[Tensor] = []
        for number, column in enumerate(self._columns):
            value, gap = values[:, number : number + 1], missing[:, number : number + 1]
            if column.values:
                place = torch.arange(len(column.values), device=value.device, dtype=value.dtype)
                shown = (value == place).to(value.dtype)
            else:
                shown = (value - column.middle) / column.spread
            parts += [torch.where(gap, 0.0, shown), gap.to(value.dtype)]
        return torch.cat(parts, dim=1)
