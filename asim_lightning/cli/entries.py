"""What is wrong with an entry of `model.plan.rules` or `compare`, lists whose types jsonargparse takes for classes."""

import json
import re
from collections.abc import Iterable
from dataclasses import fields
from difflib import get_close_matches

from asim_lightning.circuit import MacroConfig
from asim_lightning.evaluation.results import KINDS

_RULES, _COMPARE = "model.plan.rules", "compare"
_FIELDS = {_RULES: ("match", "macro"), _COMPARE: ("fidelity", "macro", "rules", "layers", "chip")}
_ALLOWED = {
    _RULES: "a list of mappings, such as {match: head, macro: {adc_bits: 10}}",
    _COMPARE: f"a list of {', '.join(KINDS)} or mappings, such as [float, {{macro: {{adc_bits: 7}}}}]",
}
_UNKNOWN = re.compile(r"Option '([\w.+-]+)' is not accepted")
_PLAIN = re.compile(r"Expected a dot import path string: (.*)")
_GIVEN = re.compile(r"(?:Given|Got) value: (.*)")
_LONGEST = 200


def entry_message(message: str, key: str) -> str | None:
    """A message about an entry of one of the two lists in one sentence; None where it is about something else.

    Args:
        message: jsonargparse's.
        key: Full name of the setting that it is about.
    """
    if key not in _FIELDS:
        return None
    if found := _UNKNOWN.search(message):
        return _unknown_field(key, found[1])
    given = _PLAIN.search(message) or _GIVEN.search(message)
    if given is None:
        return None
    value = given[1] if len(given[1]) <= _LONGEST else f"{given[1][:_LONGEST]}..."
    near = get_close_matches(value, KINDS, n=1, cutoff=0.75) if key == _COMPARE else []
    meant = f"; did you mean {f'[{value}]' if value in KINDS else near[0]}?" if near else ""
    return f"`{key}` must be {_ALLOWED[key]}, got {value}{meant}"


def _unknown_field(key: str, given: str) -> str:
    macro = {field.name: getattr(MacroConfig(), field.name) for field in fields(MacroConfig)}
    if given in macro:
        example = "match: head, " if key == _RULES else ""
        shown = f"{{{example}macro: {{{given}: {json.dumps(macro[given])}}}}}"
        return f"`{key}.{given}` is no setting: fields of a macro stand under `macro`, as in {shown}"
    names = _FIELDS[key]
    near = get_close_matches(given, names, n=1, cutoff=0.6)
    within = [f"macro.{name}" for name in get_close_matches(given, macro, n=2, cutoff=0.6)]
    return f"`{key}.{given}` is no setting; {_nearest(near or within, names)}"


def _nearest(near: Iterable[str], names: Iterable[str]) -> str:
    return f"nearest: {', '.join(near)}" if near else f"an entry has {', '.join(names)}"
