"""A recipe for the command line from a published config.py."""

import re
import shlex
from pathlib import Path, PureWindowsPath
from typing import Any

from asim_lightning.circuit import MacroConfig
from asim_lightning.exchange.network import published_dropout
from asim_lightning.exchange.published.assignments import read_assignments
from asim_lightning.exchange.published.given_settings import NETWORKS, Given
from asim_lightning.exchange.published.macro_settings import plan_of
from asim_lightning.exchange.published.picture_settings import TASKS, pictures_of
from asim_lightning.exchange.published.recipe_text import in_comment, recipe_text
from asim_lightning.exchange.published.training_settings import evaluation_of, training_of

_FIGURE_9A = (0, 0.025, 0.05, 0.075, 0.1, 0.125, 0.15, 0.175, 0.2)
_LARGE = 100  # pixels above which the published networks have their large form
_SIZE_OF_TIMM = 224
_SAME = ("cls_num", "max_epoch", "train_bs", "lr_init", "factor", "log_interval")  # in the recipe as they are


def recipe_of(path: str | Path, recipe: str = "recipe.yaml") -> tuple[str, tuple[str, ...]]:
    """The recipe (YAML) with the settings of a published config.py, for validate, sweep and fit, and notes: a line for
    each setting without counterpart, with its value and what to do instead.

    The file is read as text: no part of it is run. `recipe` is the name of the recipe in its own commands.
    """
    file = Path(path)
    given = Given(file, read_assignments(file))
    missing = [f"cfg.{name}" for name in ("task", "model_name") if name not in given.settings]
    if missing:
        found = f"{len(given.settings)} settings without {missing[0]}"
        raise ValueError(f"{file} must be a published config.py with cfg.task and cfg.model_name, got {found}")
    network = NETWORKS[given.choice("model_name", tuple(NETWORKS))]
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
        **_sweep(plan["random_noise"]),
    }
    head = _head(given, values, in_comment(shlex.quote(recipe)))
    return "".join(f"# {line}\n" for line in head) + recipe_text(values), given.notes(given.value("model_name"))


def _network(given: Given, network: str, image_size: int) -> dict[str, Any]:
    """Values for the form of the network."""
    given.ignore("large_model")
    kwargs: dict[str, Any] = published_dropout(network)
    if network.startswith("vit"):
        size = {"img_size": image_size} if image_size != _SIZE_OF_TIMM else {}
        return {"kwargs": {**size, **kwargs}, "attention_scale": "embed_dim", "norm_eps": 1e-5}
    large = given.value("large_model") if "large_model" in given.settings else image_size > _LARGE
    return {**({"kwargs": kwargs} if kwargs else {}), **({} if large else {"small": True})}


def _sweep(random_noise: Any) -> dict[str, Any]:
    """Values for the sweep of the recipe, over noise."""
    noise = MacroConfig(random_noise=random_noise).random_noise_percent
    levels = tuple(round(noise * part, 6) for part in (0, 0.5, 1, 1.5, 2) if noise * part <= 100)
    if noise:
        return {"noise_levels": levels, "about_levels": "of every layer, % of full scale, around the config's"}
    return {"noise_levels": _FIGURE_9A, "about_levels": "% of full scale, as in the published Fig. 9a"}


def _head(given: Given, values: dict[str, Any], recipe: str) -> list[str]:
    """The head of a recipe with its commands; adds a note if the config names weights."""
    what, commands = "evaluation", ["validate", "fit", "sweep"]
    if values["trains"]:
        what, commands = "training", ["fit", "validate", "sweep"]
    published, module = given.value("model_name"), TASKS[given.value("task")].module
    lines = [f"{published} on {module}: {what} as in a config.py of the published simulator."]
    lines += [f"asim {command} -c {recipe}" for command in commands]
    weights = given.value("pretrain_model_path")
    if weights is not None:
        checkpoint = _word(f"{PureWindowsPath(weights).stem}.ckpt")  # which reads both kinds of slashes
        command, checkpoint = in_comment(f"asim import {_word(weights)} --to {checkpoint}"), in_comment(checkpoint)
        lines += ["With the weights that the config.py names, give each of these a checkpoint, which is imported once:"]
        lines += [command, f"--ckpt_path {checkpoint}"]
        what = f"the recipe runs without weights; `{command}`, then --ckpt_path {checkpoint}"
        given.note("pretrain_model_path", what)
    return lines


def _word(text: str) -> str:
    """A text as one word for the shells of all systems; on Windows, which has no single quotes, if possible."""
    return f'"{text}"' if re.fullmatch(r"[\w:\\. -]+", text) and ("\\" in text or " " in text) else shlex.quote(text)
