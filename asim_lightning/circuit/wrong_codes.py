"""How often the codes of a macro are wrong: by noise, and by the spreads of its converters."""

import math

import torch

from asim_lightning.circuit.columns import Column, possible_counts
from asim_lightning.circuit.schedule import Cycle
from asim_lightning.circuit.transfer import Transfer, error_probabilities, share_of_other_codes


def largest_error_probability(transfer: Transfer) -> float:
    """Largest probability over cycles and counts that noise changes the code of a conversion (see
    `error_probabilities`), without clamping and votes; 0 for an ideal converter, which has no codes."""
    if transfer.macro.adc_bits is None:
        return 0.0
    column = transfer.column
    kinds = {c.full_scale: c for c, noisy in zip(transfer.cycles, transfer.noisy, strict=True) if noisy}
    errors = (error_probabilities(column, c, possible_counts(c).float()) for c in kinds.values())
    return max((float(each.max()) for each in errors), default=0.0)


def expected_error(circuit: Transfer) -> float:
    """Expected share of wrong codes at a quarter of the full scale, by noise and the spreads of converters; the largest
    of all cycles.

    Static effects (see `converter_deviations`) and noise are one normal around a level at distance d from its code,
    averaged over counts: ``(erfc((1/2 - d) / (sqrt 2 sigma)) + erfc((1/2 + d) / (sqrt 2 sigma))) / 2``.
    """
    cycles = zip(circuit.cycles, circuit.noisy, strict=True)
    kinds = {cycle.kind: (cycle, noisy) for cycle, noisy in cycles if cycle.converted}
    sigmas = ((cycle, _total_sigma(circuit, cycle, noisy)) for cycle, noisy in kinds.values())
    return max((_share_wrong(circuit.column, cycle, sigma) for cycle, sigma in sigmas if sigma), default=0.0)


def _share_wrong(column: Column, cycle: Cycle, sigma: float) -> float:
    top = cycle.top_code or 1
    level = column.level(possible_counts(cycle).float(), cycle).double().clamp(-top if cycle.signed else 0, top)
    code = level.round()
    level = torch.where((level - code).abs() < 1e-4, code, level)  # roundings of float32
    return float(share_of_other_codes(level, sigma).mean())


def _total_sigma(circuit: Transfer, cycle: Cycle, noisy: bool) -> float:
    code = cycle.full_scale / 4 / cycle.counts_a_code
    noise = float(circuit.column.sigma(possible_counts(cycle).float(), cycle).max()) if noisy else 0.0
    return math.hypot(*circuit.macro.converter_deviations(code).values(), noise)
