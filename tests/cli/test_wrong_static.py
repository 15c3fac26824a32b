"""Wrong static effects, placements, curves and files of chips: one line each, and exit code 2."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import save

from tests.cli.conftest import Asim, Run
from tests.cli.wrong_inputs import Wrong, assert_refused, flag

STATIC = "--model.plan.macro.static"
REUSE = (f"{STATIC}.placement", "reuse", f"{STATIC}.macros", "4", f"{STATIC}.columns", "64")
OFFSET = (f"{STATIC}.offset", "1 lsb")
MEASURED = ("--model.plan.macro.column", "measured", "--model.plan.macro.column_args")


def of_chip(message: str, content: bytes, *flags: str) -> Wrong:
    """A row of a chip in a file."""
    arguments = ("validate", "-c", "tiny.yaml", *OFFSET, "--model.chip_file", "chip.safetensors", *flags)
    return Wrong(arguments, message, {"chip.safetensors": content})


def of_inl(message: str, content: str) -> Wrong:
    """A row of a file of INL."""
    return Wrong(("validate", "-c", "tiny.yaml", f"{STATIC}.inl", "inl.csv"), message, {"inl.csv": content})


def curves(*lasts: int) -> str:
    """A file of measured converters whose last counts are these."""
    lines = [f"{number},{k},{k},0" for number, last in enumerate(lasts) for k in range(last + 1)]
    return "\n".join(["column,count,mean,std", *lines])


ROWS = {
    "placement": flag(
        "`macro.static.placement` must be one of unrolled, reuse, got 'once'", f"{STATIC}.placement", "once"
    ),
    "half a macro": flag("`model.plan.macro.static.macros` must be", *OFFSET, *REUSE, f"{STATIC}.macros", "2.5"),
    "INL, a list of words": flag("inl", f"{STATIC}.inl", "[much, more]"),
    "INL, large": of_inl("`macro.static.inl` must be at most half of the 256 codes, got 200 LSB", "200\n" * 256),
    "capacitor": flag(
        "`macro.unit_capacitor_ff` must be a positive number of fF or null, got -1.0",
        "--model.plan.macro.unit_capacitor_ff",
        "-1",
    ),
    "a chip of another network": of_chip(
        "has layer `fd`, which is none of the network's on a macro", save({"fd/offset": torch.zeros(3)})
    ),
    "a damaged chip": of_chip("is no .safetensors file, or a damaged one", save({"fc/offset": torch.zeros(3)})[:-4]),
    "a chip of layers, not of shared macros": of_chip(
        "has layer `fc`, which is none of the network's on a macro", save({"fc/offset": torch.zeros(3)}), *REUSE
    ),
    "converters of other counts": Wrong(
        ("validate", "-c", "tiny.yaml", *MEASURED, "{file: chip.csv, converter: each}"),
        "chip.csv must have the same counts of each converter, got last counts 254, 255",
        {"chip.csv": curves(255, 254)},
    ),
    "every converter": Wrong(
        ("validate", "-c", "tiny.yaml", *MEASURED, "{file: chip.csv, converter: every}"),
        "`converter` must be 0..1048576, each or null, got 'every'",
        {"chip.csv": curves(255)},
    ),
}


@pytest.mark.parametrize("wrong", ROWS.values(), ids=ROWS)
def test_wrong_static_effects(wrong: Wrong, asim: Asim, folder: Path, run: Run) -> None:
    assert_refused(wrong, asim, folder, run)
