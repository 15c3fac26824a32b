"""`asim macros`: the published macros in a table."""

from textwrap import wrap

from asim_lightning.circuit.presets import preset, preset_names
from asim_lightning.cli.command_line import Arguments
from asim_lightning.cli.messages import UsageError
from asim_lightning.text_table import text_table

_CHIP, _DIFFERS = 30, 56
"""Characters of a line of a cell."""
_HELP = """usage: asim macros

Lists the published macros. asim explain -c CONFIG --model.plan.preset NAME explains one; a field beside it wins, as in
--model.plan.macro.random_noise "1.16 lsb". Each number has its source in configs/macro_NAME.yaml."""


def macros_text(arguments: Arguments) -> str:
    """All presets, each with its chip and source, node, rows, bits and noise of its macro, and what differs.

    Args:
        arguments: The command line, which has no settings.

    Raises:
        UsageError: It has some.
    """
    if arguments.asks_for_help:
        return _HELP
    if arguments.flags or arguments.configs:
        given = [f"--{flag.name}" if flag.name else str(flag.text) for flag in arguments.flags] or ["--config"]
        raise UsageError(f"asim macros takes no settings, got {given[0]}")
    header = ["preset", "chip and source", "nm", "rows", "ADC bits", "bits a cycle", "noise", "differs"]
    rows = []
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
    return text_table([header, *rows], 1, "llrrrrrl")
