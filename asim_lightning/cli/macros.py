"""`asim macros`: the published macros in a table."""

from dataclasses import dataclass
from textwrap import wrap

from asim_lightning.circuit.presets import preset, preset_names
from asim_lightning.table import text_table

_CHIP, _DIFFERS = 30, 56
"""Characters of a line of a cell."""
_LEGEND = """asim explain -c CONFIG --model.plan.preset NAME explains one; a field next to it wins, as in
--model.plan.macro.random_noise "1.16 lsb". Each number has its source in configs/macro_NAME.yaml."""


@dataclass(frozen=True)
class MacrosOptions:
    """There are none."""


def macros(options: MacrosOptions) -> None:
    """Print all presets, each with its chip and source, node, rows, bits and noise of its macro, and what differs."""
    rows = [["preset", "chip and source", "nm", "rows", "ADC bits", "bits a cycle", "noise", "differs"]]
    for name in preset_names():
        found = preset(name)
        macro = found.config()
        at_once = f"{macro.input_bits} x {macro.weight_bits}" if macro.weight_parallel else f"{macro.encoding_bits} x 1"
        noise = str(found.macro.get("random_noise", "-"))
        chip = [*wrap(found.chip, _CHIP), *wrap(found.source, _CHIP)]
        differs = wrap(found.differs, _DIFFERS)
        for line in range(max(len(chip), len(differs))):
            cells = [name, str(found.node), str(macro.rows), str(macro.adc_bits), at_once, noise]
            first, *rest = cells if line == 0 else [""] * len(cells)
            rows.append([first, *(chip[line : line + 1] or [""]), *rest, *(differs[line : line + 1] or [""])])
    print(f"{text_table(rows, 1, 'llrrrrrl')}\n\n{_LEGEND}")
