"""Every command from one configuration: what it prints last, what it leaves, and that the saved one serves all."""

import csv
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import yaml

import asim_lightning
from asim_lightning.classifier import CimClassifier
from asim_lightning.cli.commands import COMMANDS
from tests.cli.conftest import Asim, Run

Write = Callable[..., Path]


def test_fit_prints_the_run_and_how_to_look_at_it(run: Run) -> None:
    assert run.said.splitlines()[-3:] == [
        "run      runs/tiny/version_0",
        "weights  runs/tiny/version_0/checkpoints/best.ckpt",
        "charts   tensorboard --logdir runs",
    ]
    assert {"config.yaml", "metrics.csv", "checkpoints"} <= {path.name for path in run.version.iterdir()}
    with (run.version / "metrics.csv").open() as file:
        columns = set(next(csv.reader(file)))
    assert {"train/loss", "val/acc", "val/acc5", "val/loss"} <= columns


def test_fit_numbers_runs(asim: Asim, written: Write) -> None:
    path = written()
    for number in range(2):
        assert f"runs/tiny/version_{number}" in asim("fit", "-c", path).out


def test_fit_with_another_folder_and_name(asim: Asim, written: Write) -> None:
    answer = asim("fit", "-c", written("small.yaml"), "--trainer.default_root_dir", "mine")
    assert answer.last == "charts   tensorboard --logdir mine"
    assert Path("mine/small/version_0/checkpoints/best.ckpt").is_file()


def test_fit_without_logger(asim: Asim, written: Write) -> None:
    for _ in range(2):  # the second would find config.yaml of the first
        assert asim("fit", "-c", written(), "--trainer.logger", "false").code == 0


def test_fit_in_a_fast_dev_run_leaves_nothing(asim: Asim, written: Write) -> None:
    assert asim("fit", "-c", written(), "--trainer.fast_dev_run", "true").code == 0
    assert not Path("runs/tiny").exists()


def test_fit_resumes(asim: Asim, run: Run) -> None:
    assert asim("fit", "-c", run.config, "--ckpt_path", run.checkpoint, "--trainer.max_epochs", "2").code == 0
    resumed = torch.load("runs/tiny/version_0/checkpoints/last.ckpt", weights_only=True)
    assert resumed["epoch"] == 1
    with open("runs/tiny/version_0/metrics.csv") as file:
        epochs = {row["epoch"] for row in csv.DictReader(file)}
    assert epochs == {"1"}


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
    found = re.fullmatch(r"accuracy ([\d.]+) % \(quantized, (\d+) of 20 images\)", answer.last)
    assert found
    assert float(found[1]) == 5 * int(found[2])
    assert f"{'val' if command == 'validate' else 'test'}/acc5" in answer.out  # Lightning's table
    assert not Path("runs").exists()  # an evaluation leaves nothing


@pytest.mark.parametrize("fidelity", ["float", "simulated"])
def test_the_accuracy_says_how_it_was_computed(fidelity: str, asim: Asim, run: Run) -> None:
    answer = asim("validate", "-c", run.config, "--ckpt_path", run.checkpoint, "--model.fidelity", fidelity)
    assert re.search(rf" % \({fidelity}, \d+ of 20 images\)$", answer.last)


def test_a_network_that_is_kept_float_is_called_so(asim: Asim, run: Run) -> None:
    answer = asim("validate", "-c", run.config, "--ckpt_path", run.checkpoint, "--model.plan.keep", "['*']")
    assert re.search(r" % \(float, \d+ of 20 images\)$", answer.last)


def test_predict_writes_one_row_an_image(asim: Asim, run: Run) -> None:
    answer = asim("predict", "-c", run.config, "--ckpt_path", run.checkpoint)
    assert answer.last == "predictions  runs/tiny/predictions.csv"
    with open("runs/tiny/predictions.csv") as file:
        rows = list(csv.DictReader(file))
    assert [int(row["index"]) for row in rows] == list(range(20))
    assert all(set(row) == {"index", "label", "prediction", "confidence"} for row in rows)
    assert all(0 < float(row["confidence"]) <= 1 for row in rows)
    right = sum(row["label"] == row["prediction"] for row in rows)
    tested = asim("test", "-c", run.config, "--ckpt_path", run.checkpoint)
    assert tested.accuracy == pytest.approx(100 * right / len(rows))


def test_predictions_do_not_depend_on_the_batch(asim: Asim, run: Run) -> None:
    found = []
    for size in (1, 3, 8):
        batch = ("--data.init_args.test_images", "8", "--data.init_args.eval_batch_size", size)
        macro = "{weight_bits: 4, input_bits: 4, random_noise: 0.5}"
        noise = ("--model.fidelity", "simulated", "--model.plan.macro", macro)
        assert asim("predict", "-c", run.config, "--ckpt_path", run.checkpoint, *batch, *noise).code == 0
        found.append(Path("runs/tiny/predictions.csv").read_text())
    assert found[0] == found[1] == found[2]


@pytest.mark.parametrize("command", ["validate", "test", "predict", "sweep", "bench", "explain", "verify", "fit"])
def test_the_saved_configuration_serves_every_command(command: str, asim: Asim, run: Run) -> None:
    own = {"sweep": ("--axes.adc_bits", "[8]"), "verify": ("--samples", "1"), "bench": ("--batch", "1")}.get(
        command, ()
    )
    answer = asim(command, "-c", run.saved_config, *own)
    assert answer.code == 0, answer.err
    if command in ("validate", "test", "predict", "sweep", "bench", "verify"):
        assert f"weights  {run.checkpoint}" in answer.out  # its own, where no other is given
    saved = yaml.safe_load(run.saved_config.read_text())
    assert saved["model"]["backbone"]["name"] == "resnet10t"


def test_the_saved_configuration_with_another_checkpoint(asim: Asim, run: Run) -> None:
    answer = asim("validate", "-c", run.saved_config, "--ckpt_path", run.checkpoint)
    assert answer.out.startswith(f"weights  {run.checkpoint}\n")


@pytest.mark.parametrize("command", ["validate", "explain"])
def test_a_checkpoint_alone_is_enough(command: str, asim: Asim, run: Run) -> None:
    answer = asim(command, "--ckpt_path", run.checkpoint)
    assert answer.code == 0, answer.err
    if command == "validate":
        assert re.search(r" % \(quantized, [\d,]+ of 2,000 images\)$", answer.last)  # the data module's own number


def test_a_shipped_recipe_and_checkpoint_by_name(asim: Asim) -> None:
    answer = asim("explain", "-c", "quickstart", "--ckpt_path", "fashion_resnet_qat")
    assert "15 layers" in answer.out or "14 of 15 layers on a macro" in answer.out


def test_random_weights_are_called_so(asim: Asim, written: Write) -> None:
    assert "weights  random, as there is no `ckpt_path`" in asim("validate", "-c", written()).out.splitlines()


@pytest.mark.parametrize("command", ["fit", "sweep"])
def test_print_config_is_a_configuration(command: str, asim: Asim, written: Write) -> None:
    answer = asim(command, "-c", written(), "--print_config")
    assert answer.code == 0
    assert yaml.safe_load(answer.out)["model"]["backbone"]["kwargs"]["stem_width"] == 4


@pytest.mark.parametrize("command", COMMANDS)
def test_help_of_a_command_fits_three_screens(command: str, asim: Asim) -> None:
    answer = asim(command, "--help")
    assert answer.code == 0
    assert answer.out.startswith(f"usage: asim {command}")
    assert answer.out.count("\n") <= 120


def test_help_of_all_lists_macro_fields_with_their_ranges(asim: Asim) -> None:
    answer = asim("validate", "--help.all")
    assert answer.code == 0
    assert "--model.plan.macro.adc_bits" in answer.out
    assert "1..16 bits" in " ".join(answer.out.split())


@pytest.mark.parametrize(
    ("given", "code", "said"),
    [
        ([], 2, "error: asim needs a command first"),
        (["--help"], 0, "usage: asim COMMAND -c CONFIG"),
        (["-h"], 0, "  sweep          Accuracy over a grid of macros"),
        (["--version"], 0, f"asim {asim_lightning.__version__}"),
        (["valdate", "-c", "quickstart"], 2, "got 'valdate'; nearest: validate"),
        (["-c", "quickstart"], 2, "error: asim needs a command first"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_needs_no_network_does_not_wait_for_torch(given: list[str], code: int, said: str) -> None:
    program = "import sys; from asim_lightning.cli import main\ntry: main()\nfinally: assert 'torch' not in sys.modules"
    done = subprocess.run([sys.executable, "-c", program, *given], capture_output=True, text=True, timeout=60)
    assert done.returncode == code, done.stderr
    assert said in done.stdout + done.stderr


def test_a_sweeps_keys_do_not_disturb_other_commands(asim: Asim, written: Write) -> None:
    path = written(axes={"random_noise": [0, 0.1]}, trials=2)
    for command in ("validate", "explain"):
        assert asim(command, "-c", path).code == 0


_CHIP = "{offset: 0.3 lsb, gain: 1 %, inl: 0.66 %, columns_per_adc: 3, stuck_at_1: 1e-3}"


@pytest.mark.parametrize("static", [None, _CHIP, "{cell_mismatch: 3 %, offset: 0.3 lsb}"])
def test_verify_says_how_many_layers_agree(static: str | None, asim: Asim, run: Run) -> None:
    effects = () if static is None else ("--model.plan.macro.static", static, "--model.chip", "17")
    answer = asim("verify", "-c", run.config, "--ckpt_path", run.checkpoint, "--samples", "1", *effects)
    assert answer.last == "14 of 14 layers agree on 1 test image"


def test_verify_says_how_many_images_it_used(asim: Asim, run: Run) -> None:
    few = ("--samples", "9", "--data.init_args.eval_batch_size", "2")
    answer = asim("verify", "-c", run.config, "--ckpt_path", run.checkpoint, *few)
    assert answer.last == "14 of 14 layers agree on 2 test images, all of the first batch (--samples 9)"


def test_as_a_module() -> None:
    command = [sys.executable, "-m", "asim_lightning", "fit", "-c", "x.yaml"]
    found = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert found.returncode == 2
    assert found.stderr.startswith("error: There is no file 'x.yaml'; shipped configs, nearest: ")
    assert found.stderr.count("\n") == 1


@pytest.mark.slow
def test_as_a_program(folder: Path, written: Write) -> None:
    command = [str(Path(sys.executable).parent / "asim"), "validate", "-c", str(written())]
    found = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert found.returncode == 0
    assert re.search(r" % \(quantized, \d+ of 20 images\)$", found.stdout.strip())
    assert found.stderr == ""
    found = subprocess.run([*command, "--model.fidelity", "x"], capture_output=True, text=True, timeout=120)
    assert found.returncode == 2
    assert found.stderr == "error: `model.fidelity` must be one of float, quantized, estimated, simulated, got 'x'\n"


def test_a_column_in_the_current_folder_is_found(asim: Asim, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = "from asim_lightning.circuit import Column\n\n\nclass Mine(Column):\n    pass\n"
    (folder / "my_own_column.py").write_text(source)
    monkeypatch.setattr(sys, "path", [path for path in sys.path if path])  # as the program's, without the folder
    answer = asim("explain", "-c", "quickstart", "--model.plan.macro.column", "my_own_column.Mine")
    assert answer.code == 0, answer.err
    assert "Mine" in answer.out
