"""Settings of torch: the precision of float32, and whether operations are recorded."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch


@contextmanager
def exact_float32(device_type: str) -> Iterator[None]:
    """Autocast off, and no TF32, bf16 or Winograd inside convolutions and matrix products; restored afterwards.

    TF32 keeps 11 bits and bf16 keeps 8; both silently round integers. cuDNN is off because it may choose a Winograd
    algorithm, which adds fractions. On a CPU nothing is set if the settings are right already.

    Args:
        device_type: Type of the device that computes, such as "cpu" or "cuda".
    """
    backends: Any = torch.backends
    if device_type == "cpu" and _is_exact_on_cpu(backends.mkldnn):
        yield
        return
    cudnn = backends.cudnn.enabled
    restore = _set_ieee(backends) if hasattr(backends.mkldnn, "matmul") else _set_highest()
    backends.cudnn.enabled = False
    try:
        with torch.autocast(device_type, enabled=False):
            yield
    finally:
        backends.cudnn.enabled = cudnn
        restore()


def _is_exact_on_cpu(mkldnn: Any) -> bool:
    """Whether nothing has to be set: setting takes longer than a small product."""
    if torch.is_autocast_enabled("cpu") or not hasattr(mkldnn, "matmul"):
        return False
    return {mkldnn.matmul.fp32_precision, mkldnn.conv.fp32_precision} <= {"ieee", "none"}


def _set_ieee(backends: Any) -> Any:
    """torch >= 2.9 has a precision for each backend and operation; "none" follows torch.backends."""
    kinds = (backends.mkldnn.matmul, backends.mkldnn.conv, backends.cuda.matmul)
    before = [kind.fp32_precision for kind in kinds]
    for kind in kinds:
        kind.fp32_precision = "ieee"

    def restore() -> None:
        for kind, precision in zip(kinds, before, strict=True):
            kind.fp32_precision = "none"  # follows torch.backends again, which may be all there was
            if kind.fp32_precision != precision:
                kind.fp32_precision = precision

    return restore


def _set_highest() -> Any:
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    return lambda: torch.set_float32_matmul_precision(before)


def is_recorded() -> bool:
    """Whether torch compiles or traces, which would record a kernel's result as a constant."""
    return torch.compiler.is_compiling() or torch.jit.is_tracing()  # type: ignore[attr-defined]


def is_exported() -> bool:
    """Whether torch.export or torch.jit.trace records a network that must later run without this package.

    torch.compile does not count: it calls Python for operations that it cannot record.
    """
    return torch.compiler.is_exporting() or torch.jit.is_tracing()  # type: ignore[attr-defined]
