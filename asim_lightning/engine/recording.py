"""Whether torch records operations instead of only running them."""

import torch


def is_recorded() -> bool:
    """Whether operations are compiled or traced, where a kernel would leave its answer as a constant."""
    return torch.compiler.is_compiling() or torch.jit.is_tracing()  # type: ignore[attr-defined]


def is_exported() -> bool:
    """Whether torch.export or torch.jit.trace records a network that must run without this package's Python.

    torch.compile is neither: it leaves to Python what it cannot record.
    """
    return torch.compiler.is_exporting() or torch.jit.is_tracing()  # type: ignore[attr-defined]
