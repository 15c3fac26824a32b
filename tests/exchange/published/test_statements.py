"""A published config.py is read as text: what counts, what is refused, and that nothing is executed."""

import os
from pathlib import Path
from typing import Any

import pytest

from asim_lightning.exchange.published.keys import KNOWN
from asim_lightning.exchange.published.recipe import recipe_of
from asim_lightning.exchange.published.statements import read_published_config
from asim_lightning.exchange.published.values import Transform
from tests.exchange.published.configs import config_text


@pytest.fixture
def config(tmp_path: Path) -> Path:
    return tmp_path / "config.py"


def values(config: Path, *lines: str) -> dict[str, Any]:
    config.write_text("\n".join(lines) + "\n")
    return {name: setting.value for name, setting in read_published_config(config).settings.items()}


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
    assert found["milestones"] == [48, 72]
    assert found["train_dir"] == r"D:\new\train"
    assert found["large_model"] is False
    assert found["transforms_test"].arguments[0][0] == Transform("Resize", ((32, 32),))


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-4", 1e-4),
        ("(0.1*2)", 0.2),
        ("-3 + 2 ** 3 // 2 % 3", -2),
        ("None", None),
        ("not True", False),
        ("'a' 'b' + 'c'", "abc"),
        (r"r'E:\data\train'", r"E:\data\train"),
        ("(1, [2, 'x'], ())", (1, [2, "x"], ())),
        ("{'a': [1]}", {"a": [1]}),
        ("size if size > 100 else 7", 7),
        ("cfg.a * size", 64),
        ("int(cfg.a * 0.6)", 1),
        ("torch.device('cuda' if torch.cuda.is_available() else 'cpu')", "cuda"),
        ("size == 32 and 3 in [1, 3] and cfg.a is not None or False", True),
        ("T.Compose([T.Pad(4)])", Transform("Compose", ([Transform("Pad", (4,))],))),
    ],
)
def test_values(config: Path, text: str, value: object) -> None:
    lines = ["import torch", "import torchvision.transforms as T", "size = 32", "cfg.a = 2", f"cfg.b = {text}"]
    assert values(config, *lines)["b"] == value


def test_assignments_count_as_in_python(config: Path) -> None:
    lines = ["from easydict import EasyDict as edict", "cfg = edict()", "cfg.a = 1", "cfg.a = 2", "x = y = 3"]
    lines += [
        "cfg.b, cfg.c = x, y + 1",
        "cfg.a *= 5",
        "cfg.d: int = 6",
        "cfg.e = x",
        "x = 9",
        "pass",
        "assert os.path.exists(cfg.e)",
    ]
    lines += ["if x == 9:", "    cfg.f = 'nine'", "elif undefined:", "    cfg.f = os.remove('x')"]
    assert values(config, *lines) == {"a": 10, "b": 3, "c": 4, "d": 6, "e": 3, "f": "nine"}
    assert read_published_config(config).settings["a"].line == 7
    assert values(config, "cfg.a = 1", "cfg = EasyDict()", "cfg.b = 2") == {"b": 2}


EXECUTES = [
    "os.system('touch gone')",
    "open('gone', 'w')",
    "eval('1')",
    "exec('1')",
    "__import__('os').system('touch gone')",
    "getattr(cfg, 'task')",
    "EasyDict(a=1)",
    "int('7')",
    "int(open('gone', 'w'))",
    "int(*[1])",
    "float('inf')",
    "T.Lambda(lambda x: x)",
    "T.Compose([open('gone', 'w')])",
    "T.functional.resize(1)",
    "transforms.Compose.__call__()",
    "torch.load('weights.pkl')",
    "torch.device(open('gone', 'w'))",
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
    "b'bytes'",
    "1j",
    "...",
    "(-1) ** 0.5",
    "1e999",
    "9 ** 9 ** 9",
    "2 ** 64",
    "'a' * 10 ** 9",
    "'%s' % 1",
    "1 / 0",
    "1 < 'a'",
    "~1",
    "unknown",
    "os",
    "cfg",
    "cfg.unknown",
    "cfg.task.x",
]


@pytest.mark.parametrize("value", EXECUTES)
@pytest.mark.parametrize("form", ["cfg.train_bs = {}", "cfg.milestones = [1, (2, [{}])]", "other = -({})", "{}"])
def test_other_values_are_refused_and_nothing_is_executed(
    config: Path, monkeypatch: pytest.MonkeyPatch, value: str, form: str
) -> None:
    if form == "{}" and value in ("...", "1j", "b'bytes'", "1e999"):  # statements without effect, such as texts
        return
    monkeypatch.chdir(config.parent)
    lines = ["import os, torch", "import torchvision.transforms as T", "cfg.task = 'CIFAR-10'", form.format(value)]
    message = refusal(config, *lines)
    assert message.startswith("line 4: ")
    assert len(message) < 250
    assert os.listdir(config.parent) == ["config.py"]


def test_refusal_says_what_is_allowed_and_given(config: Path) -> None:
    assert refusal(config, "cfg.a = 1", "cfg.b = [1, os.system('x')]") == (
        "line 2: a value must be a number, a text, True, False, None, a list, or arithmetic of these, got the call "
        "os.system('x'); nothing of the file was executed"
    )
    assert refusal(config, "cfg.a = b") == "line 1: a name must have a value above where it is used, got `b`"
    assert refusal(config, "cfg.a = cfg.b") == "line 1: cfg.b must be set above where it is used, and is not"


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
        "cfg = SimpleNamespace()",
        "cfg = {'a': 1}",
        "cfg = a = EasyDict()",
        "cfg.update({'a': 1})",
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
    lines = ["x = [1, 1]", *["x = [x, x]"] * 40, "cfg.a = x"]
    assert "must have a size that settings have" in refusal(config, *lines)
    assert "size that settings have" in refusal(config, "x = 'aaaaaaaa'", *["x += x"] * 40)
    assert "size that settings have" in refusal(config, "x = 3", *["x *= x"] * 40)


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="There is no file"):
        recipe_of(tmp_path / "config.py")
    with pytest.raises(FileNotFoundError, match="There is no file"):
        recipe_of(tmp_path)


def test_byte_order_mark_and_other_encodings(config: Path) -> None:
    config.write_bytes(b"\xef\xbb\xbfcfg.a = 'x'\r\n# \xe9\xa4\xa8\r\n")
    assert read_published_config(config).settings["a"].value == "x"
    config.write_bytes("# -*- coding: latin-1 -*-\ncfg.a = 'é'\n".encode("latin-1"))
    assert read_published_config(config).settings["a"].value == "é"
