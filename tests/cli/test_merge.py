"""Levels of settings over each other, as plain mappings."""

from pathlib import Path
from typing import Any

import pytest

from asim_lightning.cli.merge import level_of, level_of_flags, merge_, plain
from asim_lightning.cli.setting_names import Names

NAMES = Names(
    dict.fromkeys(
        ["data", "trainer.callbacks", "trainer.devices", "model.kwargs", "model.plan.macro.rows", "model.keep"]
    ),
    frozenset({"trainer", "model", "model.plan", "model.plan.macro"}),
)
MNIST = {"class_path": "FashionMNIST", "init_args": {"test_images": 5, "download": False}}


def merged(*levels: dict[str, Any] | str) -> dict[str, Any]:
    settings: dict[str, Any] = {}
    for level in levels:
        merge_(
            settings, level_of_flags(level.split(), NAMES) if isinstance(level, str) else level_of(level, NAMES), NAMES
        )
    return settings


@pytest.mark.parametrize(
    ("levels", "expected"),
    [
        (({"model": {"kwargs": {"a": 1}}}, {"model": {"kwargs": {"b": 2}}}), {"model": {"kwargs": {"b": 2}}}),
        (({"model": {"kwargs": {"a": 1}}}, "--model.kwargs.b 2"), {"model": {"kwargs": {"a": 1, "b": 2}}}),
        (({"model": {"keep": ["a"]}}, {"model": {"keep+": ["b"]}}), {"model": {"keep": ["a", "b"]}}),
        (({"model": {"keep": ["a"]}}, "--model.keep+=b --model.keep+=[c]"), {"model": {"keep": ["a", "b", "c"]}}),
        (({"model": {"plan": {}}}, "--model.plan={}"), {}),
        (({"model.plan": {"macro.rows": 1}},), {"model": {"plan": {"macro": {"rows": 1}}}}),
        (("--trainer.devices=2", "--trainer.devices null"), {"trainer": {"devices": "null"}}),
    ],
)
def test_the_last_value_counts(levels: tuple[Any, ...], expected: dict[str, Any]) -> None:
    assert merged(*levels) == expected


@pytest.mark.parametrize(
    ("above", "expected"),
    [
        ("--data.test_images 6", {**MNIST, "init_args": {"test_images": "6", "download": False}}),
        ({"data": {"init_args": {"seed": 1}}}, {**MNIST, "init_args": {**MNIST["init_args"], "seed": 1}}),  # type: ignore[dict-item]
        ("--data FashionMNIST", MNIST),
        ("--data ImageFolder", {"class_path": "ImageFolder", "init_args": {"test_images": 5}}),
        ("--data no.Such", {**MNIST, "class_path": "no.Such"}),  # the parser refuses it
        ("--data null", None),
    ],
)
def test_a_class_keeps_the_arguments_that_it_takes(above: Any, expected: Any) -> None:
    assert merged({"data": MNIST}, above) == {"data": expected}


def test_arguments_go_to_the_last_class_of_a_list() -> None:
    found = merged({"trainer": {"callbacks": ["A"]}}, "--trainer.callbacks+=NoiseRamp --trainer.callbacks.end=2")
    assert found["trainer"]["callbacks"] == ["A", {"class_path": "NoiseRamp", "init_args": {"end": "2"}}]


def test_files_of_values_are_next_to_their_recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub/x.yaml").write_text("{}")
    given = {"trainer": {"callbacks": "x.yaml", "devices": "y.yaml"}, "model": {"kwargs": {"a": ["x.yaml"]}}}
    assert level_of(given, NAMES, Path("sub")) == [
        ("trainer.callbacks", "sub/x.yaml"), ("trainer.devices", "y.yaml"), ("model.kwargs", {"a": ["sub/x.yaml"]}),
    ]  # fmt: skip


def test_texts_of_flags_are_values_for_records() -> None:
    assert plain({"a": ["1", {"b": "null"}], "c": "0.5 lsb", "d": "{"}) == {
        "a": [1, {"b": None}],
        "c": "0.5 lsb",
        "d": "{",
    }


@pytest.mark.parametrize(
    "flags", ["--model.plan.macro.row 3", "word", "--model.keep", "--model.keep --trainer.devices 2", "--model.plan 3"]
)
def test_wrong_flags(flags: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError):
        merged(flags)
