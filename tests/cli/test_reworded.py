"""Classes that a user names, and what they lack: one line, whatever Lightning and jsonargparse say of it."""

from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from asim_lightning.cli.messages import one_line
from asim_lightning.cli.reworded import _FIELDS
from asim_lightning.cli.validate import Comparison
from tests.cli.conftest import Asim

Write = Callable[..., Path]

OWN = (
    "`model` is always a CimClassifier, which takes the timm network of `model.backbone.name` and puts it on macros; a "
    "network or LightningModule of your own does so in Python, by convert_ (README, In Python)"
)
REFUSED: dict[str, tuple[tuple[str, ...], str]] = {
    "own model": (("--model", "my.Module"), OWN),
    "own model by class_path": (("--model.class_path", "my.Module"), OWN),
    "own model with arguments": (("--model.class_path=my.Module", "--model.init_args.hidden", "4"), OWN),
    "file of model settings": (
        ("--model", "nosuch.yaml"),
        "`model` must be a mapping, or a YAML file of one, got nosuch.yaml",
    ),
    "loggers without a folder": (
        ("--trainer.logger", "[CSVLogger, TensorBoardLogger]"),
        "`trainer.logger` CSVLogger needs save_dir, as in --trainer.logger.save_dir VALUE",
    ),
    "stopping by nothing": (
        ("--trainer.callbacks+=EarlyStopping",),
        "`trainer.callbacks` EarlyStopping needs monitor, as in --trainer.callbacks.monitor VALUE",
    ),
    "stopping by an unknown metric": (
        ("--trainer.callbacks+=EarlyStopping", "--trainer.callbacks.monitor", "val/accuracy"),
        "`monitor` of EarlyStopping must be a metric that is logged (train/loss, val/loss, val/acc, val/acc5), got "
        "'val/accuracy'; did you mean val/acc?",
    ),
    "best by an unknown metric": (
        ("--trainer.callbacks+=ModelCheckpoint", "--trainer.callbacks.monitor", "val/accuracy"),
        "`monitor` of ModelCheckpoint must be a metric that is logged (train/loss, val/loss, val/acc, val/acc5, epoch, "
        "step), got 'val/accuracy'; did you mean val/acc?",
    ),
    "value of a callback's argument": (
        ("--trainer.callbacks+=LearningRateMonitor", "--trainer.callbacks.logging_interval", "batch"),
        "`trainer.callbacks.logging_interval` must be one of step, epoch or null, got batch",
    ),
    "timer": (
        ("--trainer.callbacks+=Timer",),
        "`trainer.callbacks` Timer needs its interval in words: --trainer.callbacks.interval step",
    ),
    "search of a rate": (
        ("--trainer.callbacks+=LearningRateFinder",),
        "`trainer.callbacks` must hold no LearningRateFinder, which looks for another attribute than "
        "`model.optimizer.lr`; try some rates: --model.optimizer.lr 0.1 --trainer.max_epochs 1",
    ),
    "accumulation": (
        ("--trainer.accumulate_grad_batches", "0"),
        "`trainer.accumulate_grad_batches` must be 1 or more, got 0",
    ),
    "validation": (
        ("--trainer.check_val_every_n_epoch", "0"),
        "`trainer.check_val_every_n_epoch` must be 1 or more, or null, got 0",
    ),
    "clipping": (
        ("--trainer.gradient_clip_val", "-1"),
        "`trainer.gradient_clip_val` must be 0 or more, or null, got -1",
    ),
}


@pytest.mark.parametrize("case", REFUSED.values(), ids=REFUSED)
def test_fit_refuses(case: tuple[tuple[str, ...], str], asim: Asim, written: Write) -> None:
    arguments, expected = case
    assert asim("fit", "-c", written(), *arguments).error == expected


@pytest.mark.parametrize("command", ["fit", "validate", "sweep"])
@pytest.mark.parametrize("model", ["my.Module", {"class_path": "my.Module"}, {"init_args": {"hidden": 3}}])
def test_another_model_in_a_file(command: str, model: Any, asim: Asim, written: Write) -> None:
    Path("own.yaml").write_text(f"model: {model}")
    assert asim(command, "-c", written(), "-c", "own.yaml").error == OWN


LOGGERS = {"WandbLogger": "wandb", "MLFlowLogger": "mlflow", "CometLogger": "comet_ml"}


@pytest.mark.parametrize("name", LOGGERS)
def test_a_logger_whose_package_is_missing(name: str, asim: Asim, written: Write) -> None:
    try:
        __import__(LOGGERS[name])
    except ImportError:
        pass
    else:
        pytest.skip(f"{LOGGERS[name]} is installed")
    error = asim("fit", "-c", written(), "--trainer.logger", name).error
    assert error.startswith(f"{name} needs a package that is not installed: pip install '{LOGGERS[name][:5]}")


@pytest.mark.parametrize("arguments", [(), ("--trainer.callbacks.cpu_stats", "true")])
def test_device_statistics_without_psutil(
    arguments: tuple[str, ...], asim: Asim, written: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lightning.pytorch.accelerators.cpu._PSUTIL_AVAILABLE", False)
    error = asim("fit", "-c", written(), "--trainer.callbacks+=DeviceStatsMonitor", *arguments).error
    assert "psutil" in error
    assert error.endswith(": pip install psutil")


def test_a_package_that_python_misses_is_named() -> None:
    said = one_line("`DeviceStatsMonitor` cannot log CPU stats as `psutil` is not installed.")
    assert said == "`DeviceStatsMonitor` cannot log CPU stats as `psutil` is not installed: pip install psutil"
    assert one_line(said) == said
    assert one_line("No module named 'wandb'") == "No module named 'wandb'"


def test_an_error_of_the_code_keeps_its_traceback(asim: Asim, written: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("shapes cannot be multiplied")

    monkeypatch.setattr("asim_lightning.classifier.CimClassifier.training_step", broken)
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        asim("fit", "-c", written())


# what a fit prints


def charts(said: str) -> list[str]:
    return [line.split()[-1] for line in said.splitlines() if line.startswith("charts")]


@pytest.mark.parametrize(
    ("arguments", "folders"),
    [
        ((), ["runs"]),
        (("--trainer.default_root_dir", "elsewhere"), ["elsewhere"]),
        (("--trainer.logger", "CSVLogger", "--trainer.logger.save_dir", "tables"), []),
        (("--trainer.logger", "TensorBoardLogger", "--trainer.logger.save_dir", "boards"), ["boards"]),
        (("--trainer.logger", "false"), []),
    ],
)
def test_charts_are_announced_where_there_are_some(
    arguments: tuple[str, ...], folders: list[str], asim: Asim, written: Write
) -> None:
    answer = asim("fit", "-c", written(), *arguments)
    assert answer.code == 0
    assert charts(answer.out) == folders
    assert all(list(Path(folder).rglob("events.out.*")) for folder in folders)


def summary(out: str) -> tuple[list[str], list[list[str]]]:
    """Words of the header and of each row of a fit's table of its network."""
    lines = [line.split() for line in out.splitlines()]
    first = next(number for number, words in enumerate(lines) if words[:2] == ["Name", "Type"])
    last = next(number for number, words in enumerate(lines) if words[1:2] == ["parameters"])
    return lines[first], lines[first + 2 : last]


def test_the_summary_has_macs_for_flops(asim: Asim, written: Write) -> None:
    answer = asim("fit", "-c", written(trainer__enable_model_summary=True))
    assert answer.code == 0
    header, (row,) = summary(answer.out)
    assert header == ["Name", "Type", "Params", "Mode", "MACs"]
    assert row[1] == "backbone"  # metrics have no parameters
    assert "FLOPs" not in answer.out
    macs = row[-1]
    assert int(macs.replace(",", "")) > 10**6
    assert f"14 of 15 layers on a macro, 99.4 % of {macs} MACs a sample" in answer.out


def test_the_summary_goes_as_deep_as_asked(asim: Asim, written: Write) -> None:
    path = written(trainer__enable_model_summary=True)
    answer = asim("fit", "-c", path, "--trainer.callbacks+=NetworkSummary", "--trainer.callbacks.max_depth", "2")
    _, rows = summary(answer.out)
    counts = {row[1]: int(row[-1].replace(",", "")) for row in rows}
    assert counts["backbone"] == sum(count for name, count in counts.items() if name != "backbone")
    assert counts["backbone.fc"] == 640
    assert asim("fit", "-c", path, "--trainer.enable_model_summary", "false").out.count("MACs") == 0


def test_an_entry_of_compare_has_the_fields_of_a_comparison() -> None:
    assert _FIELDS["compare"] == tuple(field.name for field in fields(Comparison))
