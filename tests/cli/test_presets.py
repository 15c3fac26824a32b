"""`--model.plan.preset`: where a published macro counts, and that a checkpoint carries the macro that came of it."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import yaml

from asim_lightning import MacroConfig
from asim_lightning.circuit.presets import preset, preset_names
from asim_lightning.cli.command_line import read_arguments
from asim_lightning.cli.parser import AsimCLI
from asim_lightning.cli.settled import settle_axes
from asim_lightning.surgery import macro_layers
from tests.cli.conftest import Asim, Run
from tests.cli.wrong_inputs import Wrong, assert_refused, flag
from tests.commands import by_flags

Write = Callable[..., Path]
PRESET = ("--model.plan.preset", "cr_cim_2024")


def macro_of(*words: object) -> MacroConfig:
    cli = AsimCLI(read_arguments(["explain", *map(str, words)]))
    assert cli.model.hparams["plan"]["preset"] is None
    (macro,) = {layer.macro for layer in macro_layers(cli.model.backbone).values()}
    return macro


def test_a_flag_takes_the_place_of_a_recipes_macro_but_for_open_bits(written: Write) -> None:
    path = written(model__plan__macro={"weight_bits": 4, "input_bits": 4, "adc_bits": 6, "nonlinear_noise": 0.3})
    assert macro_of("-c", path, *PRESET) == preset("cr_cim_2024").config(weight_bits=4, input_bits=4)
    assert macro_of(*PRESET, "-c", path).adc_bits == 10
    assert macro_of("-c", path, "--model.plan", "{preset: cr_cim_2024}").adc_bits == 10
    assert (
        macro_of("-c", path, "--model.plan.preset", "lee_2021").input_bits == 5
    )  # which this chip does not leave open


def test_fields_beside_it_win(written: Write) -> None:
    path = written(model__plan={"preset": "cr_cim_2024", "macro": {"weight_bits": 4, "adc_bits": 9}})
    assert macro_of("-c", path) == preset("cr_cim_2024").config(weight_bits=4, adc_bits=9)
    assert macro_of("-c", path, "--model.plan.macro.random_noise", "0").random_noise == 0
    assert macro_of("-c", path, "--model.plan.preset", "pimca_2021").adc_bits == 4
    assert macro_of("-c", path, "--model.plan.preset", "null").rows == 255


def test_a_later_file_takes_the_place_of_those_before(written: Write) -> None:
    first = written(model__plan__macro={"weight_bits": 4, "adc_bits": 6})
    Path("chip.yaml").write_text("model: {plan: {preset: cr_cim_2024, macro: {rows: 512}}}\n")
    assert macro_of("-c", first, "-c", "chip.yaml") == preset("cr_cim_2024").config(weight_bits=4, rows=512)
    assert macro_of("-c", "chip.yaml", "-c", first).adc_bits == 6


def test_a_checkpoints_bits_stay_and_its_macro_goes(run: Run, written: Write) -> None:
    path = written(model__plan={})
    found = macro_of("-c", path, "--ckpt_path", run.checkpoint, *PRESET)
    assert found == preset("cr_cim_2024").config(weight_bits=4, input_bits=4)


def test_a_fit_saves_the_macro_that_came_of_it(asim: Asim, written: Write) -> None:
    path = written()
    answer = asim("fit", "-c", path, *PRESET, "--model.plan.macro.adc_bits", "9")
    assert answer.code == 0, answer.err
    assert "macro    CR-CIM (Yoshioka)" in answer.out
    version = Path("runs/tiny/version_0")
    wanted = preset("cr_cim_2024").config(weight_bits=4, input_bits=4, adc_bits=9)
    saved = torch.load(version / "checkpoints" / "best.ckpt", weights_only=True)["hyper_parameters"]["plan"]
    assert (MacroConfig(**saved["macro"]), saved["preset"]) == (wanted, None)
    config = yaml.safe_load((version / "config.yaml").read_text())
    assert MacroConfig(**config["model"]["plan"]["macro"]) == wanted
    assert macro_of("-c", version / "config.yaml") == wanted
    path.write_text(yaml.safe_dump({**yaml.safe_load(path.read_text()), "model": {}}))  # the checkpoint alone
    assert macro_of("-c", path, "--ckpt_path", version / "checkpoints" / "best.ckpt") == wanted


def test_a_flag_takes_the_place_of_axes_of_its_fields() -> None:
    flags = by_flags(*PRESET)
    model = {"plan": {"macro": {"random_noise": "0.58 lsb", "adc_bits": 10}}}
    settled, said = settle_axes(flags, {"random_noise": [0, 0.1], "votes": [1, 3]}, model)
    assert settled == {"random_noise": ["0.58 lsb"]}
    assert said == "random_noise 0.58 lsb by its flag, not the 2 values of its axis"


def test_asim_macros_lists_them(asim: Asim) -> None:
    answer = asim("macros")
    assert answer.code == 0
    lines = answer.out.splitlines()
    words = ["preset", "chip", "and", "source", "nm", "rows", "ADC", "bits", "bits", "a", "cycle", "noise", "differs"]
    assert lines[0].split() == words
    assert [name for line in lines[2 : lines.index("")] if (name := line.split(" ")[0])] == preset_names()
    assert "INL up" in answer.out
    assert "usage: asim macros" in asim("macros", "--help").out


ROWS = {
    "unknown": flag("got 'cr_cim_2025'; nearest: cr_cim_2024", "--model.plan.preset", "cr_cim_2025"),
    "a path": flag("must be a published macro that asim macros lists", "--model.plan.preset", "configs/macro_x.yaml"),
    "a list": flag("a published macro that asim macros lists, got '[1, 2]'", "--model.plan.preset", "[1, 2]"),
    "contradiction": flag("`macro.encoding_bits` must be 1..2", "--model.plan.preset", "dct_ram_2022",
                          "--model.plan.macro.input_bits", "2"),
    "settings of macros": Wrong(("macros", "--model.trial", "3"), "`model.trial` is no setting"),
    "as a recipe": Wrong(
        ("validate", "-c", "macro_cr_cim_2024"), "a published macro and no recipe; --model.plan.preset cr_cim_2024"
    ),
}  # fmt: skip


@pytest.mark.parametrize("wrong", ROWS.values(), ids=ROWS)
def test_wrong_presets(wrong: Wrong, asim: Asim, folder: Path, run: Run) -> None:
    assert_refused(wrong, asim, folder, run)
