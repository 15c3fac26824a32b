"""Whatever the user gets wrong, the answer is one line that says what is allowed, and exit code 2.

Rows are of what the command line itself reads, and one or two of each floor below, which tests its own messages.
"""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import Asim, Content, Refused, Write

VALIDATE, FIT = ("validate", "-c", "tiny.yaml"), ("fit", "-c", "tiny.yaml")
SWEEP = ("sweep", "-c", "tiny.yaml", "--ckpt_path", "trained.ckpt")
SEARCH = ("search", "-c", "tiny.yaml", "--search.space", "{adc_bits: [6, 8]}")
CHECKPOINT = ("validate", "--ckpt_path", "x.ckpt")
Row = tuple[tuple[str, ...], str] | tuple[tuple[str, ...], str, Mapping[str, Content]]


def recipe(content: Content, message: str) -> Row:
    return VALIDATE, message, {"tiny.yaml": content}


def settings(**changes: Any) -> Content:
    """A checkpoint with other hyperparameters."""
    return lambda saved: {**saved, "hyper_parameters": {**saved["hyper_parameters"], **changes}}


COMMANDS: dict[str, Row] = {
    "a typo": (("fitt", "-c", "tiny.yaml"), "got 'fitt'; nearest: fit"),
    "unknown": (("publish",), "asim has the commands fit, validate, test, predict, sweep, search, "),
    "none": ((), "asim needs a command first"),
    "twice": (("validate", *VALIDATE), "unrecognized arguments: validate"),
    "after its options": (("-c", "tiny.yaml", "fit"), "Options come after the command, as in asim fit -c CONFIG"),
    "no recipe": (("sweep",), "asim sweep needs a recipe, as in asim sweep -c quickstart"),
    "a missing recipe": (
        ("fit", "-c", "tiny.yaml", "-c", "nosuch"),
        "There is no file 'nosuch'; shipped configs, near",
    ),
    "a device as recipe": (("fit", "-c", "/dev/zero"), "/dev/zero is a pipe or a device; a file (.yaml) is needed"),
    "a published macro as recipe": (
        ("validate", "-c", "macro_cr_cim_2024"),
        "--model.plan.preset cr_cim_2024 takes it",
    ),
    "another command's option": ((*VALIDATE, "--samples", "3"), "`samples` is no setting"),
    "nothing to predict": (
        ("predict", "-c", "tiny.yaml", "--trainer.limit_predict_batches", "0"),
        "No image was predicted; `trainer.limit_predict_batches` bounds them",
    ),
    "nothing to validate": (
        (*VALIDATE, "--trainer.limit_val_batches", "0"),
        "No image was evaluated; `trainer.limit_val_batches`",
    ),
}
NO_YAML = "a: [1, 2\nb: }\n"
PLAN = (*VALIDATE, "--model.plan", "plan.yaml")
FILES: dict[str, Row] = {
    "no YAML": recipe(NO_YAML, "tiny.yaml is not YAML: while parsing a flow sequence"),
    "a key twice": recipe("model: {}\nseed_everything: 1\nmodel: {}", "tiny.yaml is not YAML: the key 'model'"),
    "no text": recipe(bytes(range(256)), "tiny.yaml is not YAML: 'utf-8' codec can't decode byte 0x80"),
    "code": recipe("model: !!python/object/apply:os.system ['touch x']", "could not determine a constructor for"),
    "an unknown key": recipe("modell: {fidelity: float}", "`modell.fidelity` is no setting; nearest: model"),
    "null for the data": (FIT, "`data` must be a data module, such as asim", {"tiny.yaml": "data: null"}),
    "a plan that is no YAML": (PLAN, "plan.yaml: while parsing a flow sequence", {"plan.yaml": NO_YAML}),
    "a plan next to a recipe": (
        ("validate", "-c", "sub/r.yaml"), "p: while parsing", {"sub/r.yaml": "model: {plan: p}", "sub/p": NO_YAML}
    ),
}  # fmt: skip
NETWORK: dict[str, Row] = {
    "macro": ((*VALIDATE, "--model.plan.macro.adc_bits", "77"), "`macro.adc_bits` must be 1..16 or null, got 77"),
    "many classes": ((*VALIDATE, "--model.num_classes", "1000000000000"), "it takes more memory than there is, "),
    "backbone": ((*VALIDATE, "--model.backbone.name", "resnet19t"), "nearest: resnet14t, resnet10t"),
    "a backbone's argument": (
        (*VALIDATE, "--model.backbone.kwargs", "{checkpoint_path: x.pth}"),
        "must not hold checkpoint_path: `model.backbone.pretrained` names weights to start from",
    ),
    "channels": ((*VALIDATE, "--model.backbone.kwargs", "{channels: [8, 16, 32, 64]}"), "must have images of 3"),
    "optimizer": ((*FIT, "--model.optimizer.lr", "-0.1"), "`model.optimizer.lr` must be above 0, got -0.1"),
    "noise model": ((*FIT, "--model.train_noise_model", "proportionel"), "did you mean proportional?"),
    "processes": ((*FIT, "--trainer.devices", "1000"), "on this machine's CPU, got 1000"),
    "callback": ((*FIT, "--trainer.callbacks+=NoiseRamp", "--trainer.callbacks.end=-1"), "`end` of NoiseRamp must be"),
}  # fmt: skip
DATA: dict[str, Row] = {
    "no folder": ((*FIT, "--data.init_args.root", "nosuch"), "The Fashion-MNIST folder nosuch does not exist"),
    "a damaged file": (
        (*VALIDATE, "--data.init_args.root", "."),
        "must be an IDX file of unsigned bytes",
        {"t10k-images-idx3-ubyte": "junk", "t10k-labels-idx1-ubyte": "junk"},
    ),
}
STUDIES: dict[str, Row] = {
    "an axis": ((*SWEEP, "--axes.adc_bit", "[6]"), "`axes.adc_bit` is no setting; nearest: axes.adc_bits"),
    "a chip of many": ((*SWEEP, "--chips", "3", "--model.chip", "17"), "no flag may name a chip, got --model.chip 17"),
    "until": ((*SWEEP, "--until", "enough"), "`until` must be as in 'yield 0.9 at 85 %' "),
    "until of images and chips": (
        (*SWEEP, "--chips", "3", "--until", "accuracy 95 %"),
        "`until` 'accuracy 95 %' ends the images of a chip, so `chips` must be null, got 3",
    ),
    "workers of the trainer": ((*SWEEP, "--runner.workers", "2"), "`runner.workers` needs `runner: ray`, got 2"),
    "processes of both": (
        (*SWEEP, "--runner", "ray", "--trainer.devices", "2", "--trainer.strategy", "ddp"),
        "`trainer.devices` must be 1 with `runner: ray`, because `runner.workers` sets its processes, got 2",
    ),
    "no space": (("search", "-c", "tiny.yaml"), "`search.space` must be a mapping of axes to values or ranges"),
    "constraint": ((*SEARCH, "--search.constraints", "[good]"), "`search.constraints` must be as in 'accuracy 88 %'"),
    "checkpoint": ((*SEARCH, "--search.space", "{checkpoint: [nosuch]}"), "nosuch"),
}  # fmt: skip
MAP = {"shares": [], "increase": 1.0, "stepped_back_to": None, "changes": [], "images": 4}
FLOAT = ("--model.plan.keep", "['*']")
RANGES, PAGES = ("calibrate-adc", "-c", "tiny.yaml"), ("explain", "-c", "tiny.yaml", "--plot", "pages")
COMPARE, SPEC = (*VALIDATE, "--compare"), ("spec", "-c", "tiny.yaml")
DOCTOR, COST = ("doctor", "-c", "tiny.yaml"), ("cost", "-c", "tiny.yaml")
OPTIONS: dict[str, Row] = {
    "no batch": (("bench", "-c", "tiny.yaml", "--batch", "0"), "`batch` must be a number or list of numbers, 1 or"),
    "nothing to time": (("bench", "-c", "tiny.yaml", *FLOAT), "asim bench needs a network with layers on a macro"),
    "no images for ranges": ((*RANGES, "--images", "0"), "`images` must be 1 or more, got 0"),
    "no field": ((*RANGES, "--against", "{adc_bit: 7}"), "`macro.adc_bit` is no field of a macro"),
    "no ranges": (
        (*RANGES, "--model.plan.macro.digital_adc", "true"),
        "`macro.adc_step` must be null with digital_adc",
    ),
    "no layer": (
        (*PAGES, "--layer", "layer2.0.conv9"),
        "`layer` must be the full name of a layer on a macro, nearest: ",
    ),
    "no comparison": ((*COMPARE, "[]"), "`compare` must be a list of one or more"),
    "no layer to compare": (
        (*COMPARE, "[{layers: {layer9: float}}]"),
        "`compare.layers` matches no layer with 'layer9'",
    ),
    "equal chips": ((*COMPARE, "[{chip: 3}]"), "`chip` changes nothing, because no macro has cells or converters"),
    "an energy to keep": ((*SPEC, "--target", "energy 2 uJ"), "`target` must be as in 'accuracy 88 %'"),
    "no property": ((*SPEC, "--properties", "[ofset]"), "did you mean offset?"),
    "no macro to limit": ((*SPEC, "--given", "{adc_bits: 0}"), "`macro.adc_bits` must be 1..16 or null, got 0"),
    "no checkpoint": ((*DOCTOR, "--checkpoints", "[none]"), "none"),
    "no map": (
        (*DOCTOR, "--map", "map.json"),
        "`map` must be a map.json of asim doctor, got map.json",
        {"map.json": json.dumps({**MAP, "shares": [{"share": 1}]})},
    ),
    "a map without numbers": (
        (*DOCTOR, "--map", "map.json"),
        "`map` must be a map.json of asim doctor, got map.json",
        {"map.json": json.dumps({**MAP, "shares": [{"layer": "fc", "diagonal": 0, "share": float("nan")}]})},
    ),
    "a map of another network": (
        (*DOCTOR, "--map", "map.json"),
        "got a map of 1 layers, such as other",
        {"map.json": json.dumps({**MAP, "shares": [{"layer": "other", "diagonal": 0, "share": 1.0}]})},
    ),
    "no digital layer": ((*COST, "--digital", "[nothing]"), "`digital`"),
    "no counts": ((*COST, "--images", "0", "--technology.charging", "ground"), "`images` must be 1 or more, got 0"),
    "another size": ((*COST, "--model.backbone.image_size", "32"), "`model.backbone.image_size` must be the size of"),
}
CHECKPOINTS: dict[str, Row] = {
    "missing": (CHECKPOINT, "There is no file 'x.ckpt'; shipped checkpoints, nearest: "),
    "a name that is too long": ((*VALIDATE, "--ckpt_path", "a" * 300), "cannot be read or written: File name"),
    "no state_dict": (CHECKPOINT, "a state_dict, tensors by name, got a mapping of a", {"x.ckpt": lambda _: {"a": 1}}),
    "no settings": (
        CHECKPOINT,
        "x.ckpt must hold its settings by name as hyper_parameters, got None",
        {"x.ckpt": lambda saved: {**saved, "hyper_parameters": None}},
    ),
    "classes": (CHECKPOINT, "`model.num_classes` must be 2", {"x.ckpt": settings(num_classes=1)}),
    "another network": (
        (*FIT, "--ckpt_path", "trained.ckpt", "--model.backbone.kwargs.stem_width", "8"),
        "trained.ckpt does not fit resnet10t as `model.backbone` describes it: size mismatch for backbone.",
    ),
    "weights of no network": (
        CHECKPOINT, "conv1.0.weight is missing in it (and ", {"x.ckpt": lambda saved: {**saved, "state_dict": {}}}
    ),
    "not resumed": ((*FIT, "--weights_only", "false"), "`weights_only` must be one of True or null"),
}  # fmt: skip
GROUPS = {
    "command": COMMANDS, "file": FILES, "network": NETWORK, "data": DATA, "study": STUDIES, "option": OPTIONS,
    "checkpoint": CHECKPOINTS,
}  # fmt: skip
ROWS = {f"{group}: {name}": row for group, rows in GROUPS.items() for name, row in rows.items()}


@pytest.mark.timeout(60, func_only=True)
@pytest.mark.parametrize("row", ROWS.values(), ids=ROWS)
def test_rows(row: Row, refused: Refused) -> None:
    refused(*row)


def test_the_values_of_a_network_are_named_by_layer(asim: Asim, written: Write) -> None:
    """What the first steps wrote stays: they were made."""
    error = asim("fit", "-c", written(), "--model.optimizer.lr", "1e30").error
    assert "Layer `conv1.0` needs finite weights, got NaN" in error


@pytest.mark.timeout(60, func_only=True)
@pytest.mark.parametrize(
    "arguments", [("fit", "-c", "x"), ("explain", "--ckpt_path", "x"), ("import", "x", "--to", "y")]
)
def test_a_pipe_is_not_waited_for(arguments: tuple[str, ...], asim: Asim, folder: Path) -> None:
    os.mkfifo("x")
    assert asim(*arguments).code == 2
