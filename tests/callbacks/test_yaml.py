"""All callbacks from YAML, through the command line."""

import copy
import csv
from pathlib import Path
from typing import Any

import pytest
import yaml

from asim_lightning.cli import main
from tests.callbacks.conftest import read_events
from tests.cli.conftest import TINY

CALLBACKS: dict[str, dict[str, Any]] = {
    "NoiseSweep": {"levels": [0, "0.5 lsb", 2], "images": 4, "trials": 2},
    "RangeCalibration": {"images": 10, "method": "percentile"},
    "ConfusionMatrix": {},
    "Misclassified": {"images": 9},
    "HparamsTable": {},
}


def config(folder: Path, callbacks: dict[str, dict[str, Any]]) -> str:
    values = copy.deepcopy(TINY)
    values["trainer"]["callbacks"][0]["init_args"]["monitor"] = "noise/acc_mean" if "NoiseSweep" in callbacks else None
    values["trainer"]["callbacks"] += [
        {"class_path": f"asim_lightning.callbacks.{name}", "init_args": arguments}
        for name, arguments in callbacks.items()
    ]
    path = folder / "all.yaml"
    path.write_text(yaml.safe_dump(values))
    return str(path)


def test_a_fit_and_a_test_of_what_it_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    path = config(tmp_path, CALLBACKS)
    main(["fit", "-c", path])
    run = tmp_path / "runs" / "all" / "version_0"
    assert {
        "noise_sweep.csv", "confusion_val.csv", "confusion_val.png", "misclassified_val.csv", "misclassified_val.png"
    } <= {path.name for path in run.iterdir()}  # fmt: skip
    assert {"noise/accuracy_vs_random_noise", "val/confusion", "val/misclassified"} <= set(
        read_events(run).Tags()["images"]
    )
    with (run / "metrics.csv").open() as file:
        assert {"noise/acc@0", "noise/acc@0.5lsb", "noise/acc@2"} <= set(next(csv.reader(file)))
    main(["test", "-c", str(run / "config.yaml"), "--ckpt_path", str(run / "checkpoints" / "best.ckpt")])
    assert {"confusion_test.csv", "misclassified_test.csv"} <= {path.name for path in run.parent.iterdir()}


@pytest.mark.parametrize(
    ("callbacks", "message"),
    [
        ({"NoiseSweep": {"levels": []}}, "`levels` of NoiseSweep must be a list of one or more noise levels"),
        ({"NoiseSweep": {"levels": [-1]}}, "must be 0..100 % of full scale, got -1"),
        ({"RangeCalibration": {"method": "mean"}}, "`method` of RangeCalibration must be one of max, percentile, mse"),
        ({"Misclassified": {"images": 0}}, "`images` of Misclassified must be 1..400, got 0"),
    ],
)
def test_what_is_wrong_is_said(
    callbacks: dict[str, Any],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as stop:
        main(["fit", "-c", config(tmp_path, callbacks)])
    assert stop.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line
