"""`asim vectors` and `asim replay` as commands."""

from pathlib import Path

import pytest

from tests.cli.conftest import Asim, Refused


def test_vectors_go_to_a_folder_and_come_back(asim: Asim, folder: Path) -> None:
    said = asim("vectors", "-c", "quickstart", "--layer", "fc", "--images", "[17, 3]", "--format", "csv").out
    assert "fc; arrays 1, vectors 2, codes 1,280" in said
    written = folder / "runs/quickstart/vectors-fc"
    assert {path.name for path in written.iterdir()} >= {"codes.csv", "expected.json", "Makefile", "SHA256SUMS"}
    alone = asim("replay", str(written / "codes.csv"), "-c", "quickstart", "--layer", "fc").out.splitlines()
    said = asim("replay", str(written), "-c", "quickstart").out
    assert [line for line in alone if line not in said.splitlines()] == [line for line in alone if "digests" in line]
    assert sum("digests" in line for line in alone) == 1
    assert "1,280 of layer fc; 0 differ from its own" in said
    assert "the network's outputs equal those with its own codes, to the bit" in said
    assert "(read 0 of chip 0)" in said
    assert "of 2 samples" in said
    other = asim("replay", str(written), "-c", "quickstart", "--model.plan.macro.adc_bits", 7).error
    assert "was written for a macro with adc_bits 8, and layer `fc` has adc_bits 7; give the same recipe" in other


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--layer", "conv1.0"], "not on a macro (first convolution: digital)"),
        (["--layer", "fx"], "`layer` must be a layer on a macro, such as conv1.3; got 'fx'"),
        (
            ["--layer", "fc", "--positions", "3"],
            "`positions` must be two numbers such as 0:64, the end not included, got '3'",
        ),
        (["--layer", "fc", "--images", "[4000]"], "`images` must be 0..399, got 4000"),
        (["--layer", "fc", "--images", "[3, 3]"], "places of one or more images, each once, got [3, 3]"),
        (["--layer", "fc", "--positions", "0:2"], "`positions` must be some of 0:1 in layer `fc`, got 0:2"),
        (["--layer", "fc", "--read", "70000"], "`read` must be 0..65535, got 70000"),
    ],
)
def test_wrong_options_are_refused(refused: Refused, flags: list[str], said: str) -> None:
    refused(("vectors", "-c", "quickstart", *flags), said)
