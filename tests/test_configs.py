"""Every shipped recipe says its commands, explains each key, and builds; one is trained and simulated."""

import json
import os
import re
import shlex
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import yaml
from lightning.pytorch.callbacks import ModelCheckpoint
from torch import nn

from asim_lightning.callbacks import NoiseRamp, NoiseSweep
from asim_lightning.classifier import CimClassifier
from asim_lightning.classifier.optimizer import build_optimizer
from asim_lightning.cli import main
from asim_lightning.cli.command_line import read_arguments
from asim_lightning.cli.parser import AsimCLI
from asim_lightning.cost import cost
from asim_lightning.data import Text
from asim_lightning.nn import PACT
from asim_lightning.resources import MACRO, shipped_file, shipped_folder
from tests.commands import parsed

FIGURE = "figure_"
"""Start of the names of recipes that go on top of a network's."""
RECIPES = sorted(path for path in shipped_folder("configs").glob("*.yaml") if not path.stem.startswith((MACRO, FIGURE)))
PUBLISHED_NOISE = {"resnet18_cifar10": 100, "resnet18_imagenet": 50, "vitb32_cifar10": 60}  # percent, of training
FIGURE_9A = [0, 0.025, 0.05, 0.075, 0.1, 0.125, 0.15, 0.175, 0.2]  # percent of full scale


def commands(path: Path) -> list[list[str]]:
    """The commands in a recipe's head, the one on line 2 first; without checkpoints, which a run would have to make."""
    head = [line[2:] for line in path.read_text().splitlines() if line.startswith("# ")]
    found = re.findall(r"asim ((?:fit|sweep|search|validate|test) -c .*(?:\n--.*)*)", "\n".join(head))
    return [shlex.split(re.sub(r" --ckpt_path \S+| gives .*", "", command)) for command in found]


def skip_without_packages(path: Path) -> None:
    """Skip the test where a package that a recipe names is not installed."""
    for package in re.findall(r"package:(\w+)", path.read_text()):
        if find_spec(package) is None:
            pytest.skip(f"needs what is in the package {package}")


def built(path: Path, *more: str) -> AsimCLI:
    """A command that is parsed, and whose network, data and trainer are built."""
    skip_without_packages(path)
    return AsimCLI(read_arguments([*commands(path)[0], *more]))


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder to work in; networks without torch's initial weights, which timm's own replace nearly all."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(nn.init, "kaiming_uniform_", lambda tensor, *_, **__: nn.init.zeros_(tensor))
    return tmp_path


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_recipe_says_its_command_and_explains_its_keys(path: Path) -> None:
    lines = path.read_text().splitlines()
    assert re.fullmatch(rf"# asim \w+ -c configs/{path.stem}\.yaml.*", lines[1])
    settings = [found for line in lines if (found := re.match(r"\s*(- )?(\w+): *([^#\s].*)?$", line))]
    values = [setting[0].strip() for setting in settings if setting[3]]
    assert values
    assert [value for value in values if "#" not in value] == []  # has no comment
    first, *others = commands(path)
    assert first[:3] == shlex.split(lines[1])[2:5]
    for words in others:
        parsed(words)


SMALLER = {
    "vitb": {"depth": 2, "embed_dim": 96, "num_heads": 3}, "vgg": {"mlp_ratio": 0.01},
    "resnet": {"channels": [8, 8, 16, 16]},
}  # fmt: skip
"""Arguments of a network that is quickly built, by the beginning of its recipe."""


def checked(path: Path) -> AsimCLI:
    """A recipe that is built, with a smaller network, and whose network is on macros and fits its data."""
    smaller = next((kwargs for name, kwargs in SMALLER.items() if path.stem.startswith(name)), None)
    flags = []
    if smaller is not None:
        kwargs = parsed(commands(path)[0]).model.backbone.kwargs
        flags = ["--model.backbone.kwargs", json.dumps({**(kwargs or {}), **smaller})]
    cli = built(path, *flags)
    data: Any = cli.datamodule
    assert cli.model.report.on_macro
    if isinstance(data, Text):
        network: Any = cli.model.backbone
        known = network.config.vocab_size if hasattr(network, "config") else network.tokens.num_embeddings
        assert cli.model.hparams["backbone"]["input_values"] == data.vocabulary == known
    else:
        assert type(data).__name__ == "ImageNet" or data.num_classes == cli.model.num_classes
        assert data.image_size == cli.model.hparams["backbone"]["image_size"]
    assert_has_a_cost(cli.model)
    for name, assert_published in PUBLISHED.items():
        if path.stem.startswith(name):
            assert_published(cli.model)
    return cli


def assert_has_a_cost(model: CimClassifier) -> None:
    """Every layer of a network has a cost for one image, with the multiplications that its conversion counted."""
    found = cost(model.backbone, example=model.example, report=model.report)
    macs = {row.name: row.macs for row in model.report if row.macs}
    assert {layer.name: layer.done.macs for layer in found.layers} == macs
    assert {layer.name for layer in found.layers if layer.macro} == {row.name for row in model.report.on_macro}
    assert all(layer.energy.total > 0 and (layer.macro or layer.why_digital) for layer in found.layers)


KINDS = {  # weight bits (of stored queries and values too) and input bits
    "qkv": {(8, 9)}, "qk": {(8, 9)}, "av": {(8, 8)}, "proj": {(8, 9)}, "mlp": {(8, 8)}, "head": {(8, 8)},
}  # fmt: skip


def assert_published_bits(model: CimClassifier) -> None:
    """Every layer of a transformer has the published bits."""
    rows = list(model.report)
    assert [row.name for row in rows if row.macro is None] == ["patch_embed.proj"]
    bits = {kind: {(row.macro.weight_bits, row.macro.input_bits) for row in rows if row.kind == kind} for kind in KINDS}
    assert bits == KINDS
    signed = {row.kind: row.input.split(":")[0] for row in rows if row.macro}
    assert signed == {kind: "unsigned" if kind == "av" else "signed" for kind in KINDS}
    assert {(row.macro.rows, row.macro.adc_bits) for row in rows if row.macro} == {(255, 8)}


def assert_published_layout(model: CimClassifier) -> None:
    """A small VGG has the published pooling and clips."""
    layers: Any = model.backbone.features
    kinds = [x.out_channels if isinstance(x, nn.Conv2d) else "M" for x in layers if hasattr(x, "kernel_size")]
    assert kinds == [64, 64, 128, 128, "M", 256, 256, 256, 512, 512, 512, 512, 512, 512, "M"]
    clips = [name for name, each in model.backbone.named_modules() if isinstance(each, PACT)]
    assert len(clips) == 14
    assert "features.2" not in clips  # a plain ReLU, as published
    assert [row.name for row in model.report.kept] == ["features.0"]
    assert all(row.input.startswith("unsigned") for row in model.report.on_macro)


PUBLISHED = {"vitb32": assert_published_bits, "vgg16_bn_cifar100_qat": assert_published_layout}


@pytest.mark.parametrize("path", sorted(shipped_folder("configs").glob(f"{FIGURE}*.yaml")), ids=lambda path: path.stem)
def test_figures_of_the_paper_go_on_top_of_a_network(path: Path) -> None:
    lines = path.read_text().splitlines()
    assert lines[1].startswith(f"# asim sweep -c resnet18_cifar10_sim -c {path.stem} ")
    for recipe in ("resnet18_cifar10_sim", "quickstart"):
        axes = parsed(["sweep", "-c", recipe, "-c", path.stem]).axes.as_dict()
        given = {name: values for name, values in axes.items() if values is not None}
        assert given == yaml.safe_load(path.read_text())["axes"]


FITS = [path for path in RECIPES if commands(path)[0][0] == "fit"]


SLOW = {"smollm2"}
"""Recipes whose weights take half a minute to read."""
OTHERS = [
    pytest.param(path, marks=pytest.mark.slow, id=path.stem) if path.stem in SLOW else path
    for path in RECIPES
    if path not in FITS
]


@pytest.mark.parametrize("path", OTHERS, ids=lambda path: path.stem)
def test_recipe_builds(path: Path, folder: Path) -> None:
    assert checked(path).command != "fit"
    assert os.listdir(folder) == []


@pytest.mark.parametrize("path", FITS, ids=lambda path: path.stem)
def test_recipe_of_a_fit_builds_with_what_it_trains_and_keeps(path: Path, folder: Path) -> None:
    cli = checked(path)
    model, trainer = cli.model, cli.trainer
    optimizer, _, _ = build_optimizer(model.optimizer_config, model.parameters(), trainer.max_epochs, 1000)
    assert len(optimizer.param_groups[0]["params"]) == len(list(model.parameters()))
    sweeps = [each for each in trainer.callbacks if isinstance(each, NoiseSweep)]
    for each in sweeps:
        each.setup(trainer, model, "fit")
    best = next(each for each in trainer.callbacks if isinstance(each, ModelCheckpoint) and each.monitor)
    assert best.filename == "best"
    of_training = "val/acc_simulated" if model.hparams["train_noise_model"] == "macro" else ""
    own = model.outcome.logged_as("val", is_estimate=False)
    assert best.monitor in ([of_training or own, "noise/acc_mean"] if sweeps else [of_training or own])
    assert best.mode == ("max" if model.outcome.more_is_better else "min")
    assert os.listdir(folder) == []


@pytest.mark.parametrize("name", PUBLISHED_NOISE)
def test_noise_aware_recipes_are_the_published_ones(name: str) -> None:
    settings = parsed(["fit", "-c", f"{name}_nat"])
    model, data = settings.model, settings.data.init_args
    assert (model.train_noise, model.train_noise_model) == (PUBLISHED_NOISE[name], "proportional")
    assert (settings.trainer.max_epochs, data.batch_size) == (80, 128)
    adam = name.startswith("vit")
    given = model.optimizer
    assert (given.name, given.lr, given.weight_decay) == (("adam", 1e-5, 0) if adam else ("sgd", 1e-3, 1e-4))
    assert (given.schedule, given.milestones, given.gamma) == ("multistep", [0.6, 0.9], 0.1)
    assert model.plan.pact is not adam
    assert data.image_size == (32 if name == "resnet18_cifar10" else 224)
    monitors = [each.init_args.get("monitor") for each in settings.trainer.callbacks if "init_args" in each]
    assert "noise/acc_mean" in monitors


@pytest.mark.parametrize("name", ["resnet18_cifar10_qat", "vgg16_bn_cifar100_qat"])
def test_quantisation_aware_recipes_are_the_published_ones(name: str) -> None:
    settings = parsed(["fit", "-c", name])
    given = settings.model.optimizer
    assert (settings.trainer.max_epochs, settings.data.init_args.batch_size) == (200, 128)
    assert (given.name, given.lr, given.momentum, given.weight_decay) == ("sgd", 0.01, 0.9, 1e-4)
    assert (settings.model.train_noise, settings.model.plan.pact) == (0, True)


PUBLISHED_SIMULATIONS = [path for path in RECIPES if path.stem.endswith("_sim") and "fashion" not in path.stem]


@pytest.mark.parametrize("path", PUBLISHED_SIMULATIONS, ids=lambda path: path.stem)
def test_simulating_recipes_serve_sweep_and_validate(path: Path) -> None:
    text = path.read_text().replace("# encoding_bits", "encoding_bits")  # the other lines of the figure
    Path("three_lines.yaml").write_text(text)
    settings = parsed(["sweep", "-c", "three_lines.yaml"])
    assert (settings.axes.random_noise, settings.axes.encoding_bits) == (FIGURE_9A, [1, 2, 4])
    macro = settings.model.plan.macro
    assert (macro.weight_bits, macro.input_bits, macro.rows, macro.adc_bits) == (8, 8, 255, 8)
    assert parsed(["validate", "-c", str(path)]).model.fidelity == "simulated"


def test_rising_noise_is_one_flag_away() -> None:
    head = shipped_file("configs", "resnet18_cifar10_nat").read_text()
    flags = re.search(r"(--trainer\.callbacks\+=\S+)\n# (--\S+) (--\S+)\n", head)
    assert flags
    cli = built(shipped_file("configs", "resnet18_cifar10_nat"), *flags.groups())
    ramp = next(each for each in cli.trainer.callbacks if isinstance(each, NoiseRamp))
    assert [ramp.noise(time, 80.0) for time in (0, 2, 4, 40)] == [0, 50, 100, 100]
    assert any(isinstance(each, NoiseSweep) for each in cli.trainer.callbacks)


@pytest.mark.slow
def test_real_weights_are_right_on_real_pictures(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = shipped_file("configs", "efficientnet_lite0_real")
    skip_without_packages(path)
    settings = parsed(["validate", "-c", str(path)])
    ways = [(way if isinstance(way, str) else (way.macro, way.layers)) for way in settings.compare]
    digital = {"depthwise": "quantized"}
    noises = [({"random_noise": noise}, layers) for layers in ({}, digital) for noise in (0, 0.05)]
    assert ways == ["float", "quantized", *noises]
    quiet = ["--compare", "[float, quantized, simulated]", "--model.plan.macro.random_noise", "0"]
    main(["validate", "-c", str(path), *quiet, "--data.init_args.test_images", "2"])
    said = [line for line in capsys.readouterr().out.splitlines() if line.startswith("accuracy ")]
    assert said[0] == "accuracy 100.00 % [34.24, 100.00] (float, 2 of 2 images)"
    assert said[1].replace("quantized", "simulated, no noise") == said[2]  # nothing is lost without noise
    assert os.listdir(folder) == []
