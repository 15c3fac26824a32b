"""Files of people unknown: each that is no good is refused in one line, and none runs, hangs or fills the memory."""

import io
import json
import os
import struct
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.cli.conftest import Asim, Run
from tests.cli.wrong_inputs import FIT, VALIDATE, Wrong, assert_refused, changed, recipe, saved

OPENED = "opened-by-a-file"


class Hostile:
    """Makes a file when a careless reader unpickles it."""

    def __reduce__(self) -> Any:
        return os.system, (f"touch {OPENED}",)


NO_YAML = "a: [1, 2\nb: }\n"
PLAN = (*VALIDATE, "--model.plan", "plan.yaml")

YAML = {
    "key twice": recipe("tiny.yaml, line 3, is not YAML: the key 'model'", "model: {}\nseed_everything: 1\nmodel: {}"),
    "number of 5,000 digits": recipe("tiny.yaml is not YAML: Exceeds the limit", f"model: {{trial: {'1' * 5000}}}"),
    "tag that runs code": recipe(
        "line 1, is not YAML: could not determine a constructor for the tag",
        f"model: !!python/object/apply:os.system ['touch {OPENED}']",
    ),
    "number as key": recipe("Key must be a string, got: 1.", "model: {1: 2}"),
    "UTF-16": recipe("tiny.yaml must be a YAML file, got one that is no text", "model: {}".encode("utf-16")),
    "flag: key twice": Wrong((*VALIDATE, "--model.backbone.kwargs", "{a: 1, a: 2}"), "must be dict, got {a: 1, a: 2}"),
    "plan: key twice": Wrong(PLAN, "plan.yaml: the key 'keep' stands twice", {"plan.yaml": "keep: [a]\nkeep: [b]"}),
    "plan: no text": Wrong(PLAN, "plan.yaml: 'utf-8' codec can't decode", {"plan.yaml": bytes(range(256))}),
    "plan: no YAML": Wrong(PLAN, "plan.yaml: while parsing a flow sequence", {"plan.yaml": NO_YAML}),
    "plan: a list": Wrong(PLAN, "a mapping of settings, or a YAML file of one, got plan.yaml", {"plan.yaml": "[1]"}),
    "plan: nothing": Wrong(PLAN, "a mapping of settings, or a YAML file of one, got plan.yaml", {"plan.yaml": ""}),
    "plan: wrong type": Wrong(
        PLAN,
        "plan.yaml: `model.plan.macro.adc_bits` must be int or null, got x",
        {"plan.yaml": "macro: {adc_bits: x}"},
    ),
    "group that a recipe names": recipe("p.json: while parsing", "model: {plan: p.json}", **{"p.json": NO_YAML}),
    "group beside a recipe": Wrong(
        ("validate", "-c", "sub/r.yaml"), "p: while parsing", {"sub/r.yaml": "model: {plan: p}", "sub/p": NO_YAML}
    ),
    "whole model": Wrong((*VALIDATE, "--model", "m"), "m: while parsing", {"m": NO_YAML}),
}

CHECKED = ("validate", "--ckpt_path", "x.ckpt")
RESUMED = (*FIT, "--ckpt_path", "x.ckpt")
EXPORT = ("export", "x.ckpt", "--to", "y.pth", "--format", "timm")
WEIGHT = "backbone.conv1.0.weight"
STATE = {"state": {}, "param_groups": []}


def wrong(message: str, content: Any, command: tuple[str, ...] = CHECKED) -> Wrong:
    """A row of a checkpoint."""
    return Wrong(command, message, {"x.ckpt": content})


def with_weight(value: torch.Tensor) -> Any:
    """The tiny network's checkpoint with another first weight."""
    return saved(lambda c: {**c, "state_dict": {**c["state_dict"], WEIGHT: value}})


def settings(**values: Any) -> Any:
    """A checkpoint with other hyperparameters."""
    return saved(lambda c: {**c, "hyper_parameters": {**c["hyper_parameters"], **values}})


BY_NAME = "x.ckpt must hold its settings by name as hyper_parameters, got "
CHECKPOINTS = {
    "no settings": wrong(f"{BY_NAME}None", changed(hyper_parameters=None)),
    "list of settings": wrong(f"{BY_NAME}a list", changed(hyper_parameters=[1])),
    "text of settings": wrong(f"{BY_NAME}'abc'", changed(hyper_parameters="abc")),
    "numbers as keys": wrong("`model.1` is no setting", changed(hyper_parameters={1: 2})),
    "numbers as keys of a group": wrong("`model.plan.1` is no setting", settings(plan={1: 2})),
    "null group": wrong("The settings in x.ckpt do not fit: `model.plan` must be a mapping", settings(plan=None)),
    "list as group": wrong("do not fit: `model.backbone` must be a mapping of settings", settings(backbone=[1])),
    "tensor as setting": wrong("`model.num_classes` must be an integer", settings(num_classes=torch.zeros(2))),
    "alias in a setting": wrong("kwargs` must be a mapping of settings", settings(backbone={"kwargs": "{a: &a [*a]}"})),
    "classes": wrong("`model.num_classes` must be 2", settings(num_classes=1)),
    "long name": wrong("The settings in x.ckpt do not fit: `model.xxx", settings(**{"x" * 100_000: 1})),
    "weights for timm to read": wrong(
        "`model.backbone.kwargs` must not hold checkpoint_path: `model.backbone.pretrained` names",
        settings(backbone={"kwargs": {"checkpoint_path": "x.ckpt"}}),
    ),
    "numbers as names": wrong("tensors by name, got a mapping of 1", changed(state_dict={1: torch.zeros(2)})),
    "texts as weights": wrong("tensors by name, got a mapping of a", changed(state_dict={"a": "b"})),
    "version": wrong("Invalid version: None", changed(**{"pytorch-lightning_version": None}), RESUMED),
    "meta": wrong("tensors by name, got a mapping of backbone.", with_weight(torch.zeros(3, 1, 3, 3, device="meta"))),
    "export: name": wrong("`model.backbone.name` must be a text", settings(backbone={"name": 3}), EXPORT),
}


def old_format(value: Any) -> Any:
    """What torch.save wrote before it wrote zip files."""

    def content(_: dict[str, Any]) -> bytes:
        file = io.BytesIO()
        torch.save(value, file, _use_new_zipfile_serialization=False)
        return file.getvalue()

    return content


IMPORT = ("import", "x.pth", "--to", "y.ckpt")
FILES = {
    "no zip directory": wrong("x.ckpt is no checkpoint, or a damaged one", b"PK\3\4" + bytes(40)),
    "hostile, old format": wrong("got posix.system, which could run code", old_format(Hostile())),
    "cut off": wrong("x.ckpt is no checkpoint, or a damaged one", lambda c: saved(c)(c)[:30_000]),
    "YAML": Wrong((*VALIDATE, "--ckpt_path", "tiny.yaml"), "tiny.yaml is no checkpoint, or a damaged one"),
}


def safetensors(header: Any, body: bytes = bytes(8)) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + body


def described(shape: list[int], end: int, kind: str = "F32") -> dict[str, Any]:
    return {"a": {"dtype": kind, "shape": shape, "data_offsets": [0, end]}}


def imported(message: str, content: Any, name: str = "x.safetensors", **files: Any) -> Wrong:
    return Wrong(("import", name, "--to", "y.ckpt"), message, {name: content, **files})


DAMAGED = "x.safetensors is no .safetensors file, or a damaged one: "
WEIGHTS = {
    "no header": imported(DAMAGED, b"abc"),
    "header longer than the file": imported(DAMAGED, struct.pack("<Q", 2**62) + b"{}"),
    "header of lists": imported(DAMAGED, safetensors(b"[" * 100_000)),
    "offsets behind the end": imported(DAMAGED, safetensors(described([2**40], 2**42))),
    "shape that overflows": imported(DAMAGED, safetensors(described([2**62, 4], 8))),
    "shape of another size": imported(DAMAGED, safetensors(described([2**20], 8))),
    "overlapping": imported(DAMAGED, safetensors({**described([2], 8), "b": described([2], 8)["a"]})),
    "no tensors": imported(
        "x.safetensors must hold a state dict, tensors by name, got a mapping of nothing", safetensors({}, b"")
    ),
    "numbers as names": imported("tensors by name, got a mapping of 1", saved({1: torch.zeros(2)}), "x.pth"),
    "empty": imported("tensors by name, got a mapping of nothing", saved({}), "x.pth"),
    "hostile": imported("got posix.system, which could run code", saved({"a": Hostile()}), "x.pkl"),
    "weights for timm to read": Wrong(
        (*IMPORT, "--network", "resnet18", "--kwargs", "{checkpoint_path: x.pth}"),
        "`model.backbone.kwargs` must not hold checkpoint_path",
        {"x.pth": saved({"a": torch.zeros(2)})},
    ),
}

PYTHON = {
    "code": "c.py, line 2: a line must be cfg.NAME = VALUE, an import, ",
    "deep": "c.py is not Python:",
    "power": "c.py, line 1: a value must be a number",
    "digits": "c.py is not Python: Exceeds the limit",
}
CODE = {
    "code": f"import os\nos.system('touch {OPENED}')",
    "deep": "a = " + "-" * 50_000 + "1",
    "power": "cfg.adc_prec = 9**9**9**9",
    "digits": "cfg.adc_prec = " + "9" * 5000,
}

ROWS = {
    **{f"YAML: {name}": row for name, row in YAML.items()},
    **{f"checkpoint: {name}": row for name, row in CHECKPOINTS.items()},
    **{f"file: {name}": row for name, row in FILES.items()},
    **{f"weights: {name}": row for name, row in WEIGHTS.items()},
    **{f"config.py: {name}": Wrong(("import", "c.py", "--to", "y.yaml"), said, {"c.py": CODE[name]})
       for name, said in PYTHON.items()},
}  # fmt: skip


@pytest.mark.timeout(60)
@pytest.mark.parametrize("wrong", ROWS.values(), ids=ROWS)
def test_files(wrong: Wrong, asim: Asim, folder: Path, run: Run) -> None:
    assert_refused(wrong, asim, folder, run)


@pytest.mark.timeout(60)
@pytest.mark.parametrize(
    "arguments", [("fit", "-c", "x"), ("explain", "--ckpt_path", "x"), ("export", "x", *EXPORT[2:])]
)
def test_a_pipe_as_recipe_or_checkpoint_is_not_waited_for(arguments: tuple[str, ...], asim: Asim, folder: Path) -> None:
    os.mkfifo("x")
    assert asim(*arguments).error.startswith("x is a pipe or a device; a file (.")


@pytest.mark.timeout(60)
def test_a_pipe_is_not_waited_for(asim: Asim, folder: Path) -> None:
    os.mkfifo("x.pth")
    assert asim(*IMPORT).error == "There is no file 'x.pth'"


def test_what_is_just_allowed(asim: Asim, folder: Path) -> None:
    (folder / "deep.yaml").write_text("model: {train_noise_args: {a: " + "[" * 97 + "]" * 97 + "}}")
    assert "`train_noise_args` does not fit proportional" in asim("validate", "-c", "deep.yaml").error
    (folder / "shared.yaml").write_text(
        "model: {plan: {rules: [{match: x, macro: &a {rows: 9}}, {match: y, macro: *a}]}}"
    )
    assert "`plan.rules` matches no layer with 'x'" in asim("validate", "-c", "shared.yaml").error
