"""Products on which the fused engine is compared with the reference, and the comparison under Triton's interpreter.

Run as a script with TRITON_INTERPRET=1, it prints one line a case: name, outputs, outputs that differ. Triton reads
that variable as it is imported, so the tests run this file in a process of its own.
"""

import random
import sys
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from asim_lightning.circuit import MacroConfig, Transfer, transfer
from asim_lightning.engine import Chip, Conv2dProduct, MatmulProduct, Noise, Product, Weights
from asim_lightning.engine.chips.converters import Converters
from asim_lightning.engine.engines import why_wrong
from asim_lightning.engine.fused import FusedProgram
from asim_lightning.engine.program import ConvertingProgram
from asim_lightning.engine.reference import ReferenceProgram
from tests.engine.chips.random_converters import converters as random_converters

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
    errors: str = ""
    """Kinds of errors of converters, see `random_converters`; none by default."""


def linear(macro: MacroConfig, signed: bool = False, **changes: Any) -> Case:
    """(5, 50) by (7, 50)."""
    return Case(
        **{"product": LINEAR, "x_shape": (5, 50), "w_shape": (7, 50), "macro": macro, "signed": signed} | changes
    )


def conv(
    macro: MacroConfig, w_shape: tuple[int, ...], channels: int, *geometry: Any, size: int = 6, errors: str = ""
) -> Case:
    """Two images of size by size + 1."""
    return Case(Conv2dProduct(*geometry), macro, (2, channels, size, size + 1), w_shape, errors=errors)


def at_random(seed: int) -> Case:
    """A small product on a macro of any kind, by converters with any errors."""
    draw = random.Random(seed)
    weight_bits, input_bits = draw.randint(2, 4), draw.randint(3, 5)
    macro = MacroConfig(
        weight_bits=weight_bits,
        input_bits=input_bits,
        rows=draw.randint(7, 40),
        adc_bits=draw.choice([2, 4, 5, 7, 9, 12]),
        encoding_bits=draw.choice([1, 1, 2, 3]),
        random_noise=draw.choice([0.0, 0.5, 3.0]),
        nonlinear_noise=draw.choice([0.0, 0.0, 4.0]),
    )
    if draw.random() < 0.4:
        level = draw.randint(1, weight_bits + input_bits)
        macro = macro.with_fields(vote_levels=level, votes=3, vote=draw.choice(["mean", "mode", "median"]))
    if draw.random() < 0.4:
        level = draw.randint(1, weight_bits + input_bits - 2)
        macro = macro.with_fields(digital_levels=level, digital_adc=draw.random() < 0.5)
    errors = draw.choice(["", "gain ", "gain offset ", "offset "]) + draw.choice(
        ["", "nibbles", "curves", "curves large"]
    )
    signed, terms = draw.random() < 0.5, draw.randint(5, 20)
    kind = draw.choice(["linear", "activations", "convolution"])
    if kind == "linear":
        return Case(LINEAR, macro, (3, terms), (draw.randint(1, 9), terms), signed, errors=errors)
    if kind == "activations":
        return Case(BATCHED, macro, (1, 2, 3, terms), (1, 2, draw.randint(1, 9), terms), signed, errors=errors)
    groups, outputs, channels = draw.choice([1, 2]), draw.randint(1, 4), draw.randint(1, 5)
    product = Conv2dProduct((draw.randint(1, 2), 1), (1, draw.randint(0, 1)), (1, 1), groups)
    w_shape = (groups * outputs, channels, draw.randint(1, 3), 2)
    return Case(product, macro, (2, groups * channels, 4, 5), w_shape, signed, errors=errors)


PLAIN = MacroConfig(4, 3, 20, 5)
NOISY = PLAIN.with_fields(random_noise=2.0)
NONLINEAR = PLAIN.with_fields(random_noise=1.0, nonlinear_noise=4.0)
VOTING = PLAIN.with_fields(random_noise=6.0, digital_levels=1, vote_levels=4, votes=3)
FEW_VOTING = VOTING.with_fields(weight_bits=3)
LOW: dict[str, Any] = {"x_shape": (4, 30), "w_shape": (7, 30)}
SHORT: dict[str, Any] = {"x_shape": (5, 25), "w_shape": (7, 25)}
CASES = {
    "linear": linear(PLAIN),
    "linear of one row": linear(NOISY, x_shape=(2, 1, 50)),
    "linear over several blocks": linear(NOISY, x_shape=(2, 40, 30), w_shape=(19, 30)),
    "linear with more rows than one step": linear(MacroConfig(3, 3, 90, 6), x_shape=(5, 100), w_shape=(7, 100)),
    "noise": linear(NOISY, True),
    "current column": linear(NONLINEAR.with_fields(column="current", column_args={"alpha": 0.02})),
    "encoding 2 with remainder": linear(PLAIN.with_fields(input_bits=5, encoding_bits=2, random_noise=1.0), True),
    "encoding 4 with remainder": linear(PLAIN.with_fields(input_bits=7, encoding_bits=4, nonlinear_noise=3.0)),
    "exact digital cycles alone": linear(PLAIN.with_fields(digital_levels=8)),
    "digital cycles that pass the ADC": linear(NONLINEAR.with_fields(digital_levels=5, digital_adc=True)),
    "groups of four that straddle inputs": linear(NONLINEAR.with_fields(weight_bits=6)),
    "a last group of less than four": linear(NOISY.with_fields(weight_bits=3)),
    "sums beyond 32 bits": linear(
        MacroConfig(8, 8, 19, 16, encoding_bits=4, random_noise=0.01), x_shape=(3, 38), w_shape=(2, 38), full=True
    ),
    "digital sums beyond 32 bits": linear(
        MacroConfig(14, 14, 25, 12, encoding_bits=7, digital_levels=20), x_shape=(2, 50), full=True
    ),
    "values": Case(BATCHED, NONLINEAR.with_fields(encoding_bits=2), (3, 3, 25), (3, 6, 25)),
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
    "step 2, low 3": linear(NONLINEAR.with_fields(adc_bits=3, adc_step=2, adc_low=3), True),
    "step 2, low 3, no noise, remainder": linear(
        PLAIN.with_fields(input_bits=5, adc_bits=4, adc_step=2, adc_low=3, encoding_bits=3), True, x_shape=(5, 3, 50)
    ),
    "convolution, step 1, low 2": conv(
        NOISY.with_fields(adc_bits=3, adc_step=1, adc_low=2), (7, 5, 3, 3), 5, (2, 2), (1, 1), (1, 1), 1
    ),
    "votes without noise": linear(PLAIN.with_fields(votes=3, vote_levels=3, vote="mean")),
    "gain": linear(PLAIN, errors="gain", **LOW),
    "offset": linear(PLAIN, True, errors="offset", **LOW),
    "INL by nibbles, of three": linear(MacroConfig(3, 3, 30, 9, random_noise=1.0), errors="nibbles", **LOW),
    "measured INL of several codes": linear(NOISY, errors="curves large", **LOW),
    "levels on thresholds": linear(MacroConfig(3, 3, 30, 4), errors="curves large halves", **LOW),
    "offset far out of range": linear(PLAIN, errors="far offset", **LOW),
    "errors where some cycles are noise-free": linear(
        NONLINEAR.with_fields(digital_levels=5, digital_adc=True), errors="gain offset curves", **LOW
    ),
    "errors where fours straddle inputs": linear(
        NONLINEAR.with_fields(weight_bits=6), errors="gain offset nibbles", **LOW
    ),
    "errors of keys": Case(BATCHED, NOISY, (2, 2, 5, 25), (2, 2, 6, 25), True, errors="gain offset nibbles"),
    "errors of several heads and tiles": Case(
        BATCHED, PLAIN, (1, 2, 5, 30), (1, 2, 19, 30), errors="gain offset curves"
    ),
    "errors of a convolution": conv(PLAIN, (7, 5, 3, 3), 5, (2, 2), (1, 1), (1, 1), 1, errors="gain offset nibbles"),
    "errors of groups": conv(
        NOISY, (6, 5, 2, 2), 10, (1, 2), (1, 0), (1, 1), 2, size=4, errors="gain offset curves large"
    ),
    "errors with fewer rows than kernel elements": conv(
        NOISY.with_fields(rows=5), (4, 2, 3, 3), 2, (1, 1), (1, 1), (1, 1), 1, size=4, errors="gain offset nibbles"
    ),
    "errors and a mode": linear(FEW_VOTING, errors="gain offset nibbles", **SHORT),
    "errors and a median": linear(
        FEW_VOTING.with_fields(vote="median", vote_levels=2), True, errors="gain offset curves large", **SHORT
    ),
    "errors drawn by the chip": Case(
        BATCHED, NOISY.with_fields(static={"offset": 3, "gain": 4, "inl": 8}), (2, 2, 5, 25), (2, 2, 6, 25), True
    ),
    **{f"at random {seed}": at_random(seed) for seed in range(6)},
}


@dataclass(frozen=True)
class Run:
    """A case with its operands."""

    product: Product
    circuit: Transfer
    x: Tensor
    w: Tensor
    noise: Noise
    converters: Converters | None

    def sums(self, engine: type[ConvertingProgram]) -> Tensor:
        """What an engine's program says."""
        chip = Chip.at(self.noise.chip, self.noise.name)
        program = engine(self.product, Weights(self.w), self.circuit, chip, converters=self.converters)
        return program.sums(self.x, self.noise)

    def on(self, device: torch.device) -> "Run":
        """The same on a device."""
        noise = replace(self.noise, sample_ids=self.noise.sample_ids.to(device), offsets=self.noise.offsets.to(device))
        return replace(self, x=self.x.to(device), w=self.w.to(device), noise=noise)


def run(case: Case) -> Run:
    """A case with random operands, noise and errors."""
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
    errors = random_converters(case.product, circuit, w, case.errors, shared=3) if case.errors.strip() else None
    if errors is not None and "far" in case.errors:
        errors.offset.mul_(2.0**30)
    if errors is not None and "halves" in case.errors:
        errors.tables.mul_(2).round_().div_(2)
    return Run(case.product, circuit, x, w, noise, errors)


def main(*names: str) -> None:
    """Print the outcome of each of these cases, and what the engine's first use finds."""
    torch.set_num_threads(1)
    wrong = why_wrong(transfer(MacroConfig(2, 1, 20, 5, random_noise=2.0), False), torch.device("cpu"))
    sys.stdout.write(f"first use|1|{int(wrong is not None)}\n")
    for name in names:
        both = run(CASES[name])
        ours, wanted = both.sums(FusedProgram), both.sums(ReferenceProgram)
        differ = int((ours != wanted).sum()) if ours.shape == wanted.shape and ours.dtype == wanted.dtype else -1
        sys.stdout.write(f"{name}|{wanted.numel()}|{differ}\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
