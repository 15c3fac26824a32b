"""The fused engine's kernel compiled ahead of time for sm_80 and sm_90, which needs no GPU."""

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import torch

from asim_lightning.circuit import MacroConfig, transfer
from asim_lightning.engine import Conv2dProduct, MatmulProduct, Product
from asim_lightning.engine.fused.digit_layout import operands
from asim_lightning.engine.fused.tables import tables

triton = pytest.importorskip("triton")

POINTERS = {
    "x": "*i8",
    "w": "*i8",
    "out": "*fp64",
    "cycles": "*i64",
    "levels": "*fp32",
    "sigmas": "*fp32",
    "sample_ids": "*i64",
    "offsets": "*i64",
}
CONV, CONV_SHAPES = Conv2dProduct((1, 1), (1, 1), (1, 1), 1), ((32, 64, 16, 16), (64, 64, 3, 3))
NOISY = MacroConfig(random_noise=0.2, nonlinear_noise=0.05)
KERNELS = {
    "convolution": (CONV, MacroConfig(), *CONV_SHAPES),
    "convolution with noise": (CONV, NOISY, *CONV_SHAPES),
    "linear of few rows": (MatmulProduct(), MacroConfig(random_noise=0.2), (1, 512), (100, 512)),
    "hybrid with long sums": (
        CONV,
        NOISY.with_fields(weight_bits=6, adc_bits=16, encoding_bits=4, digital_levels=2, digital_adc=False),
        *CONV_SHAPES,
    ),
    "mode": (CONV, NOISY.with_fields(vote_levels=3, votes=3), *CONV_SHAPES),
}


def compiled(product: Product, macro: MacroConfig, shapes: tuple[Any, Any], architecture: int) -> Any:
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    from asim_lightning.engine.fused import kernel

    table = tables(transfer(macro, False), torch.device("cpu"))
    x, w = (torch.zeros(shape, dtype=torch.int32) for shape in shapes)
    constants = kernel.constants(operands(product, macro, table.groups, x, w), table, macro) | {"DEVICE": True}
    pointers = POINTERS | {"levels": "*fp32" if table.noise else "*i32"}
    names = kernel.convert.arg_names
    signature = {n: "constexpr" if n in constants else pointers.get(n, "i32") for n in names}
    aligned = {(place,): [["tt.divisibility", 16]] for place, name in enumerate(names) if name in pointers}
    return triton.compile(
        ASTSource(kernel.convert, signature, constants, aligned),
        target=GPUTarget("cuda", architecture, 32),
        options=kernel.OPTIONS,
    )


@pytest.mark.parametrize("architecture", [80, 90])
@pytest.mark.parametrize("name", KERNELS)
def test_counts_come_from_tensor_cores_and_no_rounding_is_left_out(
    name: str,
    architecture: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    record_property: Any,
) -> None:
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    product, macro, *shapes = KERNELS[name]
    kernel = compiled(product, macro, (shapes[0], shapes[1]), architecture)
    ptx = kernel.asm["ptx"]
    assert f".target sm_{architecture}" in ptx
    assert re.search(r"\b(wg)?mma\S*\.s32\.s8\.s8", ptx)
    assert "cp.async.c" in ptx  # operands do not pass through registers
    assert "fma.rn.f32" not in ptx  # a product and a sum rounded at once
    loops = kernel.asm["ttgir"]
    assert not re.search(r"convert_layout.*x(f32|i32), #mma", loops)  # nor counts and noise through shared memory
    for figure, value in _resources(kernel.asm["cubin"], tmp_path).items():
        record_property(figure, value)


def _resources(cubin: bytes, folder: Path) -> dict[str, int]:
    """Registers and stack bytes (spills) a thread, where Triton brings the tool that tells."""
    tool = Path(triton.__file__).parent / "backends" / "nvidia" / "bin" / "cuobjdump"
    if not tool.exists():
        return {}
    file = folder / "kernel.cubin"
    file.write_bytes(cubin)
    text = subprocess.run([tool, "-res-usage", file], capture_output=True, text=True).stdout
    found = {"registers": re.search(r"REG:(\d+)", text), "stack": re.search(r"STACK:(\d+)", text)}
    figures = {name: int(match[1]) for name, match in found.items() if match}
    print(figures)
    return figures
