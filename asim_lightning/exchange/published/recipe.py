"""A recipe for the command line from a published config.py."""

import re
import shlex
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path, PureWindowsPath
from typing import Any

from asim_lightning.circuit import MacroConfig
from asim_lightning.exchange.network import published_dropout
from asim_lightning.exchange.published.data import PublishedData, data_of
from asim_lightning.exchange.published.keys import NETWORKS
from asim_lightning.exchange.published.macros import PublishedPlan, plan_of
from asim_lightning.exchange.published.reading import ConfigReading
from asim_lightning.exchange.published.statements import read_published_config
from asim_lightning.exchange.published.text import in_comment, section, setting
from asim_lightning.exchange.published.training import (
    PublishedEvaluation,
    PublishedTraining,
    evaluation_of,
    training_of,
)

_FIGURE_9A = (0, 0.025, 0.05, 0.075, 0.1, 0.125, 0.15, 0.175, 0.2)
_LARGE = 100  # pixels above which the published networks have their large form
_SIZE_OF_TIMM = 224
_ABOUT_MACRO = {
    "weight_bits": "bits, sign included",
    "input_bits": "bits, sign included where inputs are signed",
    "rows": "rows a column sums; also its full scale in counts",
    "adc_bits": "bits; null: an ideal converter",
    "encoding_bits": "input bits a cycle; 1 is bit-serial",
    "random_noise": "% of full scale, or with a unit: 0.13 lsb",
    "nonlinear_noise": "% of full scale at count 0, shrinking as 1/sqrt(count + 1)",
    "digital_levels": "anti-diagonals of cycles, from the most significant, that are digital",
    "digital_adc": "as published: digital cycles pass the ADC, too; false: they are exact",
}


@dataclass(frozen=True)
class Recipe:
    """A recipe, and what it leaves out."""

    text: str
    """The recipe, YAML."""
    notes: tuple[str, ...]
    """A line for each setting without counterpart: its name, its value, and what to do instead."""


@dataclass(frozen=True)
class _Network:
    published: str
    name: str
    image_size: int
    small: bool
    classes: int

    @property
    def is_transformer(self) -> bool:
        return self.name.startswith("vit")

    @property
    def kwargs(self) -> dict[str, Any]:
        own_size = self.is_transformer and self.image_size != _SIZE_OF_TIMM
        return {**({"img_size": self.image_size} if own_size else {}), **published_dropout(self.name)}


def recipe_of(path: str | Path, recipe: str = "recipe.yaml") -> Recipe:
    """The recipe that does what a published config.py says, for validate, sweep and fit.

    The file is read as text: nothing of it is executed.

    Args:
        path: The config.py.
        recipe: What the recipe's own commands call it.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: The file is no published config.py, or a value of it is not allowed; one sentence with its line.
    """
    config = read_published_config(path)
    missing = [name for name in ("task", "model_name") if name not in config.settings]
    if missing:
        found = f"{len(config.settings)} settings without cfg.{missing[0]}"
        raise ValueError(f"{config.path} must be a published config.py with cfg.task and cfg.model_name, got {found}")
    reading = ConfigReading(config)
    published = reading.choice("model_name", tuple(NETWORKS))
    name = NETWORKS[published]
    data = data_of(reading, is_large=name.startswith("vit"))
    network = _network(reading, published, name, data)
    plan = plan_of(reading, name)
    evaluation = evaluation_of(reading, network.is_transformer)
    training = training_of(reading, network.is_transformer, network.classes)
    weights = reading.text("pretrain_model_path")
    if weights is not None:
        command, checkpoint = _import_command(weights)
        what = f"the recipe runs without weights; `{command}`, then --ckpt_path {checkpoint}"
        reading.note("pretrain_model_path", what)
    lines = [
        *_head(network, data, evaluation, weights, recipe),
        *_trainer(evaluation, training),
        *_model(network, evaluation, training),
        *_plan(plan, network),
        *_optimizer(training),
        *_data(data, evaluation, training),
        *_sweep(plan.plan.macro),
    ]
    return Recipe("\n".join(lines) + "\n", reading.notes(published))


def _network(reading: ConfigReading, published: str, name: str, data: PublishedData) -> _Network:
    classes = reading.whole("cls_num", 2)
    if data.task.classes not in (None, classes):
        raise reading.error("cls_num", f"must be {data.task.classes}, as in {data.task.module}, got {classes}")
    reading.ignore("large_model")
    large = data.image_size > _LARGE
    is_transformer = name.startswith("vit")
    if reading.has("large_model") and not is_transformer:
        large = reading.flag("large_model")
    patch = int(name.split("patch")[1].split("_")[0]) if is_transformer else 1
    if data.image_size < patch:
        raise reading.error("image_size", f"must be {patch} or more, a patch of {published}, got {data.image_size}")
    return _Network(published, name, data.image_size, not large and not is_transformer, classes)


def _import_command(weights: str) -> tuple[str, str]:
    """The command that imports weights, and the checkpoint that it writes."""
    stem = PureWindowsPath(weights).stem  # reads both kinds of slashes
    given, checkpoint = _word(weights), _word(f"{stem}.ckpt")
    return in_comment(f"asim import {given} --to {checkpoint}"), in_comment(checkpoint)


def _word(text: str) -> str:
    """A text as one word for the shells of all systems; of Windows, which know no single quotes, where it may be."""
    return f'"{text}"' if re.fullmatch(r"[\w:\\. -]+", text) and ("\\" in text or " " in text) else shlex.quote(text)


def _head(
    network: _Network, data: PublishedData, evaluation: PublishedEvaluation, weights: str | None, recipe: str
) -> Iterator[str]:
    what = "training" if evaluation.trains else "evaluation"
    yield f"# {network.published} on {data.task.module}: {what} as in a config.py of the published simulator."
    named = in_comment(shlex.quote(recipe))
    yield f"# asim {'fit' if evaluation.trains else 'validate'} -c {named}"
    yield f"# asim {'validate' if evaluation.trains else 'fit'} -c {named}"
    yield f"# asim sweep -c {named}"
    if weights is not None:
        command, checkpoint = _import_command(weights)
        yield "# With the weights that the config.py names, give each of these a checkpoint, which is imported once:"
        yield f"# {command}"
        yield f"# --ckpt_path {checkpoint}"


def _trainer(evaluation: PublishedEvaluation, training: PublishedTraining) -> Iterator[str]:
    about = "auto: a GPU where there is one" if evaluation.accelerator == "auto" else "the device"
    yield setting(0, "seed_everything", 0, "of weights and dropout (model.noise_seed: noise); published: none")
    yield section(0, "trainer")
    yield setting(1, "max_epochs", training.epochs, "passes over the training images")
    yield setting(1, "accelerator", evaluation.accelerator, about)
    yield setting(1, "devices", 1, "of them; more share the work, each with batches of its own")
    yield setting(1, "precision", "32-true", "of what is not on a macro; bf16-mixed may be faster on a GPU")
    yield setting(1, "log_every_n_steps", training.log_interval, "steps between two log entries of a fit")


def _model(network: _Network, evaluation: PublishedEvaluation, training: PublishedTraining) -> Iterator[str]:
    yield section(0, "model")
    yield setting(1, "num_classes", network.classes, "classes of the data")
    yield setting(1, "fidelity", evaluation.fidelity, "simulated: bit by bit; quantized: integers without macro; float")
    yield setting(1, "noise_seed", 0, "seed of the macro's noise")
    yield setting(1, "train_noise", evaluation.train_noise, "% of each output, while training alone")
    yield setting(1, "train_noise_model", "proportional", "each output times 1 + N(0, noise), as published")
    yield setting(1, "label_smoothing", training.label_smoothing, "0..1; published eps times classes / (classes - 1)")
    yield setting(1, "mixup", training.mixup, "alpha; 0 is off")
    yield section(1, "backbone")
    yield setting(2, "name", network.name, "timm's name")
    if network.kwargs:
        yield setting(2, "kwargs", network.kwargs, "dropout as published, while training")
    if network.small:
        yield setting(2, "small", True, "the published form for small images: first stride 1, fewer max-pools")
    yield setting(2, "image_size", network.image_size, "pixels")
    if network.is_transformer:
        yield setting(2, "attention_scale", "embed_dim", "scores times embed_dim ** -0.5, as published; timm: head_dim")
        yield setting(2, "norm_eps", 1e-5, "of layer norms, as published; timm: 1.0e-6")


def _plan(published: PublishedPlan, network: _Network) -> Iterator[str]:
    plan = published.plan
    yield section(1, "plan")
    if plan.stem != "published":
        yield setting(2, "stem", plan.stem, "the patch embedding is digital: integers without macro")
    if not network.is_transformer:
        yield setting(2, "pact", plan.pact, "whether each ReLU becomes a PACT, a ReLU with a learned clip")
    if plan.pact_keep:
        yield setting(
            2, "pact_keep", plan.pact_keep, "stays a ReLU, as published: the one behind the first convolution"
        )
    about = "fitted to training images and stored; published: the batch's maximum"
    yield setting(2, "input_range", plan.input_range, about)
    yield section(2, "macro")
    macro = asdict(plan.macro)
    for field, comment in _ABOUT_MACRO.items():
        if not field.startswith("digital") or plan.macro.digital_levels:
            yield setting(3, field, macro[field], comment)
    if plan.rules:
        yield section(2, "rules", "layers whose macro differs")
    for match, layers, changes in published.rules:
        yield setting(3, "- match", match, layers)
        yield setting(4, "macro", changes, "fields that differ, in their units above")


def _optimizer(training: PublishedTraining) -> Iterator[str]:
    yield section(1, "optimizer")
    yield setting(2, "name", training.optimizer, "sgd, adam or adamw")
    yield setting(2, "lr", training.lr, "learning rate at the start")
    yield setting(2, "momentum", training.momentum, "of sgd, 0..1")
    yield setting(2, "weight_decay", training.weight_decay, "a step and unit of learning rate")
    yield setting(2, "schedule", "multistep", "lowered at the milestones")
    yield setting(2, "milestones", training.milestones, "fractions of the epochs")
    yield setting(2, "gamma", training.gamma, "factor of the learning rate at a milestone")


def _data(data: PublishedData, evaluation: PublishedEvaluation, training: PublishedTraining) -> Iterator[str]:
    yield section(0, "data")
    yield setting(1, "class_path", f"asim_lightning.data.{data.task.module}", "any LightningDataModule")
    yield section(1, "init_args")
    yield setting(2, "root", data.root, f"folder that holds {data.task.tree}")
    yield setting(2, "image_size", data.image_size, "pixels that pictures are squashed to")
    yield setting(2, "augment", data.augment, "of training pictures: published, crop_flip or none")
    if data.normalize is not None:
        mean, deviation = data.normalize
        yield setting(2, "normalize", {"mean": mean, "std": deviation}, "of the three channels, in 0..1")
    yield setting(2, "held_out", 0, "training images to validate on; 0: the test images, as published")
    yield setting(2, "test_images", None, "evaluation on the first so many; null: all")
    yield setting(2, "batch_size", training.batch_size, "images a step, on each device")
    yield setting(2, "eval_batch_size", evaluation.batch_size, "images a batch in evaluation, on each device")
    yield setting(2, "num_workers", evaluation.workers, "processes that prepare batches")


def _sweep(macro: MacroConfig) -> Iterator[str]:
    noise = macro.random_noise_percent
    levels = tuple(round(noise * part, 6) for part in (0, 0.5, 1, 1.5, 2) if noise * part <= 100)
    of_figure = "% of full scale, as in the published Fig. 9a"
    yield section(0, "axes", "sweep alone: values of fields of model.plan.macro; several axes: every combination")
    about = "of every layer, % of full scale, around the config's" if noise else of_figure
    yield setting(1, "random_noise", levels if noise else _FIGURE_9A, about)
    yield setting(0, "trials", 2, "sweep alone: reads of the chip for each noisy point")
