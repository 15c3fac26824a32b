"""jsonargparse's messages about values of a wrong type, in one line: what may be given, and what was."""

import re
from collections.abc import Iterator
from textwrap import dedent

import yaml

from asim_lightning.cli.command_line import load_yaml

_UNION = re.compile(
    r"Does not validate against any of the Union subtypes\nSubtypes: \[(?P<kinds>.*)\]\n"
    r"Errors:\n(?P<errors>.*)\nGiven value type: <class '(?P<type>.*?)'>\nGiven value: (?P<value>.*)",
    re.DOTALL,
)
_EXPECTED = re.compile(r"Expected an? (?P<kinds>.*?)\. Got value: (?P<value>.*)", re.DOTALL)
_SUBCLASS = re.compile(r"Not a valid subclass of (?P<kinds>\w+)\. Got value: (?P<value>.*?)\nSubclass types", re.DOTALL)
_LIMITED = re.compile(r"Not of type \w+: (?P<value>.*) does not conform to restriction (?P<limits>.*)", re.DOTALL)
_FORMS = _UNION, _EXPECTED, _SUBCLASS, _LIMITED
_KEY = re.compile(r'Parser key "(?P<key>[^"]+)":\n')
_CLASS = re.compile(r"Problem with given class_path '(?:.*\.)?(?P<name>\w+)':\n")
_PATH = re.compile(r"\n- Expected a path but .* either not accessible or invalid\n- ", re.DOTALL)
"""A setting for which a file may stand."""
_BRANCH = re.compile(r"^- ", re.MULTILINE)
_SAYS_LESS = ("Expected a ", "Not a valid subclass of ")
"""Starts of the errors of a union that only repeat one of its types."""

_KINDS = {
    "int": ("a whole number", "whole numbers"), "float": ("a number", "numbers"), "str": ("a text", "texts"),
    "bool": ("true or false", ""), "NoneType": ("null", ""), "None": ("null", ""), "list": ("a list", "lists"),
    "dict": ("a mapping", "mappings"), "Mapping": ("a mapping", "mappings"),
}  # fmt: skip


def one_line(text: str) -> str:
    """A message of jsonargparse in one line; other text stays as it is, without line breaks."""
    return " ".join(_said(text).split())


def _said(text: str, name: str = "the value") -> str:
    if key := _KEY.match(text):
        return _said(dedent(text[key.end() :]), f"`{key['key']}`")
    if of_class := _CLASS.match(text):
        inner = _said(dedent(text[of_class.end() :]))
        return re.sub(r"^`\w+` must", lambda found: f"{found[0][:-5]} of {of_class['name']} must", inner)
    if path := _PATH.match(text):
        return _said(text[path.end() :], name)
    form = next((found for each in _FORMS if (found := each.match(text))), None)
    if form is None:
        return text
    if form.re is _UNION:
        for branch in _BRANCH.split(dedent(form["errors"]))[1:]:
            if not branch.startswith(_SAYS_LESS):
                return _said(dedent(f"  {branch}").strip(), name)
    if form.re is _LIMITED:
        allowed = form["limits"].replace("v", "")
    else:
        allowed = " or ".join(_kind(each) for each in _parts(form["kinds"]))
    return f"{name} must be {allowed}, got {_given(form['value'])}"


def _kind(text: str) -> str:
    """Words for a type as Python writes it."""
    text = text.removeprefix("<class '").removesuffix("'>")
    outer, _, inner = text.partition("[")
    outer, inner = outer.rpartition(".")[2], inner.removesuffix("]")
    if outer == "Literal":
        return f"one of {inner}"
    if outer == "Union":
        return " or ".join(_kind(each) for each in _parts(inner))
    single, _ = _KINDS.get(outer, (f"a {outer}", ""))
    of = _KINDS.get(inner.removesuffix(" | None"), ("", ""))[1] if outer == "list" else ""
    return f"{single} of {of}" if of else single


def _parts(text: str) -> Iterator[str]:
    """Parts of a list of types, which are separated by commas outside of brackets."""
    depth, start = 0, 0
    for place, character in enumerate(text):
        depth += (character == "[") - (character == "]")
        if character == "," and not depth:
            yield text[start:place].strip()
            start = place + 1
    yield text[start:].strip()


def _given(value: str) -> str:
    """A value; a text with brackets that is no YAML says so, because it looks like what is asked for."""
    try:
        if value[:1] in ("[", "{"):
            load_yaml(value)
    except (yaml.YAMLError, ValueError):
        return f'{value}, which is not YAML: quote texts with special characters, as in ["*"]'
    return value
