"""Defaults < checkpoint < YAML < flags, presets of macros among them; LightningCLI alone lets the checkpoint win."""

from dataclasses import asdict
from pathlib import Path

import pytest
import torch
import yaml

from asim_lightning import CimClassifier, MacroConfig
from asim_lightning.circuit.presets import preset
from asim_lightning.classifier import OptimizerConfig
from asim_lightning.cli.command_line import read_arguments
from asim_lightning.cli.parser import AsimCLI
from asim_lightning.nn.training_noise import NOISE_MODELS
from asim_lightning.surgery import macro_layers
from tests.cli.conftest import Asim, Run, Write, main_in
from tests.commands import parsed

NOISY = "--model.plan.macro.random_noise"
PRESET = ("--model.plan.preset", "cr_cim_2024")


@pytest.fixture
def noisy(run: Run, folder: Path) -> str:
    """A checkpoint that was trained at 0.3 % of noise and 7 ADC bits."""
    checkpoint = torch.load(run.checkpoint, weights_only=True)
    checkpoint["hyper_parameters"]["plan"]["macro"].update(random_noise=0.3, adc_bits=7)
    torch.save(checkpoint, "noisy.ckpt")
    return "noisy.ckpt"


def built(*arguments: object) -> CimClassifier:
    """The classifier that a command ends up with."""
    model = AsimCLI(read_arguments(["explain", *map(str, arguments)])).model
    layers = macro_layers(model.backbone).values()
    assert {layer.train_noise for layer in layers} == {model.train_noise}
    assert {type(layer.train_noise_model) for layer in layers} == {NOISE_MODELS[model.hparams["train_noise_model"]]}
    return model


def macro_of(*arguments: object) -> MacroConfig:
    """The macro of all layers."""
    model = built(*arguments)
    (macro,) = {layer.macro for layer in macro_layers(model.backbone).values()}
    assert model.hparams["plan"] == asdict(model.plan)  # the hyperparameters say what the network has
    assert (model.plan.preset, model.plan.macro) == (None, macro)
    return macro


def test_flags_win_over_files_these_over_the_checkpoint_and_it_over_defaults(noisy: str, written: Write) -> None:
    path = written(model__plan__macro__random_noise=0.6)
    assert macro_of("-c", written("named.yaml", ckpt_path=noisy)).random_noise == 0.3
    assert macro_of().random_noise == 0
    assert macro_of("--ckpt_path", noisy).random_noise == 0.3
    macro = macro_of("-c", path, "--ckpt_path", noisy)
    assert (macro.random_noise, macro.adc_bits) == (0.6, 7)  # what YAML does not say stays
    assert macro_of("-c", path, "--ckpt_path", noisy, NOISY, "3").random_noise == 3
    # a written default wins too
    assert macro_of("--ckpt_path", noisy, NOISY, "0").random_noise == 0
    assert macro_of("-c", written(model__plan__macro__adc_bits=8), "--ckpt_path", noisy).adc_bits == 8


def test_a_flag_for_one_argument_of_the_network_keeps_those_of_the_checkpoint(noisy: str) -> None:
    kwargs = built("--ckpt_path", noisy, "--model.backbone.kwargs.drop_rate", "0.1").hparams["backbone"]["kwargs"]
    assert kwargs == {"in_chans": 1, "stem_width": 4, "channels": [8, 16, 32, 64], "drop_rate": 0.1}


def test_print_config_shows_what_was_written(noisy: str, written: Write, asim: Asim) -> None:
    answer = asim("validate", "-c", written(), "--ckpt_path", noisy, NOISY, "3", "--print_config")
    shown = yaml.safe_load(answer.out)
    assert shown["model"]["plan"]["macro"]["random_noise"] == 3
    assert shown["model"]["plan"]["macro"]["adc_bits"] == 7  # of the checkpoint
    assert shown["ckpt_path"] == noisy
    # and is a configuration itself
    Path("shown.yaml").write_text(answer.out)
    assert macro_of("-c", "shown.yaml").random_noise == 3


def test_settings_are_parsed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each parse would read all default texts of settings again."""
    loads, load = [], yaml.load
    monkeypatch.setattr(yaml, "load", lambda *arguments: loads.append(arguments[0]) or load(*arguments))
    parsed(["sweep", "-c", "quickstart"])
    assert len(loads) <= 15


# presets


def test_a_flag_takes_the_place_of_a_recipes_macro_except_for_open_bits(written: Write) -> None:
    path = written(model__plan__macro={"weight_bits": 4, "input_bits": 4, "adc_bits": 6, "nonlinear_noise": 0.3})
    assert macro_of(*PRESET, "-c", path) == preset("cr_cim_2024").config(weight_bits=4, input_bits=4)
    assert macro_of("-c", path, "--model.plan", "{preset: cr_cim_2024}").adc_bits == 10
    lee = macro_of("-c", path, "--model.plan.preset", "lee_2021")
    assert lee.input_bits == 5  # which this chip does not leave open


def test_fields_next_to_a_preset_win(written: Write) -> None:
    path = written(model__plan={"preset": "cr_cim_2024", "macro": {"weight_bits": 4, "adc_bits": 9}})
    assert macro_of("-c", path) == preset("cr_cim_2024").config(weight_bits=4, adc_bits=9)
    assert macro_of("-c", path, NOISY, "0").random_noise == 0
    assert macro_of("-c", path, "--model.plan.preset", "pimca_2021").adc_bits == 4
    assert macro_of("-c", path, "--model.plan.preset", "null").rows == 255


def test_a_later_file_takes_the_place_of_those_before(written: Write) -> None:
    first = written(model__plan__macro={"weight_bits": 4, "adc_bits": 6})
    Path("chip.yaml").write_text("model: {plan: {preset: cr_cim_2024, macro: {rows: 512}}}\n")
    assert macro_of("-c", first, "-c", "chip.yaml") == preset("cr_cim_2024").config(weight_bits=4, rows=512)
    assert macro_of("-c", "chip.yaml", "-c", first).adc_bits == 6


def test_a_checkpoints_bits_stay_and_its_macro_goes(run: Run, written: Write) -> None:
    found = macro_of("-c", written(model__plan={}), "--ckpt_path", run.checkpoint, *PRESET)
    assert found == preset("cr_cim_2024").config(weight_bits=4, input_bits=4)


# what a fit saves comes back


@pytest.fixture(scope="module")
def trained(run: Run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a run on a published macro, with noise, mixup and smoothed labels."""
    folder = tmp_path_factory.mktemp("noisy")
    options = {
        "train_noise": 2, "train_noise_model": "macro", "mixup": 0.4, "label_smoothing": 0.1,
        "optimizer.schedule": "constant", "plan.macro.adc_bits": 9,
    }  # fmt: skip
    flags = [word for name, value in options.items() for word in (f"--model.{name}", str(value))]
    assert "macro    CR-CIM (Yoshioka)" in main_in(folder, "fit", "-c", str(run.config), *PRESET, *flags)
    return folder / "runs" / "tiny" / "version_0"


@pytest.mark.parametrize(("flag", "file"), [("--ckpt_path", "checkpoints/best.ckpt"), ("-c", "config.yaml")])
def test_options_of_training_come_back(flag: str, file: str, trained: Path) -> None:
    arguments = (flag, trained / file)
    model = built(*arguments)
    assert (model.train_noise, model.mixup, model.label_smoothing) == (2.0, 0.4, 0.1)
    assert model.hparams["train_noise_model"] == "macro"
    assert model.optimizer_config == OptimizerConfig(lr=0.05, schedule="constant")
    assert macro_of(*arguments) == preset("cr_cim_2024").config(weight_bits=4, input_bits=4, adc_bits=9)
    flags = ("--model.train_noise", "0", "--model.train_noise_model", "proportional", "--model.mixup", "0.0")
    other = built(*arguments, *flags)
    assert (other.train_noise, other.mixup, other.label_smoothing) == (0.0, 0.0, 0.1)
