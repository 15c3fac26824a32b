"""Every command from one configuration: what it prints last, what it leaves, and that the saved one serves all."""

import re
from dataclasses import fields
from pathlib import Path

import pytest
import torch

from asim_lightning.classifier import CimClassifier
from asim_lightning.cli.commands import COMMANDS
from asim_lightning.cost import Technology
from asim_lightning.exploration.search import SearchSettings
from tests.cli.conftest import Asim, Run, Write
from tests.commands import parsed
from tests.conftest import rows_of


def test_fit_prints_the_run_and_how_to_look_at_it(run: Run) -> None:
    assert run.said.splitlines()[-4:] == [
        "run      runs/tiny/version_0",
        "numbers  runs/tiny/version_0/metrics.csv",
        "weights  runs/tiny/version_0/checkpoints/best.ckpt",
        "charts   tensorboard --logdir runs",
    ]
    assert {"config.yaml", "metrics.csv", "checkpoints"} <= {path.name for path in run.version.iterdir()}
    assert {"train/loss", "val/acc", "val/acc5", "val/loss"} <= rows_of(run.version / "metrics.csv")[0].keys()


def test_fit_starts_from_weights_alone_and_says_so(asim: Asim, run: Run) -> None:
    checkpoint = torch.load(run.checkpoint, weights_only=True)
    for key in ("optimizer_states", "lr_schedulers"):
        del checkpoint[key]
    for name, value in checkpoint["state_dict"].items():
        if name.endswith("fc.bias"):
            value.fill_(7.0)
    torch.save(checkpoint, "weights.ckpt")
    answer = asim("fit", "-c", run.config, "--ckpt_path", "weights.ckpt", "--trainer.max_epochs", "1")
    line = "starts from the weights of weights.ckpt at epoch 0 of 1; to resume a stopped fit, give `--ckpt_path last`"
    assert line in answer.out.splitlines()
    started = CimClassifier.load_from_checkpoint("runs/tiny/version_0/checkpoints/best.ckpt", weights_only=True)
    assert float(started.backbone.fc.bias.detach().mean()) == pytest.approx(7.0, abs=0.5)


@pytest.mark.parametrize("command", ["validate", "test"])
def test_evaluation_ends_with_the_accuracy(command: str, asim: Asim, run: Run) -> None:
    answer = asim(command, "-c", run.config, "--ckpt_path", run.checkpoint)
    found = re.fullmatch(r"accuracy ([\d.]+) % \[.*\] \(quantized, (\d+) of 20 images\)", answer.last)
    assert found
    assert float(found[1]) == 5 * int(found[2])
    assert f"{'val' if command == 'validate' else 'test'}/acc5" in answer.out  # Lightning's table
    assert not Path("runs").exists()  # an evaluation leaves nothing


def test_random_weights_and_a_network_that_is_kept_float_are_called_so(asim: Asim, written: Write) -> None:
    answer = asim("validate", "-c", written(), "--model.plan.keep", "['*']")
    assert "weights  random, because there is no `ckpt_path`" in answer.out.splitlines()
    assert re.search(r" % \[.*\] \(float, \d+ of 20 images\)$", answer.last)


def test_predict_says_where_its_rows_are_and_has_the_accuracy_of_a_test(asim: Asim, run: Run) -> None:
    answer = asim("predict", "-c", run.config, "--ckpt_path", run.checkpoint)
    assert answer.last == "predictions  runs/tiny/predictions.csv"
    right = [row["label"] == row["prediction"] for row in rows_of("runs/tiny/predictions.csv")]
    tested = asim("test", "-c", run.config, "--ckpt_path", run.checkpoint)
    assert tested.accuracy == pytest.approx(100 * sum(right) / 20)


@pytest.mark.parametrize("command", ["fit", "sweep"])
def test_the_saved_configuration_serves_every_command(command: str, run: Run) -> None:
    settings = parsed([command, "-c", str(run.saved_config)])
    assert settings.model.backbone.name == "resnet10t"
    assert settings.ckpt_path == (None if command == "fit" else str(run.checkpoint))


def test_help_of_each_command_fits_three_screens(asim: Asim) -> None:
    for command in COMMANDS:
        answer = asim(command, "--help")
        assert answer.out.startswith(f"usage: asim {command}")
        assert answer.out.count("\n") <= 120


def test_help_of_a_group_lists_its_settings(asim: Asim) -> None:
    for command, group, kind in (("search", "search", SearchSettings), ("cost", "technology", Technology)):
        said = asim(command, f"--{group}.help").out
        assert all(f"--{group}.{each.name}" in said for each in fields(kind))
    assert asim("spec", "--search.help").error


def test_help_of_all_lists_macro_fields_with_their_ranges(asim: Asim) -> None:
    answer = asim("validate", "--help.all")
    assert "--model.plan.macro.adc_bits" in answer.out
    words = " ".join(answer.out.split())
    assert "1..16 bits" in words
    assert "asim_lightning.callbacks.ConfusionMatrix" in words
    assert "Which layer gets which macro;" in words  # the plan


def test_asim_macros_lists_the_published_macros(asim: Asim) -> None:
    from asim_lightning.circuit.presets import preset_names

    lines = asim("macros").out.splitlines()
    row = next(line for line in lines if line.startswith("jia_2021")).split()
    assert row.index("1,958") == row.index("1,936") + 1
    assert [name for line in lines[2 : lines.index("")] if (name := line.split(" ")[0])] == preset_names()
