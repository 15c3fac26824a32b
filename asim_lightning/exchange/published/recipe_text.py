"""The text of a recipe: YAML with a comment after each key, as in the shipped recipes."""

import json
import math
import re
from collections.abc import Mapping
from typing import Any

import yaml

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
RULES
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
  random_noise: {noise_levels}  # {about_levels}
trials: 2  # sweep alone: reads of the chip for each noisy point
"""
_LAYERS = {
    "pre_logits.*": "the first two linear layers, convolutions in timm",
    "head": "the classifier",
    "stem": "the first layer, digital",
    "qk": "keys, and queries, which are stored",
    "av": "scores, and values, which are stored",
    "qkv": "the query, key and value projection",
    "proj": "the output projection",
}  # what a rule matches, in words
_COLUMN = 34  # where comments start
_NAME = re.compile(r"\{(\w+)\}")


def recipe_text(values: Mapping[str, Any]) -> str:
    """The lines of a recipe: values by the names in braces above, and `rules`; lines without a value are left out."""
    rules = ["    rules:  # layers whose macro differs"] if values["rules"] else []
    for match, changes in values["rules"].items():
        rules += [f"      - match: {scalar(match)}  # {_LAYERS[match]}"]
        rules += [f"        macro: {scalar(changes)}  # fields that differ, in their units above"]
    lines = []
    for line in _RECIPE.replace("RULES", "\n".join(rules)).splitlines():
        if line and set(_NAME.findall(line)) <= set(values):
            setting, _, about = line.partition("  # ")
            setting = _NAME.sub(lambda found: scalar(values[found[1]]), setting)
            about = _NAME.sub(lambda found: str(values[found[1]]), about)
            lines.append(f"{setting + '  ':<{_COLUMN}}# {about}\n" if about else f"{setting}\n")
    return "".join(lines)


def scalar(value: Any) -> str:
    """A plain value as YAML on one line."""
    if isinstance(value, str) and not value.isprintable():
        return json.dumps(value)
    text = yaml.safe_dump(value, default_flow_style=True, sort_keys=False, allow_unicode=True, width=math.inf)
    return text.removesuffix("\n").removesuffix("\n...")


def in_comment(text: str) -> str:
    """A user's text as part of a comment, without the characters that would end the comment."""
    return text if text.isprintable() else json.dumps(text)
