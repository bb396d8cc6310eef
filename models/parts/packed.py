"""Linear layers with their weights laid out once for the processor, for few rows against many weights.

A frame is 32 queries and a few words; a matrix product of so few rows spends much of its time bringing the weights
into the order in which the kernel wants them, at every frame again. oneDNN keeps them in that order: the same sums,
in the same memory.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

_ROWS = 32
"""What the layout is chosen for; it holds for any number of rows."""


class Packed(nn.Module):
    """A float32 layer on the CPU, for inference: rows [..., in] to [..., out]."""

    def __init__(self, layer: nn.Linear) -> None:
        super().__init__()
        self.bias = None if layer.bias is None else layer.bias.detach()
        mkldnn = torch.ops.mkldnn  # private names, but those that torch's own compiler calls
        self.weight = mkldnn._reorder_linear_weight(layer.weight.detach(), _ROWS)  # noqa: SLF001
        self._product = mkldnn._linear_pointwise  # noqa: SLF001

    def forward(self, rows: Tensor) -> Tensor:
        out: Tensor = self._product(rows, self.weight, self.bias, "none", [], "")
        return out


def pack(module: nn.Module) -> None:
    """Replace the linear layers in `module`, whose weights are then no longer parameters.

    What is not float32 on a CPU that oneDNN knows stays as it is.
    """
    if not torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]
        return
    owners = [part for part in module.modules() if type(part) is not nn.Linear]  # nobody holds a layer that is replaced
    for part in owners:
        for name, layer in list(part.named_children()):
            if type(layer) is nn.Linear and layer.weight.device.type == "cpu" and layer.weight.dtype == torch.float32:
                setattr(part, name, Packed(layer))
