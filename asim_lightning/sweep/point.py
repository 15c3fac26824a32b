"""A point of a sweep as what its layers compute, so that two ways to write the same are computed once."""

import hashlib
from dataclasses import asdict
from functools import lru_cache

from torch import nn

from asim_lightning.circuit import MacroConfig, Transfer, schedule, transfer
from asim_lightning.circuit.columns import COLUMNS
from asim_lightning.circuit.transfer import possible_counts
from asim_lightning.circuit.units import canonical_quantity
from asim_lightning.nn.calibration import quantized_layers
from asim_lightning.surgery import macro_layers
from asim_lightning.sweep.contents import Contents
from asim_lightning.sweep.result import NOISE_AXES, Kind


def network_content(model: nn.Module, kind: Kind, contents: Contents) -> dict[str, object]:
    """All that a point decides of a network's answers, for the macros that its layers have.

    A float network's answers depend on no macro, a quantised one's on bits, a simulated one's on all of each macro.

    Args:
        model: Converted network, at the point.
        kind: What computes the products.
        contents: Describes a user's column.
    """
    if kind == "float":
        return {"kind": kind}
    bits = {name: [layer.weight_bits, layer.input_bits] for name, layer in quantized_layers(model).items()}
    if kind == "quantized":
        return {"kind": kind, "bits": bits}
    known: dict[tuple[MacroConfig, bool], dict[str, object]] = {}
    macros: dict[str, object] = {}
    for name, layer in macro_layers(model).items():
        pair = (layer.macro, layer.signed_input)
        if pair not in known:
            known[pair] = macro_content(*pair, contents)
        macros[name] = known[pair]
    return {"kind": kind, "bits": bits, "macros": macros}


def macro_content(macro: MacroConfig, signed_input: bool, contents: Contents) -> dict[str, object]:
    """What a macro computes: the same for macros that differ in what has no effect, such as votes of no cycle.

    Args:
        macro: The macro.
        signed_input: Whether its input is signed.
        contents: Describes a user's column.
    """
    if macro.column not in COLUMNS:
        # a user's column may look at any field
        noise = {name: canonical_quantity(getattr(macro, name)) for name in NOISE_AXES}
        where = f"macro.column {macro.column}"
        found = transfer(macro, signed_input)  # its column is the one that engines use, not one built from newer files
        contents.described_elsewhere(found.column.macro, "macro")
        return {
            **asdict(macro),
            **noise,
            "column_args": contents.of(macro.column_args, where),
            "model": contents.of(found.column, where),
            "tables": _tables(found),
        }
    cycles = schedule(macro, signed_input)
    votes = macro.vote if any(cycle.votes > 1 for cycle in cycles) else None
    return {
        "cycles": hashlib.sha256(repr(cycles).encode()).hexdigest(),
        "bits": [macro.weight_bits, macro.input_bits],
        "rows": macro.rows,
        "adc_bits": macro.adc_bits,
        "noise": [macro.random_noise_percent, macro.nonlinear_noise_percent],
        "vote": votes,
        "column": [macro.column, macro.column_args],
    }


@lru_cache(maxsize=1024)  # as engines keep their tables: of a file that changes meanwhile neither sees anything
def _tables(found: Transfer) -> str:
    """Digest of level and sigma by count, cycle by cycle: all that engines know of a column, wherever it has it from,
    such as a file that it reads at each call or a table of its module.
    """
    digest = hashlib.sha256(f"{found.column.cell_sigma} {found.cycles}".encode())
    kinds = {(c.full_scale, c.top_code, c.analog, c.converted, c.signed): c for c in found.cycles}
    for cycle in kinds.values():
        counts = possible_counts(cycle).float()
        for codes in (found.column.level(counts, cycle), found.column.sigma(counts, cycle)):
            digest.update(codes.detach().double().cpu().expand_as(counts).contiguous().numpy().tobytes())
    return digest.hexdigest()
