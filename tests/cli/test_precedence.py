"""Defaults < checkpoint < YAML < flags; LightningCLI alone lets the checkpoint win over what the user wrote."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from asim_lightning.cli.command_line import read_arguments
from asim_lightning.cli.parser import AsimCLI
from tests.cli.conftest import Asim, Run

Write = Callable[..., Path]

NOISY = "--model.plan.macro.random_noise"


@pytest.fixture
def noisy(run: Run, folder: Path) -> str:
    """A checkpoint that was trained at 0.3 % of noise and 7 ADC bits."""
    checkpoint = torch.load(run.checkpoint, weights_only=True)
    checkpoint["hyper_parameters"]["plan"]["macro"].update(random_noise=0.3, adc_bits=7)
    checkpoint["hyper_parameters"]["optimizer"]["lr"] = 0.003
    torch.save(checkpoint, "noisy.ckpt")
    return "noisy.ckpt"


def macro_of(*arguments: object) -> dict[str, Any]:
    """The macro that a command ends up with."""
    cli = AsimCLI(read_arguments([str(argument) for argument in ("explain", *arguments)]))
    macro: dict[str, Any] = cli.model.hparams["plan"]["macro"]
    layer = dict(cli.model.backbone.named_modules())["layer1.0.conv1"]
    assert layer.macro.random_noise == macro["random_noise"]  # the network has what the hyperparameters say
    return macro


def test_checkpoint_over_defaults(noisy: str) -> None:
    assert macro_of()["random_noise"] == 0
    assert macro_of("--ckpt_path", noisy)["random_noise"] == 0.3


def test_yaml_over_checkpoint(noisy: str, written: Write) -> None:
    path = written(model__plan__macro__random_noise=0.6)
    macro = macro_of("-c", path, "--ckpt_path", noisy)
    assert macro["random_noise"] == 0.6
    assert macro["adc_bits"] == 7  # what YAML does not say stays


def test_flags_over_checkpoint_and_yaml(noisy: str, written: Write) -> None:
    assert macro_of("--ckpt_path", noisy, NOISY, "3")["random_noise"] == 3
    path = written(model__plan__macro__random_noise=0.6)
    assert macro_of("-c", path, "--ckpt_path", noisy, NOISY, "3")["random_noise"] == 3


def test_flags_win_wherever_they_stand(written: Write) -> None:
    first = written("a.yaml", model__plan__macro={"random_noise": 0.6, "rows": 64})
    second = written("b.yaml", model__plan__macro={"random_noise": 0.7})
    for order in ((NOISY, "3", "-c", first, "-c", second), ("-c", first, f"{NOISY}=3", "--config", second)):
        macro = macro_of(*order)
        assert (macro["random_noise"], macro["rows"]) == (3, 64)


def test_validate_computes_what_a_flag_before_the_file_says(written: Write, asim: Asim) -> None:
    path = written(model__fidelity="quantized")
    flags = ("--model.fidelity", "float", "--data.init_args.test_images", "5")
    last = asim("validate", *flags, "-c", path).last
    assert "(float, " in last
    assert last.endswith(" of 5 images)")


def test_a_written_default_wins_too(noisy: str, written: Write) -> None:
    assert macro_of("--ckpt_path", noisy, NOISY, "0")["random_noise"] == 0
    assert macro_of("-c", written(model__plan__macro__adc_bits=8), "--ckpt_path", noisy)["adc_bits"] == 8


def test_checkpoint_named_in_yaml(noisy: str, written: Write) -> None:
    path = written(ckpt_path=noisy)
    assert macro_of("-c", path)["random_noise"] == 0.3
    assert macro_of("-c", path, NOISY, "3")["random_noise"] == 3


def test_later_files_win_over_earlier_ones(written: Write) -> None:
    first = written("a.yaml", model__plan__macro={"random_noise": 0.6, "rows": 64})
    second = written("b.yaml", model__plan__macro={"random_noise": 0.7})
    macro = macro_of("-c", first, "-c", second)
    assert (macro["random_noise"], macro["rows"]) == (0.7, 64)


def test_flags_change_what_validate_measures(asim: Asim) -> None:
    arguments = ("validate", "--ckpt_path", "fashion_resnet_qat", "--data.init_args.test_images", "20")
    simulated = ("--model.fidelity", "simulated")
    quiet, noisy = asim(*arguments, *simulated), asim(*arguments, *simulated, NOISY, "3")
    assert quiet.accuracy > noisy.accuracy + 20


def test_a_fit_that_resumes_takes_the_written_learning_rate(noisy: str, written: Write, asim: Asim) -> None:
    path = written(model__optimizer={"momentum": 0.8}, trainer__max_epochs=2)
    arguments = ("fit", "-c", path, "--ckpt_path", noisy)
    assert asim(*arguments, "--model.plan.macro.rows", "64").code == 0
    saved = yaml.safe_load(Path("runs/tiny/version_0/config.yaml").read_text())["model"]
    assert saved["optimizer"]["momentum"] == 0.8
    assert saved["optimizer"]["lr"] == 0.003
    assert saved["plan"]["macro"]["rows"] == 64
    assert saved["plan"]["macro"]["random_noise"] == 0.3


def test_a_flag_for_one_argument_of_the_network_keeps_those_of_the_checkpoint(noisy: str) -> None:
    arguments = ["explain", "--ckpt_path", noisy, "--model.backbone.kwargs.drop_rate", "0.1"]
    kwargs = AsimCLI(read_arguments(arguments)).model.hparams["backbone"]["kwargs"]
    assert kwargs == {"in_chans": 1, "stem_width": 4, "channels": [8, 16, 32, 64], "drop_rate": 0.1}


def test_print_config_shows_what_was_written(noisy: str, written: Write, asim: Asim) -> None:
    answer = asim("validate", "-c", written(), "--ckpt_path", noisy, NOISY, "3", "--print_config")
    assert answer.code == 0
    shown = yaml.safe_load(answer.out)
    assert shown["model"]["plan"]["macro"]["random_noise"] == 3
    assert shown["model"]["plan"]["macro"]["adc_bits"] == 7  # of the checkpoint
    assert shown["ckpt_path"] == noisy
    # and is a configuration itself
    Path("shown.yaml").write_text(answer.out)
    assert macro_of("-c", "shown.yaml")["random_noise"] == 3


def test_a_rule_changes_the_fields_that_it_names(written: Write) -> None:
    macro = {"weight_bits": 4, "random_noise": 0.3}
    path = written(model__plan={"macro": macro, "rules": [{"match": "layer1.0.conv1", "macro": {"adc_bits": 7}}]})
    layer = dict(AsimCLI(read_arguments(["explain", "-c", str(path)])).model.backbone.named_modules())["layer1.0.conv1"]
    assert (layer.macro.adc_bits, layer.macro.weight_bits, layer.macro.random_noise) == (7, 4, 0.3)
