"""Whatever the user gets wrong, the answer is one line that says what is allowed, and exit code 2.

Rows are of what the command line itself reads, and one or two of each floor below, which tests its own messages.
"""

import os
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.cli.conftest import Asim, Refused
from tests.commands import parsed

VALIDATE, FIT = ("validate", "-c", "tiny.yaml"), ("fit", "-c", "tiny.yaml")
SWEEP = ("sweep", "-c", "tiny.yaml", "--ckpt_path", "trained.ckpt")
DOCTOR = ("doctor", "-c", "tiny.yaml")
Row = tuple[tuple[str, ...], str] | tuple[tuple[str, ...], str, Mapping[str, str | bytes]]
ROWS: dict[str, Row] = {
    "none": ((), "asim needs a command first"),
    "twice": (("validate", *VALIDATE), "unrecognized arguments: validate"),
    "after its options": (("-c", "tiny.yaml", "fit"), "asim needs a command first, as in asim fit -c CONFIG"),
    "no recipe": (("sweep",), "asim sweep needs a recipe, as in asim sweep -c quickstart"),
    "a device as recipe": (("fit", "-c", "/dev/zero"), "/dev/zero is a pipe or a device; a file (.yaml) is needed"),
    "a published macro as recipe": (("validate", "-c", "macro_cr_cim_2024"), " is no setting"),
    "nothing to predict": (
        ("predict", "-c", "tiny.yaml", "--trainer.limit_predict_batches", "0"),
        "No image was predicted; `trainer.limit_predict_batches` bounds them",
    ),
    "no text": (FIT, "is not YAML: 'utf-8' codec can't decode byte 0x80", {"tiny.yaml": bytes(range(256))}),
    "null for the data": (FIT, "`data` must be a data module, such as asim", {"tiny.yaml": "data: null"}),
    "a plan next to a recipe": (
        ("validate", "-c", "sub/r.yaml"),
        "p: while parsing",
        {"sub/r.yaml": "model: {plan: p}", "sub/p": "a: [1, 2\nb: }\n"},
    ),
    "many classes": ((*VALIDATE, "--model.num_classes", "1000000000000"), "it takes more memory than there is, "),
    "a backbone's argument": (
        (*VALIDATE, "--model.backbone.kwargs", "{checkpoint_path: x.pth}"),
        "must not hold checkpoint_path: `model.backbone.pretrained` names weights to start from",
    ),
    "processes": ((*FIT, "--trainer.devices", "1000"), "on this machine's CPU, got 1000"),
    "callback": ((*FIT, "--trainer.callbacks+=NoiseRamp", "--trainer.callbacks.end=-1"), "`end` of NoiseRamp must be"),
    "until of images and chips": (
        (*SWEEP, "--chips", "3", "--until", "accuracy 95 %"),
        "`until` 'accuracy 95 %' ends the images of a chip, so `chips` must be null, got 3",
    ),
    "workers of the trainer": ((*SWEEP, "--runner.workers", "2"), "`runner.workers` needs `runner: ray`, got 2"),
    "no space": (("search", "-c", "tiny.yaml"), "`search.space` must be a mapping of axes to values or ranges"),
    "no batch": (("bench", "-c", "tiny.yaml", "--batch", "0"), "`batch` must be a number or list of numbers, 1 or"),
    "no layer": (
        ("explain", "-c", "tiny.yaml", "--plot", "pages", "--layer", "layer2.0.conv9"),
        "got 'layer2.0.conv9'; did you mean layer2.0.conv",
    ),
    "no comparison": ((*VALIDATE, "--compare", "[]"), "`compare` must be a list of one or more"),
    "reads of nothing": ((*VALIDATE, "--trials", "3"), "`trials` needs `compare`, because it counts the reads"),
    "no checkpoint": ((*DOCTOR, "--checkpoints", "[none]"), "none"),
    "no counts": (
        ("cost", "-c", "tiny.yaml", "--images", "0", "--technology.charging", "ground"),
        "`images` must be 1 or more, got 0",
    ),
    "a name that is too long": ((*VALIDATE, "--ckpt_path", "a" * 300), "cannot be read or written: File name"),
}


@pytest.mark.timeout(60, func_only=True)
@pytest.mark.parametrize("row", ROWS.values(), ids=ROWS)
def test_rows(row: Row, refused: Refused) -> None:
    refused(*row)


@pytest.mark.timeout(60, func_only=True)
@pytest.mark.parametrize(
    "arguments", [("fit", "-c", "x"), ("explain", "--ckpt_path", "x"), ("import", "x", "--to", "y")]
)
def test_a_pipe_is_not_waited_for(arguments: tuple[str, ...], asim: Asim, folder: Path) -> None:
    os.mkfifo("x")
    assert asim(*arguments).code == 2


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
def test_an_error_of_jsonargparse_is_one_line(case: tuple[str, str], folder: Path) -> None:
    Path("plan.yaml").write_text("macro: {adc_bits: x}")
    given, expected = case
    name, _, value = given.partition(" ")
    with pytest.raises(ValueError) as found:
        parsed(["validate", name, *([value] if value else [])])
    assert expected in str(found.value)
    assert "\n" not in str(found.value)
