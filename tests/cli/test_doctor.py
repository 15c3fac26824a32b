"""`asim doctor` prints a map and plans, and writes them; a plan is a recipe that other commands take."""

import json
from pathlib import Path

import pytest

from asim_lightning.evaluation.loss_map import LossMap
from asim_lightning.evaluation.run import run_names
from tests.cli.conftest import Asim

QUICKSTART = (
    "-c", "quickstart", "--model.plan.macro.weight_bits", "4", "--model.plan.macro.input_bits", "4",
    "--model.plan.macro.random_noise", "0.5",
)  # fmt: skip
ASKED = ("--target", "accuracy 60 %", "--images", "12", "--proof_images", "40", "--plans", "1", "--progress", "false")


def test_a_doctor_and_its_plan(asim: Asim, folder: Path) -> None:
    answer = asim("doctor", *QUICKSTART, *ASKED)
    (files,) = (each.parent for each in Path("runs/quickstart").glob("doctor-*/doctor.json"))
    assert answer.last == f"files    {files}/doctor.json, map.json, map.png, plan-1.yaml"
    found = json.loads((files / "doctor.json").read_text())
    assert found["target"] == "accuracy 60 %"
    assert found["as_is"]["verdict"] == "missed"
    assert [each["file"] for each in found["plans"]] == ["plan-1.yaml"]
    mapped = json.loads((files / "map.json").read_text())
    assert sum(each["share"] for each in mapped["shares"]) == pytest.approx(mapped["sum"])
    assert LossMap.of_json(mapped).to_json() == mapped
    assert mapped["images"] == 12
    assert (files / "map.png").read_bytes().startswith(b"\x89PNG")
    assert run_names("runs/quickstart") == [files.name]
    again = asim("validate", "-c", "quickstart", "-c", files / "plan-1.yaml", "--data.init_args.test_images", "64")
    assert again.accuracy >= 60
    asim("cost", *QUICKSTART, "-c", files / "plan-1.yaml")
    priced = json.loads(Path("runs/plan-1/cost.json").read_text())
    assert 1e-6 * priced["total"]["energy_pj"] == pytest.approx(found["plans"][0]["energy_uj"])
