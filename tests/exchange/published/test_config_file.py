"""A published config.py is read as assignments of literals: what counts, what is refused, and that nothing is run."""

import os
from pathlib import Path
from typing import Any

import pytest

from asim_lightning.exchange.published.config_file import Transform, read_settings
from asim_lightning.exchange.published.names import KNOWN
from asim_lightning.exchange.published.recipe import recipe_of
from tests.exchange.published.configs import config_text


@pytest.fixture
def config(tmp_path: Path) -> Path:
    return tmp_path / "config.py"


def values(config: Path, *lines: str) -> dict[str, Any]:
    config.write_text("\n".join(lines) + "\n")
    return {name: setting.value for name, setting in read_settings(config).items()}


def test_all_settings_are_read(config: Path) -> None:
    found = values(config, config_text(max_epoch=80, train_dir=r"D:\new\train"))
    assert list(found) == list(KNOWN)
    assert found["milestones"] == (48, 72)
    assert found["train_dir"] == r"D:\new\train"
    assert found["large_model"] is False
    assert found["transforms_test"].arguments[0][0] == Transform("Resize", ((32, 32),), {})


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-4", 1e-4),
        (r"r'E:\data\train'", r"E:\data\train"),
        ("(1, [2, 'x'], ())", (1, (2, "x"), ())),
        ("size", 32),
        ("cfg.a", 2),
        ("int(cfg.a * 0.6)", 1),
        (
            "transforms.Compose([transforms.Pad(size, fill=1)])",
            Transform("Compose", ((Transform("Pad", (32,), {"fill": 1}),),), {}),
        ),
    ],
)
def test_values(config: Path, text: str, value: object) -> None:
    lines = ["import torchvision.transforms as transforms", "size = 32", "cfg.a = 2", f"cfg.b = {text}"]
    assert values(config, *lines)["b"] == value


def test_of_several_lines_for_a_setting_the_last_counts(config: Path) -> None:
    assert values(config, "cfg.a = 1", "cfg.a = 2") == {"a": 2}


def test_an_if_compares_a_name_with_a_literal(config: Path) -> None:
    lines = ["x = 9", "cfg.a = 'one'"]
    lines += ["if cfg.a == 'one':", "    cfg.b = 1", "elif undefined:", "    cfg.b = os.remove('x')"]
    lines += ["if x > 9:", "    cfg.c = large()", "else:", "    cfg.c = 'small'"]
    assert values(config, *lines) == {"a": "one", "b": 1, "c": "small"}


def test_what_sets_nothing_is_passed_over(config: Path) -> None:
    lines = ['"""Text."""', "import os, torch", "from torchvision import transforms", "import torch.nn as nn", "pass"]
    lines += ["cfg.a = 1", "assert os.path.exists(cfg.a), open('x')", "if __name__ == '__main__':", "    print(cfg.a)"]
    assert values(config, *lines) == {"a": 1}


@pytest.mark.parametrize(
    "line",
    [
        "cfg.a = os.system('touch gone')", "cfg.a = [1, (2, [open('gone', 'w') for x in [1]])]", "cfg.a = f'{open(1)}'",
        "cfg.a = int(open('gone', 'w') * 2)", "cfg.a = transforms.Lambda(lambda x: x)", "cfg.a = 9 ** 9 ** 9",
        "cfg.a = cfg.unknown", "os.system('touch gone')", "for x in [1]: cfg.a = x", "def f(): pass", "cfg['a'] = 1",
        "a, b = 1, 2", "cfg = {'a': 1}", "cfg.update({'a': 1})", "from base import *", "from base import cfg",
    ],
)  # fmt: skip
def test_other_lines_are_refused_and_nothing_is_run(config: Path, monkeypatch: pytest.MonkeyPatch, line: str) -> None:
    monkeypatch.chdir(config.parent)
    with pytest.raises(ValueError, match=rf"^{config}, line 2: a line must be cfg.NAME = VALUE"):
        values(config, "import os, torch", line)
    assert os.listdir(config.parent) == ["config.py"]


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"cfg.a = (1,\ncfg.b = 2\n", "is not Python: '(' was never closed (<unknown>, line 1)"),
        (b"cfg.a = 1\n", "with cfg.task and cfg.model_name, got no cfg.task"),
    ],
)
def test_no_config_at_all(config: Path, content: bytes, expected: str) -> None:
    config.write_bytes(content)
    with pytest.raises(ValueError) as error:
        recipe_of(config)
    assert expected in str(error.value)
    assert "\n" not in str(error.value)
