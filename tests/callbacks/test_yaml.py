"""All callbacks from YAML, through the command line."""

import copy
import csv
from pathlib import Path
from typing import Any

import pytest
import yaml

from asim_lightning import callbacks
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


def config(folder: Path, given: dict[str, dict[str, Any]]) -> str:
    values = copy.deepcopy(TINY)
    values["trainer"]["callbacks"][0]["init_args"]["monitor"] = "noise/acc_mean" if "NoiseSweep" in given else None
    values["trainer"]["callbacks"] += [
        {"class_path": f"asim_lightning.callbacks.{name}", "init_args": arguments} for name, arguments in given.items()
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


WRONG: list[tuple[str, dict[str, Any]]] = [
    ("ConfusionMatrix", {"every_n_epochs": 0}),
    ("LastCheckpoint", {"every_n_train_steps": 0}),
    ("Misclassified", {"images": 401}),
    ("NoiseRamp", {"end": float("nan")}),
    ("NoiseRamp", {"length": 0, "end": 1.0}),
    ("NoiseRamp", {"shape": "linaer", "end": 1.0}),
    ("NoiseRamp", {"unit": "epochs", "end": 1.0}),
    ("NoiseSweep", {"axis": "adc_bit", "levels": [0]}),
    ("NoiseSweep", {"split": "vale", "levels": [0]}),
    ("NoiseSweep", {"trials": 65536, "levels": [0]}),
    ("RangeCalibration", {"every_n_epochs": 1.5}),
    ("RangeCalibration", {"method": "mean"}),
    ("SimulatedAccuracy", {"chips": []}),
    ("SimulatedAccuracy", {"images": 0}),
]


@pytest.mark.parametrize(("name", "arguments"), WRONG)
def test_arguments_that_are_refused(name: str, arguments: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=f"`{next(iter(arguments))}` of {name}"):
        getattr(callbacks, name)(**arguments)
