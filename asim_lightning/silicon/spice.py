"""One column in ngspice: its cells share their charge, and each voltage is compared with the level of the engine."""

from itertools import pairwise

import torch
from torch import Tensor

from asim_lightning.circuit import Cycle
from asim_lightning.circuit.columns import to_codes
from asim_lightning.silicon.layer_vectors import LayerVectors

MOST_OFF = 0.05
"""Largest difference of a conversion's level, LSB."""
_TIE = 0.001  # LSB; as close to a threshold, rounding of float32 or of ngspice decides the code
_PERIOD = 10  # ns
_CELL = """\
.model ideal sw(ron={10p / unit} roff=1e15 vt=0.5 vh=0)
* a cell: its capacitor is charged to the input, then it shares its charge with the column
* only ratios of capacitors count: to change one, change units of its row
.subckt cell input column charge share units=1
C1 plate 0 {unit * units}
S1 plate input charge 0 ideal
S2 plate column share 0 ideal
.ends
"""
_CLOCKS = """\
* the column is at ground while cells are charged; then they share their charge
Vcharge charge 0 PULSE(0 1 1n 0.1n 0.1n 3n 10n)
Vshare share 0 PULSE(0 1 5n 0.1n 0.1n 4n 10n)
.model reset sw(ron={10p / unit / rows} roff=1e15 vt=0.5 vh=0)
Sreset column 0 charge 0 reset
"""
_AWK = f"""\
# Compares the voltages that ngspice measured with levels: awk -f column.awk column_levels.txt spice.log
function code(level) {{ return level < 0 ? 0 : level > top ? top : int(level + 0.5) }}
/^#/ {{ next }}
NR == FNR && $1 == "adc" {{ counts_a_volt = $2; counts_a_code = $3; low = $4; top = $5; next }}
NR == FNR {{ level[$1] = $2; ideal[$1] = $3; wanted++; next }}
($1 in level) && $2 == "=" {{
    found = ($3 * counts_a_volt - low) / counts_a_code
    off = found - level[$1]; off = off < 0 ? -off : off
    part = level[$1] + 1000000.5; part -= int(part); part = part > 0.5 ? 1 - part : part
    wrong = code(found) != ideal[$1] && part > {_TIE}
    if (off > most) most = off
    if (!(off <= {MOST_OFF}) || wrong) {{
        bad++
        printf "%s: level %.4f, code %d; expected %.4f, code %d\\n", $1, found, code(found), level[$1], ideal[$1]
    }}
    measured++; delete level[$1]
}}
END {{
    bad += wanted - measured
    said = bad ? "FAIL " bad " of" : "PASS"
    lost = wanted > measured ? ", " wanted - measured " without a voltage (see spice.log)" : ""
    printf "%s %d conversions%s; largest difference %.6f LSB\\n", said, wanted, lost, most
    exit bad > 0 || !wanted
}}
"""


def spice_files(found: LayerVectors) -> dict[str, str]:
    """The column of the first array, output and weight bit in ngspice, and what its conversions must give, by name.

    Levels are those before the converter: its gain, offset, INL and noise are left out.

    Raises:
        ValueError: The macro has no charge-sharing column that converts bit by bit.
    """
    cycles = _converted(found)
    array, macro = found.arrays[0], found.transfer.macro
    bits = torch.stack([array.inputs >> cycle.input_bits[0] & 1 for _, cycle in cycles], 1).flatten(0, 1)
    counts = torch.stack([array.counts[:, number, 0] for number, _ in cycles], 1).flatten()
    codes = to_codes(counts.float(), cycles[0][1]).round().clamp(0, cycles[0][1].top_code)
    counts_a_code, low = cycles[0][1].counts_a_code, cycles[0][1].adc_low
    full_scale = (macro.swing_mv or 1000.0) / 1000.0
    levels = [
        "# adc: counts a volt, counts a code, count of code 0, largest code",
        f"adc {macro.rows / full_scale:.12g} {counts_a_code:.12g} {low} {cycles[0][1].top_code}",
        f"# conversion, level before the converter in LSB (a voltage within {MOST_OFF} LSB of it is right), code of an",
        "# ADC without offset, gain error, INL and noise, image, position, number of the cycle in expected.json",
    ]
    at = [(image, position) for image in found.images for position in found.positions]
    places = [f"{image} {position} {number}" for image, position in at for number, _ in cycles]
    for number, (count, code, place) in enumerate(zip(counts.tolist(), codes.tolist(), places, strict=False)):
        levels.append(f"v{number} {(count - low) / counts_a_code:.9g} {code:.0f} {place}")
    circuit = _circuit(found, bits, full_scale * (1.0 + macro.static.parasitics))
    return {"column.cir": circuit, "column_levels.txt": "\n".join(levels) + "\n", "column.awk": _AWK}


def _converted(found: LayerVectors) -> list[tuple[int, Cycle]]:
    """Number and cycle of each conversion of weight bit 0, one for each input bit."""
    macro, static = found.transfer.macro, found.transfer.macro.static
    cycles = [each for each in enumerate(found.transfer.cycles) if each[1].analog and each[1].weight_bits == (0,)]
    corner = macro.weight_bits + macro.input_bits - 1
    for name, value, fits, allowed in (
        ("column", macro.column, macro.column == "charge", "charge"),
        ("encoding_bits", macro.encoding_bits, macro.encoding_bits == 1, "1"),
        ("weight_parallel", macro.weight_parallel, not macro.weight_parallel, "false"),
        ("adc_bits", macro.adc_bits, macro.adc_bits is not None, "1..16"),
        ("digital_levels", macro.digital_levels, bool(cycles), f"less than {corner}"),
        ("static.reference", static.reference, static.reference != "summing", "ratiometric or absolute"),
        ("static.placement", static.placement, not static.is_reused, "unrolled"),
    ):
        if not fits:
            raise ValueError(f"`macro.{name}` must be {allowed} with `spice`, got {value!r} in layer `{found.layer}`")
    return cycles


def _units(found: LayerVectors) -> list[float]:
    """Capacitor of each row of the column, in nominal ones; idle rows share what their sum differs by."""
    array, rows = found.arrays[0], found.transfer.macro.rows
    used = array.weights.shape[1]
    own = [1.0] * used if array.cells is None else array.cells[0, 0].tolist()
    if used == rows:
        return own
    idle = found.converters.tensors.get("idle_cells")  # (tiles, weight bits, *columns), minus the nominal sum
    more = 0.0 if idle is None else float(idle[0, 0].flatten()[0])
    return own + [1.0 + more / (rows - used)] * (rows - used)


def _circuit(found: LayerVectors, bits: Tensor, drive: float) -> str:
    macro, weights = found.transfer.macro, found.arrays[0].weights[0] & 1
    unit, conversions = macro.unit_capacitor_ff or 1.0, len(bits)
    lines = [
        f"* layer {found.layer}, {found.arrays[0].name}, output 0, weight bit 0: {conversions} conversions",
        "* unit: macro.unit_capacitor_ff, or 1 fF; drive: macro.full_scale_mv, or 1 V, with the parasitic charge added",
        f".param unit={unit:.9g}f drive={drive:.12g} rows={macro.rows}",
        # the trapezoidal method rings at the switches: 0.09 LSB at 6 bits; KLU is 15 times as fast
        ".options method=gear klu",
        _CELL + _CLOCKS.rstrip(),
        f"Cparasitic column 0 {{{macro.static.parasitics:.12g} * rows * unit}}",
        "* rows: a cell with weight 0, and a cell of an idle row, has ground as its input",
    ]
    columns = bits.T.tolist()
    for row, units in enumerate(_units(found)):
        in_use = row < len(columns)
        lines += _stimulus(row, columns[row]) if in_use else []
        node = f"in{row}" if in_use and weights[row] else "0"
        lines.append(f"X{row} {node} column charge share cell units={units:.9g}")
    lines += [f".tran 1n {conversions * _PERIOD}n", ".save v(column)"]
    lines += [f".measure tran v{n} find v(column) at={n * _PERIOD + 8.5:.12g}n" for n in range(conversions)]
    return "\n".join([*lines, ".end"]) + "\n"


def _stimulus(row: int, bits: list[int]) -> list[str]:
    """The source of a row: a bit for each conversion."""
    lines = [f"Vin{row} in{row} 0 PWL(0 {{drive * {bits[0]}}}"]
    for number, (before, bit) in enumerate(pairwise(bits), 1):
        if bit != before:
            start = number * _PERIOD
            lines.append(f"+ {start}n {{drive * {before}}} {start}.1n {{drive * {bit}}}")
    lines[-1] += ")"
    return lines
