"""Whether torch records operations instead of only running them."""

import torch


def is_recorded() -> bool:
    """Whether operations are compiled or traced, where a kernel would leave its answer as a constant."""
    return torch.compiler.is_compiling() or torch.jit.is_tracing()  # type: ignore[attr-defined]
