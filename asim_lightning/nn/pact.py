"""PACT: a ReLU with a learned clip."""

import torch
from torch import Tensor, nn


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
        return torch.where(x > self.alpha, self.alpha.to(x.dtype), x.clamp_min(0.0))
