"""`asim doctor` prints a map and plans, and writes them; a plan is a recipe that other commands take."""

import json
from pathlib import Path

import pytest

from asim_lightning.cli.doctor import read_map
from asim_lightning.evaluation.run import run_names
from tests.cli.conftest import Asim, Refused

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
    assert read_map(str(files / "map.json")).images == 12
    assert (files / "map.png").read_bytes().startswith(b"\x89PNG")
    assert run_names("runs/quickstart") == [files.name]
    again = asim("validate", "-c", "quickstart", "-c", files / "plan-1.yaml", "--data.init_args.test_images", "64")
    assert again.accuracy >= 60
    asim("cost", *QUICKSTART, "-c", files / "plan-1.yaml")
    priced = json.loads(Path("runs/plan-1/cost.json").read_text())
    assert 1e-6 * priced["total"]["energy_pj"] == pytest.approx(found["plans"][0]["energy_uj"])

    # a map that is given is not made again
    given = {**mapped, "increase": 2 * mapped["increase"]}
    Path("mine.json").write_text(json.dumps(given))
    again = asim("doctor", *QUICKSTART, *ASKED, "--map", "mine.json")
    assert "path attribution" not in again.out
    assert given in [json.loads(path.read_text()) for path in Path("runs/quickstart").glob("doctor-*/map.json")]


MAP = {"shares": [], "increase": 1.0, "stepped_back_to": None, "changes": [], "images": 4}
OTHER = {**MAP, "shares": [{"layer": "other", "diagonal": 0, "share": 1.0}]}
NO_MAP = "`map` must be a map.json of asim doctor, got map.json"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (json.dumps({**MAP, "shares": [{"share": 1}]}), NO_MAP),
        (json.dumps(OTHER), "got a map of 1 layers, such as other"),
        ('{"shares": [{"layer": "fc", "diagonal": 0, "share": NaN}], "increase": 1, "changes": []}', NO_MAP),
    ],
)
def test_wrong_maps(content: str, said: str, refused: Refused) -> None:
    refused(("doctor", "-c", "tiny.yaml", "--map", "map.json"), said, {"map.json": content})


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (("--target", "energy 2 uJ"), "`target` must be as in"),
        (("--map", "none.json"), "none.json"),
        (("--checkpoints", "[none]"), "none"),
    ],
)
def test_wrong_inputs(flags: tuple[str, str], said: str, refused: Refused) -> None:
    refused(("doctor", "-c", "tiny.yaml", *flags), said)
