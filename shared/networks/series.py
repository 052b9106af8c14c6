"""Networks for series of slices: one small network looks at each slice, and what it saw is joined over all of them.

Decides how slices are joined: in their order, by a gated recurrent unit that reads them both ways (Cho et al., EMNLP
2014), or whatever their order, by attention (Ilse, Tomczak and Welling, ICML 2018, the gated form): a mean over the
slices, each weighing as much as the network gives it. All slices of a series are looked at by the same weights. The
recurrent unit is written out in linear layers, which are deterministic on every device where a library's fused one is
not, and which a private study can take gradients of. This module imports torch and nothing else, because a MONAI
bundle of such a model carries it as it is.
"""

import torch
from torch import Tensor, nn

SEEN = 64  # features of one slice
_STATE = 64  # of the recurrent unit, each way
_GATE = 32  # of the attention


class SliceSeries(nn.Module):
    """A volume as a series of slices: one network on each slice, and logits of what is joined of them.

    Shapes: (batch, 1, slices, size_px, size_px) float32 to (batch, outputs) float32.

    Args:
        slices: looks at one slice, (batch, 1, size_px, size_px), and gives `SEEN` features.
        outputs: logits.
        ordered: join the slices in their order, or by attention.
    """

    def __init__(self, slices: nn.Module, *, outputs: int, ordered: bool) -> None:
        super().__init__()
        self.slices = slices
        self.joined = Recurrent(SEEN, _STATE) if ordered else Attention(SEEN)
        self.head = nn.Linear(2 * _STATE if ordered else SEEN, outputs)

    def forward(self, volumes: Tensor) -> Tensor:
        """Logits of a batch of volumes."""
        each = volumes.transpose(1, 2)  # (batch, slices, 1, size_px, size_px)
        seen = torch.relu(self.slices(each.flatten(0, 1))).view(*each.shape[:2], SEEN)
        return self.head(self.joined(seen))  # type: ignore[no-any-return]


class Recurrent(nn.Module):
    """A gated recurrent unit over a series, forwards and backwards, each with weights of its own.

    Shapes: (batch, slices, features) to (batch, 2 * state), the last state of each way.
    """

    def __init__(self, features: int, state: int) -> None:
        super().__init__()
        self.forwards = _Unit(features, state)
        self.backwards = _Unit(features, state)

    def forward(self, seen: Tensor) -> Tensor:
        """The last states."""
        return torch.cat([self.forwards(seen), self.backwards(seen.flip(1))], dim=1)


class _Unit(nn.Module):
    def __init__(self, features: int, state: int) -> None:
        super().__init__()
        self.enters = nn.Linear(features, 3 * state)
        self.returns = nn.Linear(state, 3 * state)

    def forward(self, seen: Tensor) -> Tensor:
        entering = self.enters(seen)
        state = torch.zeros_like(entering[:, 0, : self.returns.in_features])
        for enters in entering.unbind(1):
            (reset, update, new), (reset_by, update_by, new_by) = enters.chunk(3, 1), self.returns(state).chunk(3, 1)
            kept = torch.sigmoid(update + update_by)
            proposed = torch.tanh(new + torch.sigmoid(reset + reset_by) * new_by)
            state = kept * state + (1 - kept) * proposed
        return state


class Attention(nn.Module):
    """The mean over a series, each slice weighing as much as the network gives it.

    Shapes: (batch, slices, features) to (batch, features).
    """

    def __init__(self, features: int) -> None:
        super().__init__()
        self.content = nn.Linear(features, _GATE)
        self.gate = nn.Linear(features, _GATE)
        self.share = nn.Linear(_GATE, 1)

    def forward(self, seen: Tensor) -> Tensor:
        """The weighted mean."""
        shares = torch.softmax(self.share(torch.tanh(self.content(seen)) * torch.sigmoid(self.gate(seen))), dim=1)
        return (shares * seen).sum(dim=1)
