"""YAML is refused where it would take for ever or says a thing twice, before anything is built from it."""

import time

import pytest
import yaml
from jsonargparse import get_loader

from asim_lightning.cli import strict_yaml
from asim_lightning.cli.strict_yaml import (
    MOST_CHARACTERS,
    MOST_LEVELS,
    MOST_NODES,
    YamlError,
    check_yaml,
    dump_yaml,
    load_yaml,
)

NATIVE = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@pytest.fixture(params=sorted({NATIVE, yaml.SafeLoader}, key=str), ids=lambda loader: loader.__name__)
def loader(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """With libyaml and without."""
    monkeypatch.setattr(strict_yaml, "_Loader", request.param)


@pytest.mark.usefixtures("loader")
@pytest.mark.parametrize(
    "text",
    [
        "a: 1",
        "a: &a {b: 1}\nc: *a\nd: *a",
        "a: &a {b: 1}\nc: {<<: *a, b: 2}",
        "a: {b: 1}\nc: {b: 1}",  # the same key in two mappings
        "- a\n- a",
        "{a: [b, b], c: b}",
        "a: a",
        "",
        "[" * MOST_LEVELS + "]" * MOST_LEVELS,
        "[" + ",".join("x" * (MOST_NODES - 1)) + "]",
        "a: &a {b: 1}\nc: &c {d: 2}\ne: {<<: *a, <<: *c, f: 3}",
        "{1: a, '1': b, 1.5: c, '1.5': d}",
        "{~: 1, '~': 2, null2: 3, 'null': 4, 'true': 5, true: 6}",
        "{2026-01-01: a, '2026-01-01': b}",
        "a: |\n" + "  as long a line of a text as there are many\n" * 400,
        "a: " + "x" * (MOST_CHARACTERS + 1),
        "a: '" + "1" * (MOST_CHARACTERS + 1) + "'",
        "a: &a {" + ", ".join(f"k{n}: {n}" for n in range(9000)) + "}\nb: {<<: *a, c: 1}",
        "[" + ", ".join(map(str, range(20_001))) + "]",
        "a: &k x\nb: {*k : 1, k: 2}",
    ],
)
def test_what_is_allowed_is_read_as_ever(text: str) -> None:
    assert load_yaml(text, "x.yaml") == yaml.load(text, NATIVE)


@pytest.mark.usefixtures("loader")
@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: 1\nb: &b [1, *b]", "x.yaml, line 2: the alias *b stands inside what it stands for"),
        ("a: &a\n  b:\n    c: *a", "x.yaml, line 3: the alias *a stands inside what it stands for"),
        ("a:\n  b: 1\n  c: 2\n  b: 3", "x.yaml, line 4: the key 'b' stands twice in one mapping"),
        ("{a: 1, b: {c: 1}, a: 2}", "x.yaml, line 1: the key 'a' stands twice"),
        ("- {a: [1, 2], a: 1}", "x.yaml, line 1: the key 'a' stands twice"),
        ("{yes: 1, true: 2}", "x.yaml, line 1: the keys 'yes' and 'true' are one in one mapping"),
        ("{16: 1, 0x10: 2}", "x.yaml, line 1: the keys '16' and '0x10' are one in one mapping"),
        ("{1: 1, true: 2}", "x.yaml, line 1: the keys '1' and 'true' are one in one mapping"),  # to Python
        ("{~: 1, null: 2}", "x.yaml, line 1: the keys '~' and 'null' are one in one mapping"),
        ("{'a': 1, \"a\": 2}", "x.yaml, line 1: the key 'a' stands twice"),
        ("{a: 1, !!str a: 2}", "x.yaml, line 1: the key 'a' stands twice"),
        ("{'<<': 1, \"<<\": 2}", "x.yaml, line 1: the key '<<' stands twice"),
        ("a: &k x\nb: {*k : 1, x: 2}", "x.yaml, line 2: the key 'x' stands twice"),
        ("{!!int a: 1, !!int a: 2}", "x.yaml, line 1: the key 'a' stands twice"),
        ("a: " + "1" * (MOST_CHARACTERS + 1), "line 1: a document must have numbers of at most 10000 characters, got"),
        ("a: !!int '" + "1" * (MOST_CHARACTERS + 1) + "'", "a document must have numbers of at most 10000 characters"),
        ("[" * (MOST_LEVELS + 1) + "]" * (MOST_LEVELS + 1), "line 1: a document must have at most 100 levels"),
        ("a: &a " + "[" * 60 + "]" * 60 + "\nb: " + "[" * 50 + "*a" + "]" * 50, "line 2: a document must have at most"),
        ("[" + ",".join("x" * MOST_NODES) + "]", "x.yaml, line 1: a document must have at most 50000 values"),
        ("a: 1\nb: [1, }", "x.yaml, line 2, is not YAML: "),
        ("a: 2026-99-99", "x.yaml is not YAML: month must be in 1..12"),
    ],
)
def test_refused(text: str, message: str) -> None:
    with pytest.raises(YamlError) as caught:
        load_yaml(text, "x.yaml")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.usefixtures("loader")
def test_hostile_documents_take_no_time() -> None:
    laughs = "a0: &a0 [x]\n" + "".join(f"a{n + 1}: &a{n + 1} [{','.join([f'*a{n}'] * 99)}]\n" for n in range(90))
    for text in (laughs, "[" * 1_000_000, "- " * 1_000_000, "{a: " * 1_000_000, "? " * 1_000_000, "x," * 10**6):
        started = time.process_time()
        with pytest.raises((YamlError, yaml.YAMLError)):
            check_yaml(f"[{text}" if text.startswith("x") else text, "x.yaml")
        assert time.process_time() - started < 5


@pytest.mark.parametrize("text", ["1e-3", "'1e-3'", "1E+5", "'0.5'", "1e", "on", "'on'", "2026-11-27", "!!set {a}"])
def test_what_is_read_is_written_and_read_again_as_the_parser_reads_it(text: str) -> None:
    parsed = get_loader("yaml")
    assert parsed(dump_yaml(load_yaml(text, "x"))) == parsed(text)
