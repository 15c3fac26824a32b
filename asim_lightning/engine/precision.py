"""Float32 that is float32: integers in floating point stay exact whatever the session allows elsewhere."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch


@contextmanager
def exact_float32(device_type: str) -> Iterator[None]:
    """Autocast off, and no TF32, bf16 or Winograd inside convolutions and matrix products; settings restored after.

    TF32 keeps 11 bits and bf16 keeps 8, either of which silently rounds integers. cuDNN may choose a Winograd
    algorithm, which adds fractions, so cuDNN itself is off.

    Args:
        device_type: Type of the device that computes, such as "cpu" or "cuda".
    """
    backends: Any = torch.backends
    with torch.autocast(device_type, enabled=False), backends.cudnn.flags(enabled=False, allow_tf32=False):
        if hasattr(backends.mkldnn, "matmul"):  # torch >= 2.9: one precision a backend and operation
            kinds = (backends.mkldnn.matmul, backends.mkldnn.conv, backends.cuda.matmul)
            before = [kind.fp32_precision for kind in kinds]
            for kind in kinds:
                kind.fp32_precision = "ieee"
            try:
                yield
            finally:
                for kind, precision in zip(kinds, before, strict=True):
                    kind.fp32_precision = precision
        else:
            precision = torch.get_float32_matmul_precision()
            torch.set_float32_matmul_precision("highest")
            try:
                yield
            finally:
                torch.set_float32_matmul_precision(precision)
