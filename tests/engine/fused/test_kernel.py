"""The fused engine's kernel compiled ahead of time for sm_80 and sm_90, which needs no GPU."""

import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import product
from typing import Any

import pytest
import torch

from asim_lightning.circuit import MacroConfig, transfer
from asim_lightning.engine import Conv2dProduct, MatmulProduct, Product
from asim_lightning.engine.chips.converters import placed
from asim_lightning.engine.fused.digit_layout import blocks, operands
from asim_lightning.engine.fused.tables import VOTES, tables
from tests.engine.chips.random_converters import converters
from tests.engine.products import silent

triton = pytest.importorskip("triton")

CONV, CONV_SHAPES = Conv2dProduct((1, 1), (1, 1), (1, 1), 1), ((32, 64, 16, 16), (64, 64, 3, 3))
NOISY = MacroConfig(random_noise=0.2, nonlinear_noise=0.05)
KERNELS = {
    "convolution": (CONV, MacroConfig(), "", *CONV_SHAPES),
    "convolution with noise": (CONV, NOISY, "", *CONV_SHAPES),
    "linear of few rows": (MatmulProduct(), MacroConfig(random_noise=0.2), "", (1, 512), (100, 512)),
    "hybrid with long sums": (
        CONV,
        NOISY.with_fields(weight_bits=6, adc_bits=16, encoding_bits=4, digital_levels=2, digital_adc=False),
        "",
        *CONV_SHAPES,
    ),
    "mode": (CONV, NOISY.with_fields(vote_levels=3, votes=3), "", *CONV_SHAPES),
    "errors of converters": (CONV, MacroConfig(), "gain offset curves", *CONV_SHAPES),
    "errors of converters with noise": (CONV, NOISY, "gain offset nibbles large", *CONV_SHAPES),
}


class Gpu:
    """A GPU of an architecture as Triton sees it, for which it compiles without one."""

    def __init__(self, architecture: int) -> None:
        self.architecture = architecture

    def get_current_device(self) -> int:
        """A number of its own, by which Triton keeps its kernels."""
        return self.architecture

    def get_current_stream(self, device: int) -> int:
        """The default stream."""
        return 0

    def get_current_target(self) -> Any:
        """What code is made for."""
        from triton.backends.compiler import GPUTarget

        return GPUTarget("cuda", self.architecture, 32)


QUICK = [("hybrid with long sums", 90), ("mode", 80), ("errors of converters with noise", 80)]


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Any]]:
    """Compiles a product's kernel as a launch does, if no test has compiled it before."""
    from triton.runtime.driver import driver

    from asim_lightning.engine.fused import kernel

    def compiles(
        product: Product, macro: MacroConfig, errors: str, x_shape: Any, w_shape: Any, architecture: int = 80,
        **read: Any,
    ) -> Any:  # fmt: skip
        circuit, cpu = transfer(macro, False), torch.device("cpu")
        x, w = (torch.zeros(shape, dtype=torch.int32) for shape in (x_shape, w_shape))
        own = placed(converters(product, circuit, w, errors), 1) if errors else None
        table = tables(circuit, cpu, own is not None)
        digits = operands(product, macro, table, x, w)
        out = torch.empty(digits.shape, dtype=torch.float64)
        given = kernel.arguments(digits, table, own, replace(silent(len(x)), **read), out)
        driver.set_active(Gpu(architecture))
        given["MACRO"] = given["MACRO"]._replace(DEVICE=True)
        return kernel.convert.warmup(**given, grid=(1,), **kernel.OPTIONS)

    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("TRITON_CACHE_DIR", str(tmp_path_factory.mktemp("kernels")))
        yield compiles
    if torch.cuda.is_available():
        driver.reset_active()


@pytest.mark.parametrize(
    ("name", "architecture"),
    [
        pytest.param(*each, marks=[] if each in QUICK else pytest.mark.slow)  # each takes seconds
        for each in product(KERNELS, (80, 90))
    ],
)
def test_counts_come_from_tensor_cores_and_no_rounding_is_left_out(
    name: str, architecture: int, compiled: Callable[..., Any]
) -> None:
    kernel = compiled(*KERNELS[name], architecture)
    ptx = kernel.asm["ptx"]
    assert f".target sm_{architecture}" in ptx
    assert re.search(r"\b(wg)?mma\S*\.s32\.s8\.s8", ptx)
    assert "cp.async.c" in ptx  # operands do not pass through registers
    assert "fma.rn.f32" not in ptx  # a product and a sum rounded at once
    loops = kernel.asm["ttgir"]
    assert not re.search(r"convert_layout.*x(f32|i32), #mma", loops)  # nor counts and noise through shared memory


@pytest.mark.parametrize("vote", VOTES)
@pytest.mark.parametrize("pixels", [1, 32, 33, 1024])
def test_blocks_are_no_smaller_than_triton_multiplies(vote: str, pixels: int) -> None:
    assert min(blocks(pixels, vote)) >= 16


def test_another_batch_layer_seed_or_trial_takes_the_same_kernel(compiled: Callable[..., Any]) -> None:
    product, macro, errors, x_shape, w_shape = KERNELS["errors of converters with noise"]
    first = compiled(product, macro, errors, x_shape, w_shape)
    assert compiled(product, macro, errors, x_shape, w_shape, seed=2**32 - 1, name="layer", trial=65535) is first
    for batch in (1, 17, 33):
        assert compiled(product, macro, errors, (batch, *x_shape[1:]), w_shape) is first
