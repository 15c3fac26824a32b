"""`placement: reuse` in commands."""

from collections.abc import Callable
from pathlib import Path

from safetensors.torch import load_file

from tests.cli.conftest import Asim

Write = Callable[..., Path]

STATIC = {"offset": "3 lsb", "placement": "reuse", "macros": 5, "columns": 32}


def test_explain_says_the_order_and_a_chip_is_saved_by_its_macros(asim: Asim, written: Write) -> None:
    path = written(model__fidelity="simulated", model__plan__macro__static=STATIC)
    said = " ".join(asim("explain", "-c", path).out.split())
    assert "weights reloaded into 5 macros of 32 columns" in said
    assert "the tiles of all layers are given to the 5 macros in turn, layer after layer, tile after tile" in said
    assert "conv1.3 from macro 0, conv1.6 from macro 1" in said
    answer = asim("chip", "-c", path, "--chip", "3")
    assert answer.code == 0, answer.err
    saved = load_file("runs/tiny/chip-3/chip.safetensors")
    assert {key: list(value.shape) for key, value in saved.items()} == {
        "macros 0/macro": [8], "macros 0/place": [160, 2], "macros 0/offset": [160],
    }  # fmt: skip
    said = []
    for flags in (("--model.chip", "3"), ("--model.chip_file", "runs/tiny/chip-3/chip.safetensors")):
        assert asim("predict", "-c", path, *flags).code == 0
        said.append(Path("runs/tiny/predictions.csv").read_text())
    assert said[0] == said[1]
    other = asim("validate", "-c", path, "--model.chip_file", "runs/tiny/chip-3/chip.safetensors",
                 "--model.plan.macro.static.macros", "6")  # fmt: skip
    assert "layer `macros 0` must be of a macro with macros 6, got one with 5" in other.error


def test_a_sweep_places_tiles_at_each_point(asim: Asim, written: Write) -> None:
    path = written(model__fidelity="simulated", model__plan__macro__static=STATIC)
    grid = ("--axes.static.macros", "[1, 5]", "--axes.random_noise", "[0.1]", "--trials", "1", "--progress", "false")
    answer = asim("sweep", "-c", path, *grid)
    assert answer.code == 0, answer.err
    assert "native" in answer.out
