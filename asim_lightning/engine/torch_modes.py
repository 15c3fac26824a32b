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
    kinds = [backends.mkldnn.matmul, backends.mkldnn.conv]
    is_plain = device_type == "cpu" and not torch.is_autocast_enabled("cpu")
    if is_plain and all(kind.fp32_precision in ("ieee", "none") for kind in kinds):
        yield  # setting takes longer than a small product
        return
    kinds.append(backends.cuda.matmul)
    before, cudnn = [kind.fp32_precision for kind in kinds], backends.cudnn.enabled
    for kind in kinds:
        kind.fp32_precision = "ieee"
    backends.cudnn.enabled = False
    try:
        with torch.autocast(device_type, enabled=False):
            yield
    finally:
        backends.cudnn.enabled = cudnn
        for kind, precision in zip(kinds, before, strict=True):
            kind.fp32_precision = "none"  # follows torch.backends again, which may be all there was
            if kind.fp32_precision != precision:
                kind.fp32_precision = precision


def is_recorded() -> bool:
    """Whether torch compiles or traces, which would record a kernel's result as a constant."""
    return torch.compiler.is_compiling() or torch.jit.is_tracing()  # type: ignore[attr-defined]


def is_exported() -> bool:
    """Whether torch.export or torch.jit.trace records a network that must later run without this package.

    torch.compile does not count: it calls Python for operations that it cannot record.
    """
    return torch.compiler.is_exporting() or torch.jit.is_tracing()  # type: ignore[attr-defined]


def is_exported_to_onnx() -> bool:
    """Whether one of torch's two exporters records a network for ONNX."""
    return is_exported() and _records_onnx()


@torch.compiler.assume_constant_result  # torch's tracer of Python code takes torch's function for False
def _records_onnx() -> bool:
    return torch.onnx.is_in_onnx_export()
