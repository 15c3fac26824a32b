"""The kernels of a device on a case: fused on CUDA, native on a CPU."""

from collections.abc import Callable

import torch
from torch import Tensor

from asim_lightning.engine import Chip, Weights
from asim_lightning.engine.fused import FusedProgram
from asim_lightning.engine.native.native_engine import NativeProgram
from asim_lightning.engine.program import Program
from tests.engine.fused.cases import Run


def kernel_sums(run: Run, device: torch.device) -> Callable[[], Tensor]:
    """What computes the sums of a run that is on a device."""
    errors, weights = run.converters, Weights(run.w)
    program: Program
    if device.type == "cuda":
        program = FusedProgram(run.product, weights, run.circuit, Chip(), converters=errors)
    else:
        program = NativeProgram(
            run.product, weights, run.circuit, Chip.at(run.noise.chip, run.noise.name), converters=errors
        )
    return lambda: program.sums(run.x, run.noise)
