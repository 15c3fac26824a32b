"""Whatever the user gets wrong, the answer is one line that says what is allowed, and exit code 2.

Rows are of what the command line itself reads, and one or two of each floor below, which tests its own messages.
"""

import os
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.cli.conftest import Asim, Refused

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
        "`model.plan` p is not YAML: while parsing",
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
    "a field of a corner": (
        (*SWEEP, "--corners.ss.macro.random_nois", "3"),
        "`macro.random_nois` is no field of a macro, nearest: random_noise, nonlinear_noise, in `corners.ss`",
    ),
    "no such corner": (
        (*SWEEP, "--corners", "{tt: {}, ss: {macro.adc_bits: 7}}", "--axes.corner", "[sx]"),
        "`axes.corner` must be one of tt, ss, got 'sx'",
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


def test_a_setting_of_the_data_is_refused_in_its_own_words(asim: Asim, folder: Path, refused: Refused) -> None:
    refused((*VALIDATE, "--data.test_images", "0"), "got 0")
    assert asim(*VALIDATE, "--data.test_images", "0").error == "`test_images` must be 1 or more, got 0"


@pytest.mark.timeout(60, func_only=True)
@pytest.mark.parametrize(
    "arguments", [("fit", "-c", "x"), ("explain", "--ckpt_path", "x"), ("import", "x", "--to", "y")]
)
def test_a_pipe_is_not_waited_for(arguments: tuple[str, ...], asim: Asim, folder: Path) -> None:
    os.mkfifo("x")
    assert asim(*arguments).code == 2


FAMILIES = {
    "name": (
        "--model.plan.macro.noise 3",
        "`model.plan.macro.noise` is no setting; nearest: model.plan.macro.random_noise,",
    ),
    "name in a mapping": ("--model.plan.macro {adc_bit: 3}", "`model.plan.macro.adc_bit` is no setting; nearest: "),
    "argument of a class": (
        "--data.test_image 3",
        "`data.init_args.test_image` is no setting; nearest: data.init_args.test_images",
    ),
    "group": ("--model.plan null", "`model.plan` must be a mapping of settings, or a YAML file of one, got null"),
    "value": (
        "--model.plan.macro.adc_bits abc",
        "`model.plan.macro.adc_bits` must be a whole number or null, got abc",
    ),
    "value of an argument": (
        "--data.test_images x",
        "`test_images` of FashionMNIST must be a whole number or null, got x",
    ),
    "class of no class": (
        "--trainer.callbacks [3]",
        "`trainer.callbacks` must be a list or a Callback or null, got [3]",
    ),
    "value of a choice in a list": (
        "--compare [flaot]",
        "`compare` must be a Condition or one of 'float', 'quantized', 'simulated', got flaot",
    ),
    "class": ("--data CIFAR10", "the following arguments are required: root"),
}


@pytest.mark.parametrize("case", FAMILIES.values(), ids=FAMILIES)
def test_a_wrong_setting_is_named_in_one_line(case: tuple[str, str], asim: Asim) -> None:
    (given, expected), command = case, ("validate", "-c", "quickstart")
    name, _, value = given.partition(" ")
    assert expected in asim(*command, name, value).error
