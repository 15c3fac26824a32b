"""A recipe for the command line from a published config.py."""

import shlex
from pathlib import Path
from typing import Any

import yaml

from asim_lightning.checks import check_choice
from asim_lightning.circuit import MacroConfig
from asim_lightning.exchange.layouts import PUBLISHED_VITS, RESNETS, VGGS, published_dropout
from asim_lightning.exchange.published.config_file import Given
from asim_lightning.exchange.published.pictures import TASKS, pictures_of
from asim_lightning.exchange.published.plan import plan_of

NETWORKS = {
    **{f"ResNet-{name.removeprefix('resnet')}": name for name in RESNETS[:5]},
    **{name.upper().replace("_", "-"): name for name in VGGS},
    **dict(zip(("ViT-B-16", "ViT-B-32", "ViT-L-16", "ViT-L-32", "ViT-H-14"), PUBLISHED_VITS, strict=True)),
}
"""timm's name of each published network."""
_FIGURE_9A = (0, 0.025, 0.05, 0.075, 0.1, 0.125, 0.15, 0.175, 0.2)
_SIZE_OF_TIMM = 224
_LIST = "tag:yaml.org,2002:seq"
_MODES = ("Train", "Inference", "Simulation")
_COMMENTS = {
    "seed_everything": "of weights and dropout (model.noise_seed: noise); published: none",
    "max_epochs": "passes over the training images",
    "accelerator": "auto: a GPU if there is one",
    "devices": "number of them; several share the work, each with batches of its own",
    "precision": "of layers that are not on a macro; bf16-mixed may be faster on a GPU",
    "log_every_n_steps": "steps between two log entries of a fit",
    "num_classes": "classes of the data",
    "fidelity": "simulated: bit by bit; quantized: integers without macro; float",
    "noise_seed": "seed of the macro's noise",
    "train_noise": "% of each output, only while training",
    "train_noise_model": "each output times 1 + N(0, noise), as published",
    "label_smoothing": "0..1; published eps times classes / (classes - 1)",
    "mixup": "alpha; 0 is off",
    "small": "the published form for small images: first stride 1, fewer max-pools",
    "image_size": "pixels",
    "pact": "whether each ReLU becomes a PACT, a ReLU with a learned clip",
    "input_range": "fitted to training images and stored; published: the batch's maximum",
    "weight_bits": "bits, sign included",
    "input_bits": "bits, sign included if inputs are signed",
    "rows": "rows that a column sums; also its full scale in counts",
    "adc_bits": "bits; null: an ideal converter",
    "encoding_bits": "input bits a cycle; 1 is bit-serial",
    "random_noise": "% of full scale, or with a unit: 0.13 lsb",
    "nonlinear_noise": "% of full scale at count 0, shrinking as 1/sqrt(count + 1)",
    "lr": "learning rate at the start",
    "momentum": "of sgd, 0..1",
    "weight_decay": "a step and unit of learning rate",
    "schedule": "lowered at the milestones",
    "milestones": "fractions of the epochs",
    "gamma": "factor of the learning rate at a milestone",
    "class_path": "any LightningDataModule",
    "root": "folder of the images: {train,test}/<class>/*.png, or the data set's own files",
    "augment": "of training images: published, crop_flip or none",
    "held_out": "training images to validate on; 0: the test images, as published",
    "test_images": "evaluation on so many of the first images; null: all",
    "batch_size": "images a step, on each device",
    "eval_batch_size": "images a batch in evaluation, on each device",
    "num_workers": "processes that prepare batches",
    "axes": "only for sweep: values of fields of model.plan.macro; several axes: every combination",
    "trials": "only for sweep: reads of the chip for each noisy point",
}
"""Meaning and unit of the keys of a recipe."""
_DEVICES = {"cpu": "cpu", "mps": "mps", "cuda": "auto"}


def recipe_of(path: str | Path, recipe: str = "recipe.yaml") -> tuple[str, tuple[str, ...]]:
    """The recipe (YAML) with the settings of a published config.py, for validate, sweep and fit, and notes: a line for
    each setting without counterpart, with its value and what to do instead.

    The file is read as text: no part of it is run. `recipe` is the name of the recipe in its own commands.
    """
    given = Given(Path(path))
    for name, allowed in (("task", TASKS), ("model_name", NETWORKS)):
        if name not in given.settings:
            raise ValueError(
                f"{path} must be a published config.py with cfg.task and cfg.model_name, got no cfg.{name}"
            )
        check_choice(f"{path}: cfg.{name}", given.value(name), tuple(allowed))
    published, task = given.value("model_name"), TASKS[given.value("task")]
    network = NETWORKS[published]
    is_transformer = network.startswith("vit")
    mode, noise = _mode_and_noise(given, is_transformer)
    trains, plan = mode == "Train", plan_of(given, network)
    fidelity = "simulated" if mode == "Simulation" else "estimated" if not trains and noise else "quantized"
    what, commands = "evaluation", ["validate", "fit", "sweep"]
    if trains:
        what, commands = "training", ["fit", "validate", "sweep"]
    if given.value("pretrain_model_path") is not None:
        model = "the recipe runs without weights; `asim import` makes a checkpoint of them, for --ckpt_path"
        given.note("pretrain_model_path", model)
    own_noise = MacroConfig(random_noise=plan["macro"]["random_noise"]).random_noise_percent
    order = slice(None, None, 1 if trains else -1)
    settings = {
        "seed_everything": 0,
        "trainer": {
            "max_epochs": given.value("max_epoch"), "accelerator": _accelerator(given), "devices": 1,
            "precision": "32-true", "log_every_n_steps": given.value("log_interval"),
        },
        "model": {
            "num_classes": given.value("cls_num"), "fidelity": fidelity, "noise_seed": 0, "train_noise": noise,
            "train_noise_model": "proportional", **_losses(given), "backbone": _backbone(given, network), "plan": plan,
            "optimizer": _optimizer(given, is_transformer),
        },
        "data": {
            "class_path": f"asim_lightning.data.{task.module}",
            "init_args": {
                **pictures_of(given, task), "held_out": 0, "test_images": None, "batch_size": given.value("train_bs"),
                "eval_batch_size": given.one_of("data.init_args.eval_batch_size", ["valid_bs", "test_bs"][order]),
                "num_workers": given.one_of("data.init_args.num_workers", ["train_workers", "test_workers"][order]),
            },
        },
        "axes": {"random_noise": sorted({*_FIGURE_9A, own_noise})},
        "trials": 2,
    }  # fmt: skip
    head = f"# {published} on {task.module}: {what} as in a config.py of the published simulator.\n"
    head += "".join(f"# asim {command} -c {shlex.quote(recipe)}\n" for command in commands)
    text = yaml.dump(settings, Dumper=_Dumper, sort_keys=False, width=110)
    return head + "".join(map(_with_comment, text.splitlines())), given.notes(is_transformer)


def _with_comment(line: str) -> str:
    """A line of a recipe with the meaning and unit of its key, if they are known."""
    key = line.strip().partition(":")[0]
    return f"{line:33} # {_COMMENTS[key]}\n" if key in _COMMENTS else f"{line}\n"


class _Dumper(yaml.SafeDumper):
    """Writes a list, or tuple, on one line."""


for _kind in (list, tuple):
    _Dumper.add_representer(_kind, lambda dumper, data: dumper.represent_sequence(_LIST, data, flow_style=True))


def _mode_and_noise(given: Given, is_transformer: bool) -> tuple[str, float]:
    """The published mode and training noise of all layers."""
    parts = ("vit_mlp", "vit_attn", "vit_fc") if is_transformer else ("conv", "linear")
    noises = ("vit_mlp", "vit_attn_attn", "vit_attn_proj", "vit_fc") if is_transformer else parts
    modes = [f"asim_{part}_mode" for part in parts]
    for name in modes:
        check_choice(f"{given.file}: cfg.{name}", given.value(name), _MODES)
    modes.sort(key=lambda name: -_MODES.index(given.value(name)))
    if not is_transformer or given.value("vit_quant_conv_proj"):
        stem_mode = "asim_vit_quant_conv_mode" if is_transformer else "quant_conv_mode"
        given.note(stem_mode, "nothing to do: this layer is digital, and the same integers at every fidelity")
    in_python = "in Python, layer.{} is one for each layer"
    noise = given.one_of("model.train_noise", [f"asim_{part}_trim_noise" for part in noises], in_python)
    return given.one_of("model.fidelity", modes, in_python), noise


def _accelerator(given: Given) -> str:
    device = given.value("device") or "cuda"
    accelerator = _DEVICES.get(device.partition(":")[0], "auto")
    if device not in _DEVICES:
        flags = "--trainer.accelerator NAME and --trainer.devices [NUMBER] choose another"
        given.note("device", f"the recipe has `trainer.accelerator: {accelerator}`; {flags}")
    return accelerator


def _losses(given: Given) -> dict[str, float]:
    # the published share goes only to the other classes; torch gives a part of it to the right class
    classes = given.value("cls_num")
    share = given.value("label_smooth_eps") * classes / (classes - 1) if given.value("label_smooth") else 0
    return {"label_smoothing": share, "mixup": given.value("mixup_alpha") if given.value("mixup") else 0}


def _backbone(given: Given, network: str) -> dict[str, Any]:
    size, kwargs = given.value("image_size"), dict[str, Any](published_dropout(network))
    if network.startswith("vit"):
        form: dict[str, Any] = {"attention_scale": "embed_dim", "norm_eps": 1e-5}
        kwargs |= {"img_size": size} if size != _SIZE_OF_TIMM else {}
    else:
        form = {} if given.value("large_model") else {"small": True}
    return {"name": network, **({"kwargs": kwargs} if kwargs else {}), "image_size": size, **form}


def _optimizer(given: Given, is_transformer: bool) -> dict[str, Any]:
    """The optimizer; published transformers are trained with Adam and without weight decay."""
    if is_transformer:
        for name in ("momentum", "weight_decay"):
            given.note(name, "nothing to do: the published code trains transformers with Adam and without it")
    epochs, milestones = given.value("max_epoch"), given.value("milestones")
    if milestones is None:
        milestones = (0.6 * epochs, 0.9 * epochs)
    return {
        "name": "adam" if is_transformer else "sgd",
        "lr": given.value("lr_init"),
        "momentum": 0.9 if is_transformer else given.value("momentum"),
        "weight_decay": 0.0 if is_transformer else given.value("weight_decay"),
        "schedule": "multistep",
        # a milestone after the last epoch has no effect there
        "milestones": [round(epoch / epochs, 6) for epoch in milestones if epoch <= epochs],
        "gamma": given.value("factor"),
    }
