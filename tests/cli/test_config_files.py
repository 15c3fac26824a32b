"""Where configurations and checkpoints are found, and which run they belong to."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from asim_lightning.cli.command_line import GROUPS, Arguments, read_arguments
from asim_lightning.cli.parser import AsimCLI
from asim_lightning.resources import shipped_file, shipped_folder


@pytest.fixture
def files(folder: Path) -> Path:
    """A folder of small configurations: a.yaml says trial 1, x.yaml trial 2, y.yaml trial 3."""
    for trial, name in enumerate("axy", 1):
        Path(f"{name}.yaml").write_text(f"model: {{trial: {trial}}}\n")
    return folder


def read(line: str) -> Arguments:
    return read_arguments(line.split())


@pytest.mark.parametrize("given", ["quickstart", "quickstart.yaml", "configs/quickstart.yaml"])
@pytest.mark.parametrize("flag", ["-c ", "-c", "-c=", "--config ", "--config="])
def test_a_shipped_recipe_by_name(given: str, flag: str, folder: Path) -> None:
    found = read(f"fit {flag}{given} --x=1")
    assert [config.path for config in found.configs] == [shipped_folder("configs") / "quickstart.yaml"]
    assert found.for_parser()[2:] == ["--x=1"]


@pytest.mark.parametrize(
    ("args", "flags"),
    [
        ("--a 1 -c x.yaml --b=2 --config y.yaml --c", "--a=1 --b=2 --c"),
        ("-c x.yaml -c y.yaml --a -1 --d.e-f 2 --g-h", "--a=-1 --d.e-f=2 --g_h"),
        ("--a -c x.yaml --config=y.yaml word --b=-c", "--a word --b=-c"),
    ],
)
def test_configuration_files_come_before_flags_in_their_order(args: str, flags: str, files: Path) -> None:
    given = read(f"fit {args}").for_parser()
    assert given == ["-c", "model:\n  trial: 2\n", "-c", "model:\n  trial: 3\n", *flags.split()]


def test_a_switch_alone_is_true() -> None:
    assert read("bench --layers --batch 1").for_parser({"layers"}) == ["--layers=true", "--batch=1"]


def test_what_is_written_wins_from_left_to_right_and_flags_over_files(files: Path) -> None:
    found = read("fit --model.chip 5 -c a.yaml --data.init_args.root=z -c x.yaml --data A")
    assert found.by_flags == {"model": {"chip": 5}, "data": "A"}
    assert found.written == {"model": {"trial": 2, "chip": 5}, "data": "A"}
    both = read("fit --data A --data.init_args.root z --trainer.callbacks+=B")
    assert both.written == {"data": {"class_path": "A", "init_args": {"root": "z"}}, "trainer": {"callbacks": "B"}}


@pytest.mark.parametrize(
    ("args", "text"),
    [
        ("--ckpt_path 010", "010"),
        ("--ckpt_path=null", None),
        ("--ckpt_path=", ""),
        ("-c b.yaml", "x"),
        ("-c date.yaml", "2026-11-27"),
        ("", None),
    ],
)
def test_a_setting_that_is_a_text_is_as_written(args: str, text: str | None, folder: Path) -> None:
    Path("b.yaml").write_text("ckpt_path: x\n")
    Path("date.yaml").write_text("ckpt_path: 2026-11-27\n")
    assert read(f"fit {args}").text("ckpt_path") == text


def test_files_in_place_of_groups_are_read(folder: Path) -> None:
    Path("sub").mkdir()
    Path("sub/r.yaml").write_text("model: {plan: p, trial: 1}")
    Path("sub/p").write_text("macro: m.json")
    Path("sub/m.json").write_text('{"adc_bits": 7}')
    found = read("fit -c sub/r.yaml")
    assert found.written == {"model": {"plan": {"macro": {"adc_bits": 7}}, "trial": 1}}
    assert found.file_of("model.plan.macro.adc_bits") == "sub/m.json"
    assert found.file_of("model.plan.keep") == "sub/p"
    assert found.file_of("model.trial") is None
    flags = read("fit --model.plan sub/p --model.plan.macro.adc_bits 8")
    assert flags.by_flags == {"model": {"plan": {"macro": {"adc_bits": 8}}}}
    assert flags.file_of("model.plan.macro.adc_bits") is None


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
        ("", "default"),
        ("-c a.yaml", "a"),
        ("-c a.yaml --config folder/b.yaml", "b"),
        ("-c runs/mine/version_3/config.yaml", "mine"),
        ("-c config.yaml", "config"),
    ],
)
def test_name_of_a_run(args: str, name: str, folder: Path) -> None:
    for path in (Path(word) for word in args.split() if word.endswith(".yaml")):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("{}")
    assert read(f"fit {args}").run_name == name


def test_name_of_a_run_from_inside_its_folder(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = folder / "runs" / "mine" / "version_0"
    place.mkdir(parents=True)
    monkeypatch.chdir(place)
    Path("config.yaml").write_text("{}")
    assert read("validate -c config.yaml").run_name == "mine"


def test_checkpoint_of_a_run_is_the_best_else_the_newest(folder: Path) -> None:
    place = folder / "runs" / "mine" / "version_0"
    (place / "checkpoints").mkdir(parents=True)
    (place / "config.yaml").write_text("{}")
    args = f"validate -c {place / 'config.yaml'}"
    assert read(args).checkpoint_of_run is None
    for time, name in enumerate(("z", "b")):
        path = place / "checkpoints" / f"{name}.ckpt"
        path.touch()
        os.utime(path, (time, time))
    assert read(args).checkpoint_of_run == "runs/mine/version_0/checkpoints/b.ckpt"
    best = place / "checkpoints" / "best.ckpt"
    best.touch()
    os.utime(best, (0, 0))
    assert read(args).checkpoint_of_run == "runs/mine/version_0/checkpoints/best.ckpt"
    Path("other.yaml").write_text("{}")
    assert read(f"{args} -c other.yaml").checkpoint_of_run is None  # the last file is the run's


def test_keys_of_other_commands_are_left_out(folder: Path) -> None:
    Path("a.yaml").write_text("axes: {rows: [1]}\ntrials: 2\nckpt_path: x\nmodel: {trial: 3}\n")
    kept = read("validate -c a.yaml").for_parser(others={"axes", "trials"})
    assert yaml.safe_load(kept[1]) == {"ckpt_path": "x", "model": {"trial": 3}}


def test_keys_with_dots_are_settings_in_one_another(folder: Path) -> None:
    Path("a.yaml").write_text(
        "model: {trial: 1}\nmodel.plan.macro.rows: 9\ndata.class_path: A\nmodel.backbone: {kwargs: {a.b: 1}}"
    )
    found = read("fit -c a.yaml")
    model = {"trial": 1, "plan": {"macro": {"rows": 9}}, "backbone": {"kwargs": {"a.b": 1}}}
    assert found.written == {"model": model, "data": {"class_path": "A"}}
    assert found.names_data


def test_groups_are_those_of_the_parser(folder: Path) -> None:
    found = set()
    for command in ("fit", "sweep", "search", "cost"):
        names = AsimCLI(read(f"{command} --ckpt_path fashion_resnet_qat")).parser.get_defaults().keys()
        found |= {name[:place] for name in names for place, letter in enumerate(name) if letter == "."}
    assert found - {"data.init_args"} | {"data"} == set(GROUPS)


def test_help_does_not_wait_for_timm() -> None:
    code = "import sys, asim_lightning.cli.parser; sys.exit('timm' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


@pytest.mark.parametrize(
    ("content", "flags", "runner"),
    [
        ("runner: ray", [], {"name": "ray"}),
        ("runner: ray", ["--runner.workers", "2"], {"name": "ray", "workers": 2}),
        ("runner: {name: ray, workers: 3}", ["--runner", "trainer"], {"name": "trainer", "workers": 3}),
        ("{}", ["--runner", "ray"], {"name": "ray"}),
    ],
)
def test_a_text_in_place_of_a_runner_is_its_name(
    content: str, flags: list[str], runner: dict[str, object], tmp_path: Path
) -> None:
    (tmp_path / "a.yaml").write_text(content)
    assert read_arguments(["sweep", "-c", str(tmp_path / "a.yaml"), *flags]).written["runner"] == runner
