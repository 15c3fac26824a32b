"""A published config.py is read as assignments of literals: what counts, what is refused, and that nothing is run."""

import os
from pathlib import Path
from typing import Any

import pytest

from asim_lightning.exchange.published.assignments import Transform, read_assignments
from asim_lightning.exchange.published.known_settings import KNOWN
from asim_lightning.exchange.published.recipe import recipe_of
from tests.exchange.published.configs import config_text


@pytest.fixture
def config(tmp_path: Path) -> Path:
    return tmp_path / "config.py"


def values(config: Path, *lines: str) -> dict[str, Any]:
    config.write_text("\n".join(lines) + "\n")
    return {name: setting.value for name, setting in read_assignments(config).items()}


def refusal(config: Path, *lines: str) -> str:
    with pytest.raises(ValueError) as error:
        values(config, *lines)
    message = str(error.value)
    assert "\n" not in message
    assert message.startswith(str(config))
    return message.removeprefix(str(config)).removeprefix(", ")


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
        ("-3", -3),
        ("None", None),
        ("True", True),
        ("'a' 'b'", "ab"),
        (r"r'E:\data\train'", r"E:\data\train"),
        ("(1, [2, 'x'], ())", (1, (2, "x"), ())),
        ("{'a': [1]}", {"a": [1]}),
        ("size", 32),
        ("[size, size]", (32, 32)),
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
    assert read_assignments(config)["a"].line == 2
    assert values(config, "cfg.a = 1", "cfg = EasyDict()", "cfg.b = 2") == {"b": 2}


def test_an_if_compares_a_name_with_a_literal(config: Path) -> None:
    lines = ["x = 9", "cfg.a = 'one'"]
    lines += ["if cfg.a == 'one':", "    cfg.b = 1", "elif undefined:", "    cfg.b = os.remove('x')"]
    lines += ["if x > 9:", "    cfg.c = large()", "else:", "    cfg.c = 'small'"]
    assert values(config, *lines) == {"a": "one", "b": 1, "c": "small"}
    assert refusal(config, "cfg.a = 'x'", "if cfg.a > 1:", "    cfg.b = 1").startswith("line 2: > must stand between")


def test_what_sets_nothing_is_passed_over(config: Path) -> None:
    lines = ['"""Text."""', "import os, torch", "from torchvision import transforms", "import torch.nn as nn", "pass"]
    lines += ["cfg.a = 1", "assert os.path.exists(cfg.a), open('x')", "if __name__ == '__main__':", "    print(cfg.a)"]
    assert values(config, *lines) == {"a": 1}


HUGE = "0x" + "f" * 5000  # of more digits than Python writes
REFUSED = [
    "os.system('touch gone')",
    "open('gone', 'w')",
    "eval('1')",
    "exec('1')",
    "__import__('os').system('touch gone')",
    "getattr(cfg, 'task')",
    "EasyDict(a=1)",
    "dict(a=1)",
    "os.path.join('a', 'b')",
    "int('7')",
    "int(7.0)",
    "int('7' * 2)",
    "int(open('gone', 'w') * 2)",
    "int(open('gone', 'w'))",
    "int(*[1])",
    "float('inf')",
    "transforms.Lambda(lambda x: x)",
    "transforms.Compose([open('gone', 'w')])",
    "transforms.functional.resize(1)",
    "transforms.Compose.__call__()",
    "transforms.Resize(*[1])",
    "transforms.Resize(**{})",
    "torch.load('weights.pkl')",
    "torch.device('cuda')",
    "torch.device(open('gone', 'w'))",
    "torch.cuda.is_available()",
    "torch.cuda.is_available(open('gone', 'w'))",
    "(lambda: 1)()",
    "lambda: open('gone', 'w')",
    "[open('gone', 'w') for x in [1]]",
    "{x: 1 for x in [1]}",
    "(x for x in [1])",
    "f'{open(1)}'",
    "f'plain'",
    "(x := 1)",
    "[1][0]",
    "cfg.task.upper()",
    "'a'.join(['b'])",
    "[*[1]]",
    "{**{}}",
    "{1, 2}",
    "{[1]}",
    "b'bytes'",
    "1j",
    "1 + 1j",
    "...",
    "(-1) ** 0.5",
    "1e999",
    "9 ** 9 ** 9",
    "2 ** 64",
    HUGE,
    "'a' * 10 ** 9",
    "'a' + 'b'",
    "'%s' % 1",
    "1e-3 * 4",
    "1 / 0",
    "1 < 'a'",
    "not True",
    "1 if True else 2",
    "True and False",
    "~1",
    "unknown",
    "os",
    "cfg",
    "cfg.unknown",
    "cfg.task.x",
]


@pytest.mark.parametrize("value", REFUSED)
@pytest.mark.parametrize("form", ["cfg.train_bs = {}", "cfg.milestones = [1, (2, [{}])]", "other = -({})", "{}"])
def test_other_values_are_refused_and_nothing_is_run(
    config: Path, monkeypatch: pytest.MonkeyPatch, value: str, form: str
) -> None:
    if form == "{}" and value in ("...", "1j", "b'bytes'", "1e999", HUGE):  # statements without effect
        return
    monkeypatch.chdir(config.parent)
    lines = ["import os, torch", "import torchvision.transforms as transforms", "cfg.task = 'CIFAR-10'"]
    message = refusal(config, *lines, form.format(value))
    assert message.startswith("line 4: ")
    assert len(message) < 320
    assert os.listdir(config.parent) == ["config.py"]


def test_refusal_says_what_is_allowed_and_given_and_what_to_write(config: Path) -> None:
    assert refusal(config, "cfg.a = 1", "cfg.b = [1, os.system('x')]") == (
        "line 2: a value must be a number, a text, True, False, None, a list of these, or a name that has one above, "
        "got os.system('x'); write the value that it has (no part of the file was run)"
    )
    assert "a name that has one above, got b;" in refusal(config, "cfg.a = b")
    assert "a name that has one above, got cfg.b;" in refusal(config, "cfg.a = cfg.b")
    assert refusal(config, "cfg.a = 1", "cfg.a *= 2") == (
        "line 2: a line must be cfg.NAME = VALUE, an import, an assert, or an if with NAME == VALUE or NAME > VALUE, "
        "got cfg.a *= 2; write what it sets in such lines (no part of the file was run)"
    )


@pytest.mark.parametrize(
    "statement",
    [
        "for x in [1]: cfg.a = x",
        "while True: pass",
        "def f(): pass",
        "class A: pass",
        "with open('x'): pass",
        "try:\n    cfg.a = 1\nexcept Exception: pass",
        "del cfg.a",
        "raise SystemExit",
        "cfg['a'] = 1",
        "cfg.a.b = 1",
        "other.a = 1",
        "a, *b = [1, 2]",
        "a, b = 1, 2, 3",
        "cfg.a, cfg.b = 1, 2",
        "cfg.a = cfg.b = 1",
        "cfg.a: int = 1",
        "cfg.a += 1",
        "cfg = SimpleNamespace()",
        "cfg = {'a': 1}",
        "cfg = EasyDict(a=1)",
        "cfg = a = EasyDict()",
        "cfg.update({'a': 1})",
        "if 1 < cfg.a < 2: pass",
        "if not cfg.a: pass",
        "if __name__ == '__main__': pass\nelse: cfg.a = 2",
        "from base import *",
        "from base import cfg",
        "import base.config as cfg",
        "import my.transforms as transforms",
        "@f\ndef g(): pass",
    ],
)
def test_other_statements_are_refused(config: Path, statement: str) -> None:
    assert refusal(config, "cfg.a = 1", statement).startswith("line ")


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"cfg.a = (1,\ncfg.b = 2\n", "line 1, is not Python: '(' was never closed"),
        (b"cfg.a = 1\n  cfg.b = 2\n", "line 2, is not Python: unexpected indent"),
        (b"\x00\xff\xfe", "is not Python: "),
        (b"cfg.a = '\xe9'\n", "is not Python: "),
        (b"cfg.a = " + b"(" * 500 + b")" * 500, "is not Python: too many nested parentheses"),
        (b"cfg.a = " + b"-" * 5000 + b"1", "nested too deeply"),
        (b"cfg.a = 1" + b" + 1" * 5000, "nested too deeply"),
        (b"cfg.a = 1\nx" + b".x" * 5000, "nested too deeply"),
        (b"#" * 2**19, "of 64 KB or less, got 512 KB"),
        (b"", "with lines cfg.NAME = value, got a file without any"),
        (b"model:\n  name: resnet18\n", "is not Python"),
        (b"a = 1\n", "got a file without any"),
        (b"cfg.a = 1\n", "with cfg.task and cfg.model_name, got 1 settings without cfg.task"),
    ],
)
def test_no_config_at_all(config: Path, content: bytes, expected: str) -> None:
    config.write_bytes(content)
    with pytest.raises(ValueError) as error:
        recipe_of(config)
    assert expected in str(error.value)
    assert "\n" not in str(error.value)


def test_lists_that_grow_are_refused(config: Path) -> None:
    assert "got x; write the value" in refusal(config, "x = [1, 1]", "x = [x, x]")
    assert "got cfg.x; write the value" in refusal(config, "cfg.x = [1, 1]", "cfg.x = [cfg.x, cfg.x]")
    assert "must have a size that settings have" in refusal(config, f"x = {[1] * 2000}")


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="There is no file"):
        recipe_of(tmp_path / "config.py")
    with pytest.raises(FileNotFoundError, match="There is no file"):
        recipe_of(tmp_path)


def test_byte_order_mark_and_other_encodings(config: Path) -> None:
    config.write_bytes(b"\xef\xbb\xbfcfg.a = 'x'\r\n# \xe9\xa4\xa8\r\n")
    assert read_assignments(config)["a"].value == "x"
    config.write_bytes("# -*- coding: latin-1 -*-\ncfg.a = 'é'\n".encode("latin-1"))
    assert read_assignments(config)["a"].value == "é"
