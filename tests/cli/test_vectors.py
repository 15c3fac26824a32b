"""`asim vectors` and `asim replay` as commands."""

from pathlib import Path

import pytest

from tests.cli.conftest import Asim, Refused


def test_vectors_go_to_a_folder_and_come_back(asim: Asim, folder: Path) -> None:
    said = asim("vectors", "-c", "quickstart", "--layer", "fc", "--images", "[17, 3]", "--format", "csv").out
    assert "fc: 1 arrays, 2 vectors, 1,280 codes" in said
    written = folder / "runs/quickstart/vectors-fc"
    assert {path.name for path in written.iterdir()} >= {"codes.csv", "expected.json", "Makefile", "SHA256SUMS"}
    said = asim("replay", str(written / "codes.csv"), "-c", "quickstart", "--layer", "fc").out
    assert "1,280 of layer fc; 0 differ from its own" in said
    assert "the network's outputs equal those with its own codes, to the bit" in said
    assert asim("replay", str(written), "-c", "quickstart").out == said


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--layer", "conv1.0"], "not on a macro (first convolution: digital)"),
        (["--layer", "fx"], "`layer` must be a layer on a macro, such as conv1.3; got 'fx'"),
        (["--layer", "fc", "--positions", "3"], "`positions` must be two numbers such as 0:64, got '3'"),
        (["--layer", "fc", "--images", "[4000]"], "`images` must be 0..399, got 4000"),
    ],
)
def test_wrong_options_are_refused(refused: Refused, flags: list[str], said: str) -> None:
    refused(("vectors", "-c", "quickstart", *flags), said)
