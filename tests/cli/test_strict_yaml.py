"""YAML is read as jsonargparse reads it, and refused where it says a thing twice."""

from pathlib import Path

import pytest
import yaml
from jsonargparse import get_loader

from asim_lightning.cli.strict_yaml import dump_yaml, load_yaml, read_yaml

NATIVE = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@pytest.mark.parametrize(
    "text",
    [
        "a: &a {b: 1}\nc: *a\nd: *a",
        "a: &a {b: 1}\nc: &c {<<: *a, b: 2}\nd: {<<: *c, b: 3}",
        "a: {b: 1}\nc: {b: 1}",
        "{a: [b, b], c: b}",
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
        ("a:\n  b: 1\n  'b': 2", 3, "the key 'b' stands twice in one mapping"),
        ("a: [1, 2\nb: }", 2, "did not find expected"),
        ("a: !!python/object/apply:os.system ['touch x']", 1, "could not determine a constructor for the tag"),
    ],
)
def test_a_file_is_refused_with_its_line(text: str, line: int, problem: str, tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text(text)
    with pytest.raises(ValueError, match=rf"a\.yaml, line {line}, is not YAML: {problem}"):
        read_yaml(path)


@pytest.mark.parametrize(
    "text", ["1e3", "1.5e3", "1e-3", "1.e3", ".5", "0x10", "010", "2026-01-01", "yes", "null", "~"]
)
def test_a_value_is_what_the_parser_makes_of_it(text: str) -> None:
    assert load_yaml(text) == get_loader("yaml")(text)
    assert load_yaml(dump_yaml({"a": text})) == {"a": text}
    assert load_yaml(dump_yaml({"a": load_yaml(text)})) == {"a": load_yaml(text)}
