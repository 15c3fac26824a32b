"""PACT: a ReLU with a learned clip."""

from typing import Any

import torch
from torch import Tensor, nn


def _clipped(x: Tensor, alpha: Tensor) -> Tensor:
    return torch.minimum(x.clamp_min(0.0), alpha.to(x.dtype))


class _Clip(torch.autograd.Function):
    """clamp(x, 0, alpha) with the published gradients."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, alpha: Tensor) -> Tensor:
        ctx.save_for_backward(x, alpha)
        return _clipped(x, alpha)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor]:  # type: ignore[override]
        x, alpha = ctx.saved_tensors
        above = x > alpha
        return gradient * ((x >= 0) & ~above), (gradient * above).sum().to(alpha.dtype)


class PACT(nn.Module):
    """``clamp(x, 0, alpha)`` with a learned alpha (Choi et al., arXiv 1805.06085).

    Gradients: ``dx = g where 0 <= x <= alpha``; ``dalpha = sum of g where x > alpha``.

    Args:
        alpha: Initial clip value: above 0.

    Raises:
        ValueError: alpha is not above 0.
    """

    def __init__(self, alpha: float = 6.0) -> None:
        super().__init__()
        if not (isinstance(alpha, (int, float)) and 0 < alpha < float("inf")):
            raise ValueError(f"`alpha` of PACT must be above 0, got {alpha!r}")
        self.alpha = nn.Parameter(torch.tensor(float(alpha)))

    def forward(self, x: Tensor) -> Tensor:
        """Clip; same shape and type as x."""
        if not torch.is_grad_enabled():  # torch takes longer to prepare a gradient than to clip
            return _clipped(x, self.alpha)
        clipped: Tensor = _Clip.apply(x, self.alpha)
        return clipped
