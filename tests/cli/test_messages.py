"""Errors of jsonargparse in one line: one of each family."""

import pytest

from asim_lightning.cli.messages import UsageError, no_setting, one_line
from tests.commands import parsed

FAMILIES = {
    "unknown flag": ("--model.fidelty x", "`model.fidelty` is no setting; nearest: model.fidelity"),
    "unknown flag of a group": ("--modl.fidelity x", "`modl.fidelity` is no setting; nearest: model.fidelity"),
    "unknown setting in a mapping": (
        "--model.plan.macro {adc_bit: 3}",
        "`model.plan.macro.adc_bit` is no setting; nearest: model.plan.macro.adc_bits, ",
    ),
    "unknown argument of a class": (
        "--data.init_args.test_image 3",
        "`data.init_args.test_image` is no setting; nearest: data.init_args.test_images",
    ),
    "wrong type": ("--model.plan.macro.adc_bits abc", "`model.plan.macro.adc_bits` must be int or null, got abc"),
    "wrong class": (
        "--data CIFAR11",
        "`data` must be a class by its import path, such as package.module.Class",
    ),
    "class near another": ("--trainer.callbacks+=NoiseRmp", "got NoiseRmp; nearest: NoiseRamp, NoiseSweep"),
    "word near another": ("--compare [flaot]", "got ['flaot']; nearest: float"),
    "wrong type of an argument": ("--data.init_args.augment publishd", "must be bool or null, got publishd"),
    "missing argument": ("--data CIFAR10", "`data` CIFAR10 needs root, as in --data.init_args.root VALUE"),
    "no value": ("--model.fidelity", "argument --model.fidelity: expected one argument"),
    "file of a group": ("--model.plan plan.yaml", "plan.yaml: `model.plan.macro.adc_bits` must be int or null, got x"),
}


@pytest.mark.parametrize("case", FAMILIES.values(), ids=FAMILIES)
def test_one_line(case: tuple[str, str], tmp_path: object, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(str(tmp_path))
    with open("plan.yaml", "w") as file:
        file.write("macro: {adc_bits: x}")
    given, expected = case
    name, _, value = given.partition(" ")
    with pytest.raises(UsageError) as found:
        parsed(["validate", name, *([value] if value else [])])
    assert expected in str(found.value)
    assert "\n" not in str(found.value)


def test_other_messages_are_put_on_one_line() -> None:
    assert one_line("something\n  else") == "something else"
    assert no_setting("zzz", []) == "`zzz` is no setting"
    assert no_setting("adc_bits", ["model.plan.macro.adc_bits"]).endswith("; nearest: model.plan.macro.adc_bits")
