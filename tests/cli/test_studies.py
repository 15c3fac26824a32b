"""`asim sweep`, `search`, `spec` and `doctor`: what they say and write, and trials of an earlier run."""

import json
from pathlib import Path

import pytest
import yaml

from asim_lightning.circuit import MacroConfig
from asim_lightning.cli.studies import check_flags, read_map
from asim_lightning.evaluation.run import run_names
from asim_lightning.exploration.sweep import left_out
from tests.cli.conftest import Asim, Write
from tests.commands import by_flags
from tests.conftest import rows_of

STATIC = ("--model.plan.macro.static", "{offset: 3 lsb}")
QUIET = ("--progress", "false")


def test_chips_give_a_yield_until_a_target_is_answered(asim: Asim, written: Write) -> None:
    path = written(chips=2, trials=1, thresholds=[50, 5], data__init_args__test_images=4)
    sweep = ("sweep", "-c", path, *STATIC, "--model.plan.macro.random_noise", "0.5", *QUIET)
    answer = asim(*sweep)
    assert any(line.startswith("grid     2 points, 4 trials of 4 images") for line in answer.out.splitlines())
    assert "good chips" in answer.out
    (folder,) = Path("runs/tiny").glob("sweep-*")
    assert {"yield.csv", "yield.png", "results.csv"} <= {path.name for path in folder.iterdir()}
    assert len((folder / "yield.csv").read_text().splitlines()) == 1 + 2
    assert "Reusing 4 stored results; nothing to compute." in asim(*sweep).out
    answer = asim(*sweep, "--until", "yield 0.99 at 100 %", "--chips", "30")
    assert "fewer if the target of the yield is answered before" in answer.out
    assert ": no, at most 0." in answer.out
    assert answer.out.count("\nsimulated") == 2  # of 30


def test_a_search_says_what_it_found_and_goes_on(asim: Asim, written: Write) -> None:
    path = written(
        search={"space": {"adc_bits": [6, 8], "rows": [64, 255]}, "constraints": ["accuracy 10 % of quantized"]}
    )
    answer = asim("search", "-c", path, "--technology.supply", "0.8", *QUIET)
    assert "search   grid, 4 points of adc_bits" in answer.out
    assert "energy (uJ)" in answer.out
    assert "at 28 nm, 0.8 V" in answer.out
    (folder,) = Path("runs/tiny").glob("search-*")
    assert {"results.csv", "settings.json", "trade_off.png", "accuracy_map.png"} <= {
        each.name for each in folder.iterdir()
    }
    again = asim("search", "-c", path, "--technology.supply", "0.7", *QUIET)
    assert "Reusing 6 stored results; nothing to compute." in again.out  # the technology changes no answer
    assert len(list(Path("runs/tiny").glob("search-*"))) == 2


QUICKSTART = ("-c", "quickstart", "--model.plan.macro.weight_bits", "4", "--model.plan.macro.input_bits", "4")
NOISE = "--model.plan.macro.random_noise"


def test_a_spec_and_the_macro_that_keeps_the_target(asim: Asim, folder: Path) -> None:
    images, rule = ("--data.init_args.test_images", "16"), "[{match: conv1.3, macro: {adc_bits: 9}}]"
    flags = ("--ckpt_path", "fashion_resnet_nat", "--model.plan.macro.rows", "127", "--model.plan.rules", rule)
    asked = ("--properties", "[random_noise]", "--target", "accuracy 40 %", "--trials", "1", *QUIET)
    answer = asim("spec", *QUICKSTART, *flags, *images, *asked)
    (files,) = Path("runs/quickstart").glob("spec-*")
    assert answer.last == f"files    {files}/spec.json, spec.yaml, spec.png"
    found = json.loads((files / "spec.json").read_text())
    assert found["target"] == "accuracy 40 %"
    assert [each["property"] for each in found["limits"]] == ["random_noise", "all together"]
    assert found["joint"] == found["limits"][1]
    assert found["limits"][0]["kept"] < found["limits"][0]["missed"]
    assert (files / "spec.png").read_bytes().startswith(b"\x89PNG")
    assert run_names("runs/quickstart") == [files.name]  # a report has a section for it
    proved = yaml.safe_load((files / "spec.yaml").read_text())["model"]["plan"]["macro"]["random_noise"]
    (row,) = [row for row in rows_of(files / "results.csv") if row["random_noise"] == str(proved)]
    again = asim("test", "-c", "quickstart", "-c", files / "spec.yaml", *images)
    assert again.accuracy == 100 * float(row["accuracy"]) >= 40


def test_a_doctor_and_its_plan(asim: Asim, folder: Path) -> None:
    noisy = (*QUICKSTART, NOISE, "0.5")
    asked = ("--target", "accuracy 60 %", "--images", "12", "--proof_images", "40", "--plans", "1", *QUIET)
    answer = asim("doctor", *noisy, *asked)
    (files,) = (each.parent for each in Path("runs/quickstart").glob("doctor-*/doctor.json"))
    assert answer.last == f"files    {files}/plan-1.yaml, map.json, doctor.json, map.png"
    assert any(line.endswith(" plan-1.yaml") for line in answer.out.splitlines()[:-1])
    found = json.loads((files / "doctor.json").read_text())
    assert found["target"] == "accuracy 60 %"
    assert found["as_is"]["verdict"] == "missed"
    assert [each["file"] for each in found["plans"]] == ["plan-1.yaml"]
    assert json.loads((files / "map.json").read_text())["images"] == 12
    assert (files / "map.png").read_bytes().startswith(b"\x89PNG")
    assert run_names("runs/quickstart") == [files.name]
    again = asim("validate", "-c", "quickstart", "-c", files / "plan-1.yaml", "--data.init_args.test_images", "64")
    assert again.accuracy >= 60


def test_a_sweep_is_put_next_to_published_accuracies(asim: Asim, written: Write) -> None:
    axes = {"random_noise": [0.1]}
    path = written(published={"Some network": [50.0]}, axes=axes, data__init_args__test_images=4)
    sweep = ("sweep", "-c", path, "--trials", "1", *QUIET)
    assert "agree with Some network" in asim(*sweep, "--against", "Some network").out
    assert "`against` must be one of Some network" in asim(*sweep, "--against", "None").error
    two = asim(*sweep, "--axes.random_noise", "[0.2]", "--against", "Some network")
    assert "`axes` must be the recipe's" in two.error


@pytest.mark.parametrize(
    ("flags", "axes", "clash"),
    [
        ((), ("random_noise",), False),
        ((NOISE, "0.3 lsb"), ("adc_bits", "random_noise"), True),
        (("--model.plan.macro", "{random_noise: 0.3 lsb}"), ("random_noise",), True),
        (("--model={plan: {macro: {adc_bits: 7}}}",), ("adc_bits",), True),
        (("--model.plan.macro.rows", "64"), ("adc_bits",), False),
        (("--model.plan.macro.static", "{offset: 1}"), ("static.offset",), True),
        (("--model.plan.macro.static.gain", "1"), ("static.offset",), False),
        (("--model.chip", "3"), ("random_noise", "chip"), True),
        (("--model.plan.preset", "cr_cim_2024"), ("adc_bits",), False),
    ],
    ids=str,
)
def test_a_flag_for_an_axis_is_refused(flags: tuple[str, ...], axes: tuple[str, ...], clash: bool) -> None:
    given = by_flags(*flags)
    if not clash:
        check_flags(axes, given)
        return
    with pytest.raises(ValueError, match=rf"The sweep varies {axes[-1]}, so its flag .* --axes\.{axes[-1]} "):
        check_flags(axes, given)


def test_a_full_scale_may_be_an_axis_of_noise_in_mv(asim: Asim, written: Write) -> None:
    """The macro of the recipe lacks it; every point has its own."""
    own = ("-c", written(), "--model.plan.macro.static.offset", "1 mV", "--data.init_args.test_images", "8")
    axis = "full_scale_mv: [500, 900]"
    assert asim("sweep", *own, "--trials", "1", f"--axes={{{axis}}}").code == 0
    assert asim("search", *own, f"--search.space={{{axis}}}", "--search.method", "grid").code == 0
    for kind in ("sweep", "search"):
        (path,) = Path("runs/tiny").glob(f"{kind}-*/results.csv")
        rows = [each["full_scale_mv"] for each in rows_of(path) if each["kind"] == "simulated"]
        assert sorted(set(rows)) == ["500", "900"]


def test_noise_that_the_axes_leave_out_is_said() -> None:
    macro = MacroConfig(random_noise="0.3 lsb", adc_bits=6)
    axes = {"random_noise": [0.0, 0.1], "adc_bits": [7]}
    (line,) = left_out(axes, macro, {})
    assert line == "axes     random_noise 0, 0.1; the macro's own 0.3 lsb is not among them"
    assert not [*left_out({"random_noise": ["0.30 lsb"]}, macro, {}), *left_out(axes, macro, axes)]
    assert not [*left_out(axes, MacroConfig(), {})]
    offset, wider = MacroConfig(static={"offset": "1 lsb"}), {"static.offset": ["2 lsb"]}
    assert len([*left_out(wider, offset, {})]) == 1
    assert not [*left_out(wider, offset, wider), *left_out(wider, offset, {"static": {"offset": ["2 lsb"]}})]


@pytest.mark.parametrize("text", ['{"shares": [{"layer": "fc", "share": NaN}]}', "{}", "[]", "no map"])
def test_a_file_that_is_no_map_is_named(folder: Path, text: str) -> None:
    (path := folder / "mine.json").write_text(text)
    with pytest.raises(ValueError, match=r"`map` must be a map\.json of asim doctor, got .*mine\.json"):
        read_map(path)
