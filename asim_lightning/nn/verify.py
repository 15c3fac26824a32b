"""Checks on a user's layer that every engine computes the same as the reference engine."""

import copy
import math
from dataclasses import dataclass, replace
from itertools import pairwise

import torch
from torch import Tensor

from asim_lightning.checks import check_whole
from asim_lightning.circuit import Conversion, Transfer
from asim_lightning.circuit.columns import codes_of_full_scale
from asim_lightning.engine import ENGINES, Engine, SavedChip, exact, noise_context, reference, refusals, sums_of
from asim_lightning.engine.product import conversion_count
from asim_lightning.engine.program import scaled
from asim_lightning.nn.on_macro import OnMacro
from asim_lightning.nn.quantized import of_rows
from asim_lightning.table import text_table

_ROUNDED_OTHERWISE = 1e-5
"""Largest share of noisy conversions that may give another code because the last bit of a normal differs."""
_FEWEST_SUMS = 30
"""Fewest sums for which distributions are compared."""
_SIGMAS = 6.0
"""Distance at which two distributions count as different."""


@dataclass(frozen=True)
class Comparison:
    """One way to compute a layer, compared with the reference engine on the same integers and noise."""

    name: str
    differ: int
    """Number of sums that differ from the reference."""
    largest_counts: float
    """Largest difference of a sum, in counts."""
    largest_output: float
    """Largest difference of the layer's output, in the unit of that output."""
    ok: bool
    """Whether no more sums differ than may; if distributions are compared instead of sums, whether they are alike."""
    note: str = ""
    """Words about sums that may differ, and about distributions."""


@dataclass(frozen=True)
class Verification:
    """Result of `verify`; as text, a table."""

    layer: str
    """Class, name and macro of the layer."""
    engine: str
    """Engine that computes the layer."""
    samples: int
    outputs: int
    """Sums that each comparison compares."""
    comparisons: tuple[Comparison, ...]
    deviation_counts: float
    """Largest difference of the noise-free reference from the exact integer product, in counts."""
    deviation_lsb: float
    """The same in LSB of the least significant conversion (an ideal converter's LSB is 1 count)."""
    lossless: bool
    """Whether every cycle is exact without noise, so that the deviation must be 0."""

    @property
    def ok(self) -> bool:
        """Whether no more sums differ than allowed, and a lossless macro returns the integer product itself."""
        return all(c.ok for c in self.comparisons) and not (self.lossless and self.deviation_counts)

    def __str__(self) -> str:
        head = f"{self.layer}, engine {self.engine}; samples {self.samples}, outputs {self.outputs}"
        rows = [["against the reference", "differ", "largest (counts)", "largest (output)", ""]]
        for c in self.comparisons:
            verdict = ("ok" if c.ok else "DIFFERS") + c.note
            rows.append([c.name, str(c.differ), f"{c.largest_counts:.4g}", f"{c.largest_output:.4g}", verdict])
        lost = f"{self.deviation_counts:.4g} counts, {self.deviation_lsb:.4g} LSB of the least significant conversion"
        exact = "ok" if self.deviation_counts == 0 else "NOT OK"
        verdict = f"every cycle is exact: {exact}" if self.lossless else "not exact"
        tail = f"without noise, sums differ from the integer product by at most {lost} ({verdict})"
        return "\n".join([head, text_table(rows, 1, "lrrrl"), tail])


def verify(
    layer: OnMacro, *inputs: Tensor, seed: int = 0, max_samples: int = 4, chip: int | SavedChip = 0
) -> Verification:
    """Compute a layer's simulated product in every possible way, and compare all sums one by one.

    The layer quantises its inputs; the first `max_samples` samples of these integers go through the reference engine
    and every other engine that computes the macro. The layer itself is called on the batch, under bfloat16 autocast,
    and with its batch split in two ways; its outputs are compared with its engine's outputs. All have the same noise.
    The layer is not changed.

    Args:
        layer: A layer on a macro, such as CimConv2d, in any mode and fidelity.
        inputs: Inputs of the layer's forward.
        seed: Seed of the noise.
        max_samples: Most samples that are computed: 1 or more.
        chip: Number of the chip, or a chip from a file.

    Raises:
        ValueError: The layer is not on a macro, there is no sample, or the layer refuses the inputs.

    Examples:
        >>> import torch
        >>> from asim_lightning import MacroConfig, verify
        >>> from asim_lightning.nn import CimLinear
        >>> found = verify(CimLinear(4, 2, macro=MacroConfig(random_noise=0.1)), torch.rand(8, 4))
        >>> found.ok, found.samples  # print(found) shows a table
        (True, 4)
    """
    if not isinstance(layer, OnMacro):
        raise ValueError(f"`layer` must be a layer on a macro, such as CimConv2d, got {type(layer).__name__}")
    check_whole("`max_samples`", max_samples, 1)
    return _Samples(layer, inputs, seed, max_samples, chip).verification()


class _Samples:
    """Some samples of a layer's inputs, and the sums and outputs that each way to compute the layer gives."""

    def __init__(
        self, layer: OnMacro, inputs: tuple[Tensor, ...], seed: int, max_samples: int, chip: int | SavedChip
    ) -> None:
        self.layer = copy.deepcopy(layer).eval()
        self.layer.fidelity = "simulated"
        if not inputs or not all(x.numel() for x in inputs):
            got = "shape " + " and ".join(str(tuple(x.shape)) for x in inputs) if inputs else "no inputs"
            raise ValueError(f"Layer `{layer.name}` needs at least one sample to verify, got {got}")
        with torch.no_grad():
            self.product, x, w = self.layer.quantized_operands(*inputs)
            self.step, ranges = self.layer.hold_ranges(*inputs)  # of all samples, even if fewer are computed
            self.ranges = None if ranges is None else ranges[:max_samples]
            self.largest_step = float(self.step.max() * (1.0 if ranges is None else ranges.max()))
        self.x, self.w = x[:max_samples], w[:max_samples] if self.product.batched_weight else w
        # a convolution and a linear layer take a sample without a batch
        first = self.layer._called_with(*inputs)[0]
        self.inputs, self.samples = (first, *inputs[1:]), len(self.x)
        self.seed, self.chip = seed, chip

    @torch.no_grad()
    def verification(self) -> Verification:
        """All comparisons."""
        circuit, device, m = self.layer.transfer, self.x.device, self.layer.macro
        expected, exact_sums = self.sums(reference, circuit), self.sums(exact, circuit)
        refused, chosen = refusals(circuit, device), self.layer.engine_on(device)
        found, own = [], expected
        for name, engine in ENGINES.items():
            if name == "reference" or (name in refused and name != chosen):
                continue
            sums = self.sums(engine, circuit)
            own = sums if name == chosen else own
            found.append(self.compared(name, sums, expected, exact_sums))
        y = self.outputs(own)
        found.append(self.called("layer", y, 0, self.samples))
        with torch.autocast(device.type, dtype=torch.bfloat16):
            found.append(self.called("layer, bfloat16 autocast", y, 0, self.samples))
        if self.samples > 1:
            found.append(self.called("layer, one sample at a time", y, *range(self.samples + 1)))
        if self.samples > 2:
            found.append(self.called("layer, batch split in two", y, 0, 1, self.samples))
        quiet = self.sums(reference, replace(circuit, noisy=(False,) * len(circuit.cycles)))
        deviation = _difference(quiet, exact_sums)[1]
        # counts that one code of the least significant conversion adds to a sum
        lsb = [2**c.shift * c.counts_a_code for c in circuit.cycles if c.converted and c.top_code is not None]
        name = f"`{self.layer.name}`" if self.layer.name else "without a name"
        macro = f"W{m.weight_bits}A{m.input_bits}, {m.rows} rows, adc_bits {m.adc_bits}"
        return Verification(
            layer=f"{type(self.layer).__name__} {name}: {macro}",
            engine=chosen,
            samples=self.samples,
            outputs=expected.numel(),
            comparisons=tuple(found),
            deviation_counts=deviation,
            deviation_lsb=deviation / min(lsb, default=1.0),
            lossless=all(kind is Conversion.EXACT for kind in circuit.conversions),
        )

    def sums(self, engine: Engine, circuit: Transfer) -> Tensor:
        """Sums of an engine."""
        with noise_context(seed=self.seed, chip=self.chip):
            noise = self.layer.noise_of(self.samples, self.x.device, lambda: self.x)
        return sums_of(engine, self.product, circuit, self.x, self.w, noise, self.layer.chip_of(self.chip))

    def outputs(self, sums: Tensor) -> Tensor:
        """The layer's output for these sums of its product."""
        bias = self.layer.held_bias
        if self.ranges is not None:
            return of_rows(scaled(self.product, sums, self.step, None, self.inputs[0]), self.ranges, bias)
        return self.layer.rearranged(scaled(self.product, sums, self.step, bias, self.inputs[0]))

    def compared(self, engine: str, sums: Tensor, expected: Tensor, exact_sums: Tensor) -> Comparison:
        """Sums of an engine compared with the reference's."""
        (differ, largest), note = _difference(sums, expected), ""
        largest_output = _difference(self.outputs(sums), self.outputs(expected))[1]
        if not ENGINES[engine].SAME_NOISE and any(self.layer.transfer.noisy):
            sigmas = _sigmas(sums, expected, exact_sums)
            ok, note = sigmas <= _SIGMAS, f": draws its own noise; distributions are {sigmas:.1f} standard errors apart"
        else:
            allowed = self.allowed()
            ok = differ <= allowed and (differ > 0 or largest_output == 0.0)
            note = f": up to {allowed} may, by the last bit of a normal" if differ and ok else ""
        return Comparison(f"engine {engine}", differ, largest, largest_output, ok, note)

    def allowed(self) -> int:
        """Sums that may differ by the last bit of a normal."""
        circuit = self.layer.transfer
        if not any(circuit.noisy):
            return 0
        conversions = conversion_count(self.product, circuit, self.x, self.w)
        # the last bits of a level and a normal weigh more in a finer LSB
        codes = max((codes_of_full_scale(c) for c in circuit.cycles if c.top_code is not None), default=0)
        return math.ceil(conversions * _ROUNDED_OTHERWISE * max(1.0, codes / 255))

    def called(self, name: str, expected: Tensor, *edges: int) -> Comparison:
        """Outputs of the layer, called on parts of the batch, compared with others; each sample keeps its noise."""
        parts = []
        for low, high in pairwise(edges):
            # the second operand of a product of two activations has samples, too
            others = [each[low:high] if self.product.batched_weight else each for each in self.inputs[1:]]
            with noise_context(seed=self.seed, sample_ids=range(low, high), chip=self.chip):
                parts.append(self.layer.forward(self.inputs[0][low:high], *others))  # inputs are transformed already
        y = torch.cat(parts)
        differ, largest = _difference(y, expected.view(y.shape).to(y.dtype))
        return Comparison(name, differ, largest / self.largest_step, largest, ok=not differ)


def _difference(a: Tensor, b: Tensor) -> tuple[int, float]:
    """How many elements differ, and by how much at most."""
    distance = (a.cpu().double() - b.cpu().double()).abs()
    return int((distance != 0).sum()), float(distance.max())


def _sigmas(sums: Tensor, others: Tensor, product: Tensor) -> float:
    """Distance of two samples of noisy sums in standard errors, the largest of three: of the share of sums that differ
    from the noise-free product, and of the mean and the mean square of their difference."""
    if sums.numel() < _FEWEST_SUMS:
        return 0.0
    a, b = (each.cpu().double() - product.cpu().double() for each in (sums, others))
    found = []
    for x, y in (((a != 0).double(), (b != 0).double()), (a, b), (a.square(), b.square())):
        error, distance = ((x.var() + y.var()) / x.numel()).sqrt(), (x.mean() - y.mean()).abs()
        found.append(float(distance / error) if distance else 0.0)
    return max(found)
