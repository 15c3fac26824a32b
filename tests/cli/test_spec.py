"""`asim spec` prints limits, and writes them and a macro that keeps the target, which other commands take."""

import json
from pathlib import Path

import pytest

from asim_lightning.evaluation.run import run_names
from tests.cli.conftest import Asim, Refused

QUICKSTART = (
    "-c", "quickstart", "--data.init_args.test_images", "16", "--model.plan.macro.weight_bits", "4",
    "--model.plan.macro.input_bits", "4",
)  # fmt: skip


def test_a_spec_and_the_macro_that_keeps_the_target(asim: Asim, folder: Path) -> None:
    asked = ("--properties", "[random_noise]", "--target", "accuracy 40 %", "--progress", "false")
    answer = asim("spec", *QUICKSTART, *asked)
    (files,) = Path("runs/quickstart").glob("spec-*")
    assert answer.last == f"files    {files}/spec.json, spec.yaml, spec.png"
    found = json.loads((files / "spec.json").read_text())
    assert found["target"] == "accuracy 40 %"
    assert [each["property"] for each in found["limits"]] == ["random_noise", "all together"]
    assert found["joint"] == found["limits"][1]
    assert found["limits"][0]["kept"] < found["limits"][0]["missed"]
    assert (files / "spec.png").read_bytes().startswith(b"\x89PNG")
    assert run_names("runs/quickstart") == [files.name]  # a report has a section for it
    again = asim("validate", *QUICKSTART, "-c", files / "spec.yaml")
    assert again.accuracy >= 40


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (("--target", "energy 2 uJ"), "`target` must be as in 'accuracy 88 %'"),
        (("--properties", "[ofset]"), "did you mean offset?"),
        (("--given", "{adc_bits: 0}"), "`macro.adc_bits` must be 1..16 or null, got 0"),
    ],
)
def test_wrong_settings(flags: tuple[str, ...], said: str, refused: Refused) -> None:
    refused(("spec", "-c", "tiny.yaml", *flags), said)
