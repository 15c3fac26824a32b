"""`model.chip_file`: a chip from a file in every command that simulates, and what is refused."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save, save_file
from torch import Tensor

from tests.cli.conftest import Asim

Write = Callable[..., Path]

STATIC = {"offset": "3 lsb", "gain": 2, "stuck_at_1": 0.01}
QUIET = ("--progress", "false")


@pytest.fixture
def chip(asim: Asim, written: Write) -> Path:
    """Chip 17 of the tiny network, in a file."""
    path = written(model__fidelity="simulated", model__plan__macro__static=STATIC)
    answer = asim("chip", "-c", path, "--chip", "17")
    assert answer.code == 0, answer.err
    return Path("runs/tiny/chip-17/chip.safetensors")


def test_the_saved_chip_is_chip_17_in_every_command(asim: Asim, chip: Path, folder: Path) -> None:
    own = ("--model.chip_file", chip)
    said = {}
    for number, flags in {"17": ("--model.chip", "17"), "file": own, "18": ("--model.chip", "18")}.items():
        assert asim("predict", "-c", "tiny.yaml", *flags).code == 0
        said[number] = Path("runs/tiny/predictions.csv").read_text()
    assert said["file"] == said["17"]
    assert said["18"] != said["17"]
    grid = ("--axes.random_noise", "[0, 0.1]", "--trials", "1", *QUIET)
    assert asim("sweep", "-c", "tiny.yaml", *own, *grid).code == 0
    moved = folder / "moved.safetensors"
    moved.write_bytes(chip.read_bytes())
    again = asim("sweep", "-c", "tiny.yaml", "--model.chip_file", moved, *grid)
    assert "record   all 4 trials are of an earlier run" in again.out
    tensors = load_file(chip)
    name = next(key for key in tensors if key.endswith("/offset"))
    tensors[name][0] += 1
    save_file(tensors, moved)
    other = asim("sweep", "-c", "tiny.yaml", "--model.chip_file", moved, *grid)
    assert "all 4 trials are of" not in other.out
    shown = asim("chip", "-c", "tiny.yaml", *own)
    assert shown.code == 0, shown.err
    (saved,) = Path("runs/tiny").glob("chip-sha256-*/chip.safetensors")
    assert {key: value.tolist() for key, value in load_file(saved).items()} == {
        key: value.tolist() for key, value in load_file(chip).items()
    }
    for command in ("explain", "verify"):
        assert asim(command, "-c", "tiny.yaml", *own).code == 0


def test_a_fit_takes_the_chip_into_the_loop_and_its_checkpoint_keeps_it(asim: Asim, chip: Path) -> None:
    loop = ("--model.train_noise_model", "chip", "--model.train_noise", "1")
    first = asim("fit", "-c", "tiny.yaml", "--model.chip_file", chip, *loop)
    assert first.code == 0, first.err
    weights = {}
    for name, flags in {"file": (), "17": ("--model.chip_file", "null", "--model.chip", "17")}.items():
        source = ("--model.chip_file", chip) if name == "file" else ()
        assert asim("fit", "-c", "tiny.yaml", *loop, *source, *flags).code == 0
        path = max(Path("runs/tiny").glob("version_*/checkpoints/best.ckpt"), key=lambda p: p.stat().st_mtime_ns)
        weights[name] = torch.load(path, weights_only=True)["state_dict"]
    assert all(torch.equal(values, weights["17"][key]) for key, values in weights["file"].items())
    checkpoint = sorted(Path("runs/tiny").glob("version_*/checkpoints/best.ckpt"))[0]
    assert asim("validate", "--ckpt_path", checkpoint).code == 0
    chip.unlink()
    assert "cannot be read: No such file" in asim("validate", "--ckpt_path", checkpoint).error


WRONG: dict[str, tuple[tuple[str, ...], str]] = {
    "a number too": (("--model.chip", "3"), "`model.chip` must be left out, or 0, with `model.chip_file`"),
    "no file": (
        ("--model.chip_file", "none.safetensors"),
        "`model.chip_file` 'none.safetensors' cannot be read: No such file",
    ),
    "a folder": (("--model.chip_file", "runs"), "`model.chip_file` 'runs' cannot be read: Is a directory"),
    "no safetensors": (("--model.chip_file", "tiny.yaml"), "tiny.yaml is no .safetensors file, or a damaged one"),
    "equal chips": (
        ("--model.plan.macro.static", "{offset: 0, gain: 0, stuck_at_1: 0}"),
        "changes nothing, as `macro.static` says that no chip differs from another",
    ),
    "another ADC": (("--model.plan.macro.adc_bits", "7"), "must be of a macro with adc_bits 7, got one with 8"),
    "fresh chips": (
        ("--model.train_noise_model", "chip", "--model.train_noise_args", "{chip: fresh}"),
        "`train_noise_args.chip` must be null with `model.chip_file`",
    ),
    "a chip to compare": (("--compare", "[{chip: 3}]"), "`chip` must be left out with `model.chip_file`"),
    "a macro to compare": (("--compare", "[{macro: {adc_bits: 7}}]"), "must be of a macro with adc_bits 7"),
}


@pytest.mark.parametrize(("flags", "message"), WRONG.values(), ids=WRONG)
def test_wrong_settings_beside_a_chip_in_a_file(flags: tuple[str, ...], message: str, asim: Asim, chip: Path) -> None:
    given = () if "--model.chip_file" in flags else ("--model.chip_file", chip)
    assert message in asim("validate", "-c", "tiny.yaml", *given, *flags).error


@pytest.mark.parametrize("flags", [("--axes.chip", "[1, 2]"), ("--chips", "3"), ("--until", "yield 0.9 at 10 %")])
def test_one_file_is_no_axis_of_chips(flags: tuple[str, ...], asim: Asim, chip: Path) -> None:
    error = asim("sweep", "-c", "tiny.yaml", "--model.chip_file", chip, *flags, *QUIET).error
    assert "`chip` and `chips` must be left out with `model.chip_file`" in error


def test_a_sweep_over_other_macros_is_refused_before_it_starts(asim: Asim, chip: Path) -> None:
    error = asim("sweep", "-c", "tiny.yaml", "--model.chip_file", chip, "--axes.adc_bits", "[8, 7]", *QUIET).error
    assert "must be of a macro with adc_bits 7, got one with 8, at the point adc_bits 7" in error


def test_another_chip_by_flag_is_refused_by_asim_chip(asim: Asim, chip: Path) -> None:
    assert "`chip` must be left out" in asim("chip", "-c", "tiny.yaml", "--model.chip_file", chip, "--chip", "3").error


def test_a_file_of_another_network(asim: Asim, chip: Path) -> None:
    tensors: dict[str, Tensor] = load_file(chip)
    some = next(key.partition("/")[0] for key in tensors)
    renamed = {key.replace(f"{some}/", f"{some}x/"): value for key, value in tensors.items()}
    Path("other.safetensors").write_bytes(save(renamed))
    error = asim("validate", "-c", "tiny.yaml", "--model.chip_file", "other.safetensors").error
    assert f"has layer `{some}x`, which is none of the network's on a macro" in error


def test_a_recipe_names_a_file_that_lies_beside_it(asim: Asim, chip: Path, written: Write) -> None:
    Path("there").mkdir()
    (Path("there") / "mine.safetensors").write_bytes(chip.read_bytes())
    path = written(
        "there/tiny.yaml", model__fidelity="simulated", model__plan__macro__static=STATIC,
        model__chip_file="mine.safetensors",
    )  # fmt: skip
    assert asim("validate", "-c", path).code == 0
