"""Products on which the fused engine is compared with the reference, and the comparison under Triton's interpreter.

Run as a script with TRITON_INTERPRET=1, it prints one line a case: name, outputs, outputs that differ. Triton reads
that variable as it is imported, so the tests run this file in a process of its own.
"""

import sys
from dataclasses import dataclass
from typing import Any

import torch

from asim_lightning.circuit import MacroConfig, transfer
from asim_lightning.engine import Conv2dProduct, MatmulProduct, Noise, Product, fused, reference, sums_of

LINEAR, BATCHED = MatmulProduct(), MatmulProduct(batched_weight=True)


@dataclass(frozen=True)
class Case:
    """One product on one macro."""

    product: Product
    macro: MacroConfig
    x_shape: tuple[int, ...]
    w_shape: tuple[int, ...]
    signed: bool = False
    full: bool = False
    """Whether all operands are as large as can be, instead of random."""


def linear(macro: MacroConfig, signed: bool = False, **changes: Any) -> Case:
    """(5, 50) by (7, 50)."""
    return Case(
        **{"product": LINEAR, "x_shape": (5, 50), "w_shape": (7, 50), "macro": macro, "signed": signed} | changes
    )


def conv(macro: MacroConfig, w_shape: tuple[int, ...], channels: int, *geometry: Any, size: int = 6) -> Case:
    """Two images of size by size + 1."""
    return Case(Conv2dProduct(*geometry), macro, (2, channels, size, size + 1), w_shape)


PLAIN = MacroConfig(4, 4, 20, 5)
NOISY = PLAIN.with_fields(random_noise=2.0)
NONLINEAR = PLAIN.with_fields(random_noise=1.0, nonlinear_noise=4.0)
VOTING = PLAIN.with_fields(random_noise=6.0, digital_levels=1, vote_levels=4, votes=3)
SHORT: dict[str, Any] = {"x_shape": (5, 25), "w_shape": (7, 25)}
CASES = {
    "linear": linear(PLAIN),
    "linear signed": linear(PLAIN, True, x_shape=(5, 3, 50)),
    "linear of one row": linear(NOISY, x_shape=(2, 1, 50)),
    "linear over several blocks": linear(NOISY, x_shape=(2, 40, 30), w_shape=(19, 30)),
    "linear with more rows than one step": linear(MacroConfig(3, 3, 90, 6), x_shape=(5, 100), w_shape=(7, 100)),
    "noise": linear(NOISY, True),
    "nonlinear noise": linear(NONLINEAR, True),
    "current column": linear(NONLINEAR.with_fields(column="current", column_args={"alpha": 0.02})),
    "encoding 2 with remainder": linear(PLAIN.with_fields(input_bits=5, encoding_bits=2, random_noise=1.0), True),
    "encoding 4 with remainder": linear(PLAIN.with_fields(input_bits=7, encoding_bits=4, nonlinear_noise=3.0)),
    "exact digital cycles": linear(NOISY.with_fields(digital_levels=3), True),
    "exact digital cycles alone": linear(PLAIN.with_fields(digital_levels=8)),
    "digital cycles that pass the ADC": linear(NONLINEAR.with_fields(digital_levels=5, digital_adc=True)),
    "groups of four that straddle inputs": linear(NONLINEAR.with_fields(weight_bits=6, input_bits=3)),
    "a last group of less than four": linear(NOISY.with_fields(weight_bits=3, input_bits=3)),
    "sums beyond 32 bits": linear(
        MacroConfig(8, 8, 19, 16, encoding_bits=4, random_noise=0.01), x_shape=(3, 38), w_shape=(2, 38), full=True
    ),
    "digital sums beyond 32 bits": linear(
        MacroConfig(14, 14, 25, 12, encoding_bits=7, digital_levels=20), x_shape=(2, 50), full=True
    ),
    "keys": Case(BATCHED, NOISY, (2, 2, 5, 30), (2, 2, 6, 30), True),
    "values": Case(BATCHED, NONLINEAR.with_fields(encoding_bits=2), (3, 3, 25), (3, 6, 25)),
    "convolution": conv(PLAIN, (7, 5, 3, 3), 5, (2, 2), (1, 1), (1, 1), 1),
    "convolution with noise": conv(NONLINEAR, (7, 5, 3, 3), 5, (2, 2), (1, 1), (1, 1), 1),
    "convolution of 17 channels a tile": conv(PLAIN.with_fields(rows=70), (3, 20, 2, 2), 20, (1, 1), (0, 0), (1, 1), 1),
    "pointwise convolution": conv(NOISY, (7, 45, 1, 1), 45, (2, 1), (0, 0), (1, 1), 1),
    "groups and dilation": conv(NOISY, (8, 5, 3, 2), 10, (1, 2), (1, 0), (2, 3), 2, size=7),
    "depthwise": conv(NOISY, (3, 1, 3, 3), 3, (1, 1), (1, 1), (1, 1), 3),
    "fewer rows than kernel elements": conv(
        NOISY.with_fields(rows=5), (4, 3, 3, 3), 3, (1, 1), (1, 1), (1, 1), 1, size=4
    ),
    "mean vote": linear(VOTING.with_fields(vote="mean"), **SHORT),
    "mode": linear(VOTING, **SHORT),
    "median": linear(VOTING.with_fields(vote="median", vote_levels=2), True, **SHORT),
    "votes without noise": linear(PLAIN.with_fields(votes=3, vote_levels=3, vote="mean")),
}


def outputs(case: Case) -> tuple[torch.Tensor, torch.Tensor]:
    """What the fused engine and the reference engine say."""
    generator = torch.Generator().manual_seed(0)
    macro, circuit = case.macro, transfer(case.macro, case.signed)
    x_top, w_top = 2 ** (macro.input_bits - case.signed) - 1, 2 ** (macro.weight_bits - 1) - 1
    if case.full:
        x, w = torch.full(case.x_shape, float(x_top)), torch.full(case.w_shape, float(w_top))
    else:
        x = torch.randint(-x_top if case.signed else 0, x_top + 1, case.x_shape, generator=generator).float()
        w = torch.randint(-w_top, w_top + 1, case.w_shape, generator=generator).float()
    rows = torch.arange(len(x))
    # a layer key above 2^31, a sample in several rows
    noise = Noise(2**32 - 3, "layer", 1, 40000, 0, rows // 2 + 2**32 - 2, rows % 2)
    return sums_of(fused, case.product, circuit, x, w, noise), sums_of(reference, case.product, circuit, x, w, noise)


def main() -> None:
    """Print each case's outcome."""
    torch.set_num_threads(1)
    for name, case in CASES.items():
        ours, wanted = outputs(case)
        differ = int((ours != wanted).sum()) if ours.shape == wanted.shape and ours.dtype == wanted.dtype else -1
        sys.stdout.write(f"{name}|{wanted.numel()}|{differ}\n")


if __name__ == "__main__":
    main()
