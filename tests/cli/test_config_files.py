"""Where configurations and checkpoints are found, and which run they belong to."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from asim_lightning.cli.configs import (
    checkpoint_of_run,
    configs_first,
    resolve_configs,
    run_name,
    without_other_commands_keys,
)
from asim_lightning.resources import shipped_file, shipped_folder


@pytest.mark.parametrize("given", ["quickstart", "quickstart.yaml", "configs/quickstart.yaml"])
def test_a_shipped_recipe_by_name(given: str, folder: Path) -> None:
    expected = str(shipped_folder("configs") / "quickstart.yaml")
    assert resolve_configs(["fit", "-c", given, "--x=1"]) == ["fit", "-c", expected, "--x=1"]
    assert resolve_configs(["fit", f"--config={given}"]) == ["fit", "--config", expected]
    assert resolve_configs(["fit", f"-c={given}"]) == resolve_configs(["fit", f"-c{given}"]) == ["fit", "-c", expected]


@pytest.mark.parametrize(
    ("args", "expected"),
    [
        ("fit --a 1 -c x --b=2 --config y --c", "fit -c x --config y --a 1 --b=2 --c"),
        ("fit -c x --a 1", "fit -c x --a 1"),
        ("fit --a 1", "fit --a 1"),
        ("-c x fit --a 1 -c y", "-c x fit -c y --a 1"),
        ("fit --a 1 -c", "fit -c --a 1"),
    ],
)
def test_configuration_files_come_before_flags_in_their_order(args: str, expected: str) -> None:
    assert configs_first(args.split(), "fit") == expected.split()


def test_a_file_comes_before_a_shipped_one(folder: Path) -> None:
    (folder / "quickstart").write_text("")
    assert shipped_file("configs", "quickstart") == Path("quickstart")


@pytest.mark.parametrize(
    ("kind", "given", "expected"),
    [
        ("configs", "quickstrat", "nearest: quickstart"),
        ("configs", "zzz", "nearest: efficientnet_lite0_real, fashion_resnet_nat, "),
        ("configs", "elsewhere/quickstart.yaml", "There is no file 'elsewhere/quickstart.yaml'"),
        ("checkpoints", "fashion_resnet", "nearest: fashion_resnet_qat, "),
    ],
)
def test_a_missing_file_names_the_nearest(kind: str, given: str, expected: str, folder: Path) -> None:
    with pytest.raises(FileNotFoundError, match=expected):
        shipped_file(kind, given)


@pytest.mark.parametrize(
    ("args", "name"),
    [
        (["fit"], "default"),
        (["fit", "-c", "a.yaml"], "a"),
        (["fit", "-c", "a.yaml", "--config", "folder/b.yaml"], "b"),
        (["fit", "-c", "runs/mine/version_3/config.yaml"], "mine"),
        (["fit", "-c", "config.yaml"], "config"),
    ],
)
def test_name_of_a_run(args: list[str], name: str) -> None:
    assert run_name(args) == name


def test_name_of_a_run_from_inside_its_folder(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = folder / "runs" / "mine" / "version_0"
    place.mkdir(parents=True)
    monkeypatch.chdir(place)
    assert run_name(["validate", "-c", "config.yaml"]) == "mine"


def test_checkpoint_of_a_run_is_the_best_else_the_newest(folder: Path) -> None:
    place = folder / "runs" / "mine" / "version_0"
    args = ["validate", "-c", str(place / "config.yaml")]
    assert checkpoint_of_run(args) is None
    (place / "checkpoints").mkdir(parents=True)
    assert checkpoint_of_run(args) is None
    for time, name in enumerate(("z", "b")):
        path = place / "checkpoints" / f"{name}.ckpt"
        path.touch()
        os.utime(path, (time, time))
    assert checkpoint_of_run(args) == "runs/mine/version_0/checkpoints/b.ckpt"
    best = place / "checkpoints" / "best.ckpt"
    best.touch()
    os.utime(best, (0, 0))
    assert checkpoint_of_run(args) == "runs/mine/version_0/checkpoints/best.ckpt"
    assert checkpoint_of_run([*args, "-c", "other.yaml"]) is None  # the last file is the run's


def test_keys_of_other_commands_are_left_out(folder: Path) -> None:
    Path("a.yaml").write_text("axes: {rows: [1]}\ntrials: 2\nckpt_path: x\nmodel: {trial: 3}\n")
    keys = {"sweep": {"ckpt_path", "axes", "trials"}, "validate": {"ckpt_path", "verbose"}}
    kept = without_other_commands_keys(["validate", "-c", "a.yaml"], keys)
    assert yaml.safe_load(kept[2]) == {"ckpt_path": "x", "model": {"trial": 3}}
    assert without_other_commands_keys(["sweep", "-c", "a.yaml"], keys) == ["sweep", "-c", "a.yaml"]


def test_help_does_not_wait_for_timm() -> None:
    code = "import sys, asim_lightning.cli.parser; sys.exit('timm' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
