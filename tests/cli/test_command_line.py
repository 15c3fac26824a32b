"""Where configurations and checkpoints are found, and which run they belong to."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

import asim_lightning
from asim_lightning.cli.command_line import Arguments, dump_yaml, load_yaml, read_arguments
from asim_lightning.resources import shipped_file
from tests.commands import parsed


def read(line: str) -> Arguments:
    return read_arguments(line.split())


@pytest.mark.parametrize(
    "args",
    [
        "--model.trial 4 -c x.yaml --data.init_args.seed=2 --config y.yaml --model.plan.pact",
        "--model.trial --config=y.yaml -cx.yaml word",
    ],
)
def test_flags_stay_in_their_order(args: str, folder: Path) -> None:
    for name in "xy":
        Path(f"{name}.yaml").write_text("model: {}")
    flags = [word for word in args.split() if not word.endswith(".yaml") and word not in ("-c", "--config")]
    assert read(f"fit {args}").flags == tuple(flags)


def config(line: str) -> Any:
    return parsed(line.split())


def test_later_files_win_and_flags_over_all(folder: Path) -> None:
    Path("a.yaml").write_text("model: {trial: 1, chip: 1, noise_seed: 1}")
    Path("b.yaml").write_text("model: {trial: 2, chip: 2}\ndata: {init_args: {batch_size: 4}}")
    for line in ("--model.chip 3 -c a.yaml -c b.yaml", "-c a.yaml --model.chip=3 -c b.yaml"):
        found = config(f"explain {line}")
        assert (found.model.trial, found.model.chip, found.model.noise_seed) == (2, 3, 1)
        assert (found.data.class_path, found.data.init_args.batch_size) == ("asim_lightning.data.FashionMNIST", 4)


def test_a_class_and_its_arguments_may_stand_in_different_places(folder: Path) -> None:
    Path("a.yaml").write_text("data: {class_path: CIFAR10, init_args: {batch_size: 3}}")
    Path("b.yaml").write_text("data: {init_args: {eval_batch_size: 4}}\ntrainer: {callbacks: [ConfusionMatrix]}")
    found = config("fit -c a.yaml -c b.yaml --data.init_args.root x --trainer.callbacks+=NoiseRamp "
                   "--trainer.callbacks.end=2")  # fmt: skip
    given = found.data.init_args
    assert (found.data.class_path, given.batch_size, given.eval_batch_size, given.root) == (
        "asim_lightning.data.CIFAR10", 3, 4, "x",
    )  # fmt: skip
    assert [each.class_path.split(".")[-1] for each in found.trainer.callbacks] == ["ConfusionMatrix", "NoiseRamp"]


def test_files_in_place_of_groups_are_read(folder: Path) -> None:
    Path("sub").mkdir()
    Path("sub/r.yaml").write_text("model: {plan: p, trial: 1}")
    Path("sub/p").write_text("macro: m.json")
    Path("sub/m.json").write_text('{"adc_bits": 7}')
    for line in ("-c sub/r.yaml", "--model.plan sub/p", "--model.plan.macro sub/m.json"):
        assert config(f"explain {line}").model.plan.macro.adc_bits == 7
    assert config("explain --model.plan sub/p --model.plan.macro.adc_bits 8").model.plan.macro.adc_bits == 8


def test_a_file_comes_before_a_shipped_one_and_a_missing_one_names_the_nearest(folder: Path) -> None:
    for kind, given, expected in (
        ("configs", "quickstrat", "shipped configs: quickstart, "),
        ("configs", "zzz", "nearest of "),
        ("checkpoints", "fashion_resnet", "shipped checkpoints: fashion_resnet_qat, "),
    ):
        with pytest.raises(FileNotFoundError, match=expected):
            shipped_file(kind, given)
    (folder / "quickstart").write_text("")
    assert shipped_file("configs", "quickstart") == Path("quickstart")


def test_plans_of_two_doctors_have_their_own_runs(folder: Path) -> None:
    names = []
    for doctor in ("doctor-11111111", "doctor-22222222"):
        path = Path("runs/mine", doctor, "plan-1.yaml")
        path.parent.mkdir(parents=True)
        path.write_text("{}")
        (path.parent / "settings.json").write_text("{}")
        names.append(read(f"sweep -c {path}").run_name)
    assert names == ["doctor-11111111-plan-1", "doctor-22222222-plan-1"]


@pytest.mark.parametrize(
    ("args", "name"),
    [
        ("", "default"),
        ("-c a.yaml --config folder/b.yaml", "b"),
        ("-c runs/mine/version_3/config.yaml", "mine"),
        ("-c runs/mine/version_3/config.yaml -c other.yaml", "other"),
    ],
)
def test_name_of_a_run(args: str, name: str, folder: Path) -> None:
    for path in (Path(word) for word in args.split() if word.endswith(".yaml")):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("{}")
    assert read(f"fit {args}").run_name == name


def test_keys_of_other_commands_are_left_out(folder: Path) -> None:
    Path("a.yaml").write_text("axes: {rows: [1]}\ntrials: 2\nsearch: {most: 3}\nmodel: {trial: 3}\n")
    assert config("explain -c a.yaml").model.trial == 3
    assert config("sweep -c a.yaml").trials == 2
    Path("a.yaml").write_text("axis: {rows: [1]}\n")
    with pytest.raises(ValueError, match="`axis` is no setting"):
        config("explain -c a.yaml")


@pytest.mark.parametrize(
    ("content", "flags", "runner"),
    [
        ("runner: ray", "--runner.workers 2", ("ray", 2)),
        ("runner: {name: ray, workers: 3}", "--runner trainer", ("trainer", 3)),
        ("{}", "--runner=ray", ("ray", None)),
    ],
)
def test_a_text_in_place_of_a_runner_is_its_name(
    content: str, flags: str, runner: tuple[str, int | None], folder: Path
) -> None:
    Path("a.yaml").write_text(content)
    found = config(f"sweep -c a.yaml {flags}").runner
    assert (found.name, found.workers) == runner


def test_no_command_waits_for_a_library_that_it_does_not_use() -> None:
    eager = re.compile(r"^(?:import|from) (?:timm|optuna|plotly|ray)\b", re.M)
    package = Path(asim_lightning.__file__).parent
    assert [path.name for path in package.rglob("*.py") if eager.search(path.read_text())] == []


# YAML

NATIVE = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@pytest.mark.parametrize(
    "text",
    [
        "a: &a {b: 1}\nc: &c {<<: *a, b: 2}\nd: {<<: *c, b: 3}",
        "a: {b: 1}\nc: {b: 1}",
        "",
        "a: &a {b: 1}\nc: &c {d: 2}\ne: {<<: *a, <<: *c, f: 3}",
        "{1: a, '1': b, 1.5: c, '1.5': d, true: e, 'true': f}",
    ],
)
def test_what_is_allowed_is_read_as_ever(text: str) -> None:
    assert load_yaml(text) == yaml.load(text, NATIVE)


@pytest.mark.parametrize(
    ("text", "line", "problem"),
    [
        ("a: 1\nb: 2\na: 3", 3, "the key 'a' stands twice in one mapping"),
        ("a: [1, 2\nb: }", 2, "did not find expected"),
        ("a: !!python/object/apply:os.system ['touch x']", 1, "could not determine a constructor for the tag"),
    ],
)
def test_a_file_is_refused_with_its_line(text: str, line: int, problem: str, folder: Path) -> None:
    Path("a.yaml").write_text(text)
    with pytest.raises(ValueError, match=rf"a\.yaml is not YAML: .*{problem}.*, line {line}, column"):
        read("fit -c a.yaml")


VALUES = {
    "1e3": 1000.0, "1.5e3": 1500.0, "1e-3": 0.001, "1.e3": 1000.0, ".5": 0.5, "0x10": 16, "010": 8,
    "yes": True, "null": None, "~": None,
}  # fmt: skip
"""As jsonargparse's own loader reads them."""


@pytest.mark.parametrize("text", VALUES)
def test_a_value_is_what_the_parser_makes_of_it(text: str) -> None:
    assert load_yaml(text) == VALUES[text]
    assert load_yaml(dump_yaml({"a": text})) == {"a": text}
    assert load_yaml(dump_yaml({"a": VALUES[text]})) == {"a": VALUES[text]}
