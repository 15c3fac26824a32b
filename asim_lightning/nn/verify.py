"""Proof, on a user's own layer, that every engine computes what the reference computes, however the layer is called."""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from asim_lightning.circuit import Algorithm, Conversion, MacroConfig, Transfer, algorithm
from asim_lightning.circuit.explain import aligned
from asim_lightning.engine import (
    ENGINES,
    Product,
    choose,
    events,
    exact,
    fused,
    noise_context,
    packed,
    reference,
    split,
)
from asim_lightning.engine.conversions import conversion_count
from asim_lightning.nn.instrument import multiplied_by
from asim_lightning.nn.on_macro import OnMacro

_APPLIES: dict[str, Callable[[Transfer], bool]] = {
    "exact": lambda circuit: circuit.exact,
    "events": lambda circuit: algorithm(circuit) is Algorithm.EVENTS and events.applies(circuit),
    "split": lambda circuit: algorithm(circuit) is Algorithm.SPLIT and split.applies(circuit),
    "packed": packed.applies,
    "fused": fused.applies,
}
"""Whether an engine other than the reference computes a macro."""
_ROUNDED_OTHERWISE = 1e-5
"""Largest share of noisy conversions whose code may differ by the last bit of a normal."""
_FEWEST_SUMS = 30
"""Fewer sums do not show a distribution."""
_SIGMAS = 6.0
"""Distance at which two distributions count as different."""


@dataclass(frozen=True)
class Comparison:
    """One way to compute a layer, against the reference engine on the same integers and noise."""

    name: str
    differ: int
    """Sums that are not the reference's."""
    largest_counts: float
    """Largest difference of a sum, in counts."""
    largest_output: float
    """Largest difference of the layer's output, in the unit of that output."""
    allowed: int = 0
    """Sums that may differ, since a normal's last bit may."""
    sigmas: float | None = None
    """Where distributions are compared, and not sums: how far apart they are, in standard errors."""

    @property
    def ok(self) -> bool:
        """Whether nothing differs that must not."""
        if self.sigmas is not None:
            return self.sigmas <= _SIGMAS
        return self.differ <= self.allowed and (self.differ > 0 or self.largest_output == 0.0)


@dataclass(frozen=True)
class Verification:
    """What `verify` found; as text, one table."""

    name: str
    """Full name of the layer in its network."""
    kind: str
    """Class of the layer."""
    macro: MacroConfig
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
    """Whether every cycle is exact, noise aside, so that this difference must be 0."""

    @property
    def ok(self) -> bool:
        """Whether nothing differs, and a lossless macro returns the integer product itself."""
        return all(c.ok for c in self.comparisons) and not (self.lossless and self.deviation_counts)

    def __str__(self) -> str:
        m, name = self.macro, f"`{self.name}`" if self.name else "without a name"
        head = (
            f"{self.kind} {name}: W{m.weight_bits}A{m.input_bits}, {m.rows} rows, adc_bits {m.adc_bits}, "
            f"engine {self.engine}; samples {self.samples}, outputs {self.outputs}"
        )
        rows = [["against the reference", "differ", "largest (counts)", "largest (output)", ""]]
        for c in self.comparisons:
            verdict = "ok" if c.ok else "DIFFERS"
            if c.sigmas is not None:
                verdict += f": own draws, distributions {c.sigmas:.1f} standard errors apart"
            elif c.differ and c.ok:
                verdict += f": up to {c.allowed} may, by the last bit of a normal"
            rows.append([c.name, str(c.differ), f"{c.largest_counts:.4g}", f"{c.largest_output:.4g}", verdict])
        lost = f"{self.deviation_counts:.4g} counts = {self.deviation_lsb:.4g} least significant LSB"
        exact = "ok" if self.deviation_counts == 0 else "NOT OK"
        verdict = f"every cycle is exact: {exact}" if self.lossless else "not exact"
        tail = f"noise-free distance from the integer product: at most {lost} ({verdict})"
        return "\n".join([head, aligned(rows, 1, "lrrrl"), tail])


@dataclass(frozen=True)
class _Operands:
    """Integers that a layer multiplies."""

    product: Product
    x: Tensor
    w: Tensor

    def rows(self, low: int, high: int) -> "_Operands":
        """Samples low..high-1 alone."""
        w = self.w[low:high] if self.product.batched_weight else self.w
        return _Operands(self.product, self.x[low:high], w)


def verify(layer: OnMacro, *inputs: Tensor, seed: int = 0, max_samples: int = 4) -> Verification:
    """Compute a layer's simulated product in every way that it can be, and compare all sums one by one.

    The layer quantises its inputs; the first `max_samples` samples of these integers go through the reference engine,
    every other engine that applies, the layer as it is, the layer under bfloat16 autocast, and the layer with its batch
    split in two ways, all with the same noise. The layer is left as it was.

    Args:
        layer: CimConv2d, CimLinear or CimMatmul, in any mode and fidelity.
        inputs: What the layer's forward takes.
        seed: Seed of the noise.
        max_samples: Most samples that are computed: 1 or more.

    Raises:
        ValueError: The layer is not on a macro, there is no sample, or the layer refuses the inputs.
    """
    _check(layer, inputs, max_samples)
    with _simulating(layer), torch.no_grad():
        operands = _captured(layer, inputs, max_samples)
        samples, circuit = len(operands.x), layer.transfer

        def of_engine(run: Callable[..., Tensor], circuit: Transfer) -> Tensor:
            with noise_context(seed=seed):
                noise = layer._noise(samples, operands.x.device)
            return run(operands.product, circuit, operands.x, operands.w, noise)

        expected, chosen = of_engine(reference.run, circuit), choose(circuit, operands.x.device.type)
        own = expected if chosen == "reference" else of_engine(ENGINES[chosen], circuit)
        product = _exact(layer, operands)
        allowed = 0
        if any(circuit.noisy):
            conversions = conversion_count(operands.product, circuit, operands.x, operands.w)
            # the last bits of a level and a normal weigh more in a finer LSB
            allowed = math.ceil(conversions * _ROUNDED_OTHERWISE * max(1.0, (circuit.macro.top_code or 0) / 255))

        def compared(name: str, sums: Tensor, base: Tensor, y: Tensor | None = None, **how: Any) -> Comparison:
            differ, largest = _difference(sums, base)
            y = _output(layer, inputs, sums) if y is None else y
            return Comparison(name, differ, largest, _difference(y, _output(layer, inputs, base))[1], **how)

        found, device = [], operands.x.device
        for name, applies in _APPLIES.items():
            here = {"packed": device.type == "cpu", "fused": fused.available(device)}
            if name != chosen and not (applies(circuit) and here.get(name, True)):
                continue
            sums = own if name == chosen else of_engine(ENGINES[name], circuit)
            draws_errors = name in ("events", "split")
            how = {"sigmas": _sigmas(sums, expected, product)} if draws_errors else {"allowed": allowed}
            found.append(compared(f"engine {name}", sums, expected, **how))
        found.append(compared("layer", _split(layer, operands, seed, 0, samples), own))
        found.append(compared("layer, bfloat16 autocast", *_autocast(layer, inputs, seed, max_samples, own)))
        if samples > 1:
            found.append(
                compared("layer, one sample at a time", _split(layer, operands, seed, *range(samples + 1)), own)
            )
        if samples > 2:
            found.append(compared("layer, batch split in two", _split(layer, operands, seed, 0, 1, samples), own))
        quiet = of_engine(reference.run, replace(circuit, noisy=(False,) * len(circuit.cycles)))
        deviation = _difference(quiet, product)[1]
    return Verification(
        name=layer.name,
        kind=type(layer).__name__,
        macro=layer.macro,
        engine=chosen,
        samples=samples,
        outputs=expected.numel(),
        comparisons=tuple(found),
        deviation_counts=deviation,
        deviation_lsb=deviation / _least_lsb(circuit),
        lossless=all(kind is Conversion.EXACT for kind in circuit.conversions),
    )


def _captured(layer: OnMacro, inputs: tuple[Tensor, ...], max_samples: int) -> _Operands:
    captured: list[_Operands] = []

    def capture(product: Product, x: Tensor, w: Tensor) -> Tensor:
        captured.append(_Operands(product, x, w).rows(0, max_samples))
        return _exact(layer, captured[0])

    with multiplied_by({layer: capture}):
        layer(*inputs)
    if not captured:
        shapes = " and ".join(str(tuple(x.shape)) for x in inputs)
        raise ValueError(f"Layer `{layer.name}` needs at least one sample to verify, got shape {shapes}")
    return captured[0]


def _exact(layer: OnMacro, operands: _Operands) -> Tensor:
    return exact.run(operands.product, layer.macro, layer.signed_input, operands.x, operands.w)


def _output(layer: OnMacro, inputs: tuple[Tensor, ...], sums: Tensor) -> Tensor:
    """What the layer returns where its product is these sums."""
    with multiplied_by({layer: lambda product, x, w: sums}):
        y: Tensor = layer(*inputs)
    return y


def _split(layer: OnMacro, operands: _Operands, seed: int, *edges: int) -> Tensor:
    """The layer's own sums, the batch split at these edges; each sample keeps its noise."""
    parts = []
    for low, high in pairwise(edges):
        part = operands.rows(low, high)
        with noise_context(seed=seed, sample_ids=range(low, high)):
            parts.append(layer._multiply(part.product, part.x, part.w))
    return torch.cat(parts)


def _autocast(
    layer: OnMacro, inputs: tuple[Tensor, ...], seed: int, max_samples: int, base: Tensor
) -> tuple[Tensor, ...]:
    """The layer's own sums under bfloat16 autocast, quantisers included; what they are compared with; its output."""
    own, sums = layer._multiply, []

    def multiply(product: Product, x: Tensor, w: Tensor) -> Tensor:
        part = _Operands(product, x, w).rows(0, max_samples)
        sums.append(own(product, part.x, part.w))
        return sums[0]

    device = inputs[0].device.type
    with noise_context(seed=seed), torch.autocast(device, dtype=torch.bfloat16), multiplied_by({layer: multiply}):
        y = layer(*inputs)
    return sums[0], base, y


@contextmanager
def _simulating(layer: OnMacro) -> Iterator[None]:
    training, fidelity = layer.training, layer.fidelity
    layer.training, layer.fidelity = False, "simulated"
    try:
        yield
    finally:
        layer.training, layer.fidelity = training, fidelity


def _difference(a: Tensor, b: Tensor) -> tuple[int, float]:
    """How many elements differ, and by how much at most."""
    if a.numel() == 0:
        return 0, 0.0
    distance = (a.cpu().double() - b.cpu().double()).abs()
    return int((distance != 0).sum()), float(distance.max())


def _sigmas(sums: Tensor, others: Tensor, product: Tensor) -> float:
    """Distance of two samples of noisy sums, in standard errors: the largest of those of how many differ from the
    noise-free product, of the mean and of the mean square of the difference."""
    largest = 0.0
    if sums.numel() < _FEWEST_SUMS:
        return largest
    a, b = (each.cpu().double() - product.cpu().double() for each in (sums, others))
    for x, y in (((a != 0).double(), (b != 0).double()), (a, b), (a.square(), b.square())):
        spread = float(((x.var() + y.var()) / x.numel()).sqrt()) if x.numel() > 1 else 0.0
        distance = float((x.mean() - y.mean()).abs())
        largest = max(largest, distance / spread if spread else 0.0 if distance == 0 else math.inf)
    return largest


def _least_lsb(circuit: Transfer) -> float:
    """Counts that one code of the least significant conversion adds to a sum."""
    lsb = [2**c.shift * c.full_scale / c.top_code for c in circuit.cycles if c.converted and c.top_code is not None]
    return min(lsb, default=1.0)


def _check(layer: Any, inputs: tuple[Any, ...], max_samples: Any) -> None:
    if not isinstance(layer, OnMacro):
        modules = layer.named_modules() if isinstance(layer, nn.Module) else ()
        names = [name for name, module in modules if isinstance(module, OnMacro)]
        hint = f", whose layers {', '.join(names[:4])} can be verified one by one" if names else ""
        allowed = "a layer on a macro (CimConv2d, CimLinear or CimMatmul)"
        raise ValueError(f"`layer` must be {allowed}, got {type(layer).__name__}{hint}")
    wrong = [type(x).__name__ for x in inputs if not isinstance(x, Tensor)]
    if wrong or not inputs:
        raise ValueError(f"Layer `{layer.name}` needs tensors to verify, got {wrong[0] if wrong else 'none'}")
    if not isinstance(max_samples, int) or isinstance(max_samples, bool) or max_samples < 1:
        raise ValueError(f"`max_samples` must be 1 or more, got {max_samples!r}")
