"""Errors of jsonargparse in one line: one of each family."""

from pathlib import Path

import pytest

from tests.commands import parsed

FAMILIES = {
    "unknown flag": ("--model.fidelty x", "`model.fidelty` is no setting; nearest: model.fidelity"),
    "unknown setting in a mapping": (
        "--model.plan.macro {adc_bit: 3}",
        "`model.plan.macro.adc_bit` is no setting; nearest: model.plan.macro.adc_bits, ",
    ),
    "unknown argument of a class": (
        "--data.init_args.test_image 3",
        "`data.init_args.test_image` is no setting; nearest: data.init_args.test_images",
    ),
    "wrong type": ("--model.plan.macro.adc_bits abc", "`model.plan.macro.adc_bits` must be int or null, got abc"),
    "a key twice": ("--model.backbone.kwargs {a: 1, a: 2}", "must be dict, got {a: 1, a: 2}"),
    "wrong class of a module": (
        "--data asim_lightning.data.ImageNett",
        "`data` cannot be asim_lightning.data.ImageNett; nearest: ImageNet",
    ),
    "class near another": ("--trainer.callbacks+=NoiseRmp", "got NoiseRmp; nearest: NoiseRamp, NoiseSweep"),
    "function for a class": (
        "--trainer.callbacks [os.getcwd]",
        "os.getcwd does not correspond to a subclass of Callback",
    ),
    "missing argument": ("--data CIFAR10", "`data` CIFAR10 needs root, as in --data.init_args.root VALUE"),
    "null for a group": (
        "--model.plan null",
        "`model.plan` must be a mapping of settings, or a YAML file of one, got null",
    ),
    "file of a group": ("--model.plan plan.yaml", "plan.yaml: `model.plan.macro.adc_bits` must be int or null, got x"),
}


@pytest.mark.parametrize("case", FAMILIES.values(), ids=FAMILIES)
def test_one_line(case: tuple[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("plan.yaml").write_text("macro: {adc_bits: x}")
    given, expected = case
    name, _, value = given.partition(" ")
    with pytest.raises(ValueError) as found:
        parsed(["validate", name, *([value] if value else [])])
    assert expected in str(found.value)
    assert "\n" not in str(found.value)
