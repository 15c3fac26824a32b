"""A recipe for the command line from a published config.py."""

import json
import math
import shlex
from contextlib import suppress
from pathlib import Path
from typing import Any

import yaml

from asim_lightning.circuit import MacroConfig
from asim_lightning.exchange.layouts import published_dropout
from asim_lightning.exchange.published.given_settings import NETWORKS, Given
from asim_lightning.exchange.published.macro_settings import plan_of
from asim_lightning.exchange.published.picture_settings import TASKS, pictures_of
from asim_lightning.exchange.published.training_settings import evaluation_of, training_of

_RECIPE = """\
seed_everything: 0  # of weights and dropout (model.noise_seed: noise); published: none
trainer:
  max_epochs: {max_epoch}  # passes over the training images
  accelerator: {accelerator}  # auto: a GPU where there is one
  devices: 1  # of them; more share the work, each with batches of its own
  precision: 32-true  # of what is not on a macro; bf16-mixed may be faster on a GPU
  log_every_n_steps: {log_interval}  # steps between two log entries of a fit
model:
  num_classes: {cls_num}  # classes of the data
  fidelity: {fidelity}  # simulated: bit by bit; quantized: integers without macro; float
  noise_seed: 0  # seed of the macro's noise
  train_noise: {train_noise}  # % of each output, while training alone
  train_noise_model: proportional  # each output times 1 + N(0, noise), as published
  label_smoothing: {label_smoothing}  # 0..1; published eps times classes / (classes - 1)
  mixup: {mixup}  # alpha; 0 is off
  backbone:
    name: {network}  # timm's name
    kwargs: {kwargs}  # dropout as published, while training
    small: {small}  # the published form for small images: first stride 1, fewer max-pools
    image_size: {image_size}  # pixels
    attention_scale: {attention_scale}  # scores times embed_dim ** -0.5, as published; timm: head_dim
    norm_eps: {norm_eps}  # of layer norms, as published; timm: 1.0e-6
  plan:
    stem: {stem}  # the patch embedding is digital: integers without macro
    pact: {pact}  # whether each ReLU becomes a PACT, a ReLU with a learned clip
    pact_keep: {pact_keep}  # stays a ReLU, as published: the one behind the first convolution
    input_range: calibrated  # fitted to training images and stored; published: the batch's maximum
    macro:
      weight_bits: {weight_bits}  # bits, sign included
      input_bits: {input_bits}  # bits, sign included where inputs are signed
      rows: {rows}  # rows a column sums; also its full scale in counts
      adc_bits: {adc_bits}  # bits; null: an ideal converter
      encoding_bits: {encoding_bits}  # input bits a cycle; 1 is bit-serial
      random_noise: {random_noise}  # % of full scale, or with a unit: 0.13 lsb
      nonlinear_noise: {nonlinear_noise}  # % of full scale at count 0, shrinking as 1/sqrt(count + 1)
      digital_levels: {digital_levels}  # anti-diagonals of cycles, from the most significant, that are digital
      digital_adc: {digital_adc}  # as published: digital cycles pass the ADC, too; false: they are exact
    rules:  # {rules}
      - {{match: pre_logits.*, macro: {rule_pre_logits}}}  # the first two linear layers, convolutions in timm
      - {{match: qk, macro: {rule_qk}}}  # keys, and queries, which are stored
      - {{match: av, macro: {rule_av}}}  # scores, and values, which are stored
      - {{match: qkv, macro: {rule_qkv}}}  # the query, key and value projection
      - {{match: proj, macro: {rule_proj}}}  # the output projection
      - {{match: head, macro: {rule_head}}}  # the classifier
      - {{match: stem, macro: {rule_stem}}}  # the first layer, digital
  optimizer:
    name: {optimizer}  # sgd, adam or adamw
    lr: {lr_init}  # learning rate at the start
    momentum: {momentum}  # of sgd, 0..1
    weight_decay: {weight_decay}  # a step and unit of learning rate
    schedule: multistep  # lowered at the milestones
    milestones: {milestones}  # fractions of the epochs
    gamma: {factor}  # factor of the learning rate at a milestone
data:
  class_path: {module}  # any LightningDataModule
  init_args:
    root: {root}  # folder that holds {tree}
    image_size: {image_size}  # pixels that pictures are squashed to
    augment: {augment}  # of training pictures: published, crop_flip or none
    normalize: {normalize}  # of the three channels, in 0..1
    held_out: 0  # training images to validate on; 0: the test images, as published
    test_images: null  # evaluation on the first so many; null: all
    batch_size: {train_bs}  # images a step, on each device
    eval_batch_size: {eval_batch_size}  # images a batch in evaluation, on each device
    num_workers: {num_workers}  # processes that prepare batches
axes:  # sweep alone: values of fields of model.plan.macro; several axes: every combination
  random_noise: {noise_levels}  # % of full scale: Fig. 9a's, and the config's
trials: 2  # sweep alone: reads of the chip for each noisy point
"""
_SAME = ("cls_num", "max_epoch", "train_bs", "lr_init", "factor", "log_interval")  # in the recipe as they are
_FIGURE_9A = (0, 0.025, 0.05, 0.075, 0.1, 0.125, 0.15, 0.175, 0.2)
_LARGE = 100  # pixels above which the published networks have their large form
_SIZE_OF_TIMM = 224
_COLUMN = 34  # where comments start


def recipe_of(path: str | Path, recipe: str = "recipe.yaml") -> tuple[str, tuple[str, ...]]:
    """The recipe (YAML) with the settings of a published config.py, for validate, sweep and fit, and notes: a line for
    each setting without counterpart, with its value and what to do instead.

    The file is read as text: no part of it is run. `recipe` is the name of the recipe in its own commands.
    """
    given = Given(Path(path))
    missing = [f"cfg.{name}" for name in ("task", "model_name") if name not in given.settings]
    if missing:
        found = f"{len(given.settings)} settings without {missing[0]}"
        raise ValueError(f"{path} must be a published config.py with cfg.task and cfg.model_name, got {found}")
    published = given.choice("model_name", tuple(NETWORKS))
    network = NETWORKS[published]
    is_transformer = network.startswith("vit")
    pictures = pictures_of(given, is_transformer)
    plan = plan_of(given, network)
    values: dict[str, Any] = {
        **{name: given.value(name) for name in _SAME},
        **pictures,
        "network": network,
        **_network(given, network, pictures["image_size"]),
        **plan,
        **evaluation_of(given, is_transformer),
        **training_of(given, is_transformer),
        "noise_levels": sorted({*_FIGURE_9A, MacroConfig(random_noise=plan["random_noise"]).random_noise_percent}),
    }
    if any(name.startswith("rule_") for name in plan):
        values["rules"] = "layers whose macro differs, and fields that differ, in their units above"
    if given.value("pretrain_model_path") is not None:
        what = "the recipe runs without weights; `asim import` makes a checkpoint of them, for --ckpt_path"
        given.note("pretrain_model_path", what)
    what, commands = "evaluation", ["validate", "fit", "sweep"]
    if values["trains"]:
        what, commands = "training", ["fit", "validate", "sweep"]
    head = (
        f"# {published} on {TASKS[given.value('task')].module}: {what} as in a config.py of the published simulator.\n"
    )
    head += "".join(f"# asim {command} -c {shlex.quote(recipe)}\n" for command in commands)
    return head + _filled(values), given.notes(published)


def _network(given: Given, network: str, image_size: int) -> dict[str, Any]:
    """Values for the form of the network."""
    kwargs: dict[str, Any] = published_dropout(network)
    if network.startswith("vit"):
        size = {"img_size": image_size} if image_size != _SIZE_OF_TIMM else {}
        return {"kwargs": {**size, **kwargs}, "attention_scale": "embed_dim", "norm_eps": 1e-5}
    large = given.value("large_model") if "large_model" in given.settings else image_size > _LARGE
    return {**({"kwargs": kwargs} if kwargs else {}), **({} if large else {"small": True})}


def _filled(values: dict[str, Any]) -> str:
    """The recipe with values for the names in braces, without the lines that need a value that is not given."""
    texts = {name: scalar(value) for name, value in values.items()}
    lines = []
    for line in _RECIPE.splitlines():
        setting, _, about = line.partition("  # ")
        with suppress(KeyError):
            setting, about = setting.format_map(texts), about.format_map(values)
            lines.append(f"{setting + '  ':<{_COLUMN}}# {about}\n" if about else f"{setting}\n")
    return "".join(lines)


def scalar(value: Any) -> str:
    """A plain value as YAML on one line."""
    if isinstance(value, str) and not value.isprintable():
        return json.dumps(value)
    text = yaml.safe_dump(value, default_flow_style=True, sort_keys=False, allow_unicode=True, width=math.inf)
    return text.removesuffix("\n").removesuffix("\n...")
