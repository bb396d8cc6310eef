"""Muon (Jordan et al. 2024): momentum whose steps are orthogonal matrices, for the kernels of hidden convolutions.

A kernel is seen as a matrix [out, in * k * k]; five Newton-Schulz iterations bring its momentum near the closest
matrix with all singular values one. What they multiply it with is a polynomial of its Gram matrix, which is small.
PyTorch's own takes two-dimensional parameters only.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from torch import Tensor

_COEFFICIENTS = (3.4445, -4.7750, 2.0315)


def orthogonalised(matrix: Tensor, steps: int = 5) -> Tensor:
    """Roughly U V^T of the matrix's singular value decomposition [M, N], singular values within about 0.7 to 1.2."""
    a, b, c = _COEFFICIENTS
    tall = matrix.shape[0] > matrix.shape[1]
    x = matrix.T if tall else matrix
    x = x / (x.norm() + 1e-7)
    square = x @ x.T
    whole = torch.eye(len(x))
    for step in range(steps):
        part = torch.addmm(b * square, square, square, beta=1.0, alpha=c)
        part.diagonal().add_(a)
        whole = part @ whole if step else part
        if step + 1 < steps:
            square = part @ square @ part
    x = whole @ x
    result: Tensor = x.T if tall else x
    return result


class Muon(torch.optim.Optimizer):
    """Nesterov momentum, orthogonalised, scaled so that a step's size does not depend on the kernel's shape."""

    def __init__(self, params: Iterable[Tensor], lr: float = 0.02, momentum: float = 0.95, decay: float = 0.01) -> None:
        super().__init__(params, {"lr": lr, "momentum": momentum, "decay": decay})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]  # no loss is returned
        for group in self.param_groups:
            for weight in group["params"]:
                if weight.grad is None:
                    continue
                state = self.state[weight]
                mean = state.setdefault("mean", torch.zeros_like(weight))
                mean.lerp_(weight.grad, 1 - group["momentum"])
                ahead = weight.grad.lerp(mean, group["momentum"]).reshape(weight.shape[0], -1)
                step = orthogonalised(ahead).view(weight.shape)
                rows, columns = ahead.shape
                weight.mul_(1 - group["lr"] * group["decay"])
                weight.add_(step, alpha=-group["lr"] * max(1.0, rows / columns) ** 0.5)
