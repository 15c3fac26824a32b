"""A flag for a field of the macro that a sweep has as an axis: the flag counts."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import zip_longest
from pathlib import Path
from typing import Any

from asim_lightning.cli.configs import read_config
from asim_lightning.cli.strict_yaml import YamlError, load_yaml
from asim_lightning.evaluation.results import axis_text
from asim_lightning.sweep.axes import DEFAULT_AXES

_MACRO = "model.plan.macro"


def settle_axes(args: Sequence[str], axes: Mapping[str, Any], macro: Mapping[str, Any]) -> tuple[dict[str, Any], str]:
    """The axes of a sweep, where a flag for a field takes the place of the field's axis.

    In configuration files an axis wins over the macro's field, since recipes have both; a flag for the axis itself wins
    over all.

    Args:
        args: The command line.
        axes: Values of each axis as configured, null where there are none.
        macro: The macro's fields as configured, flags included.

    Returns:
        The axes that change, each with its one value, and a line that says so; both empty where none does.
    """
    given = {name: values for name, values in axes.items() if values is not None} or DEFAULT_AXES
    fixed, of_axes = _flagged(args, _MACRO), _flagged(args, "axes")
    settled = {name: [macro[name]] for name in given if name in fixed and name not in of_axes}
    parts = [f"{name} {axis_text(value)} by its flag, not {_values(given[name])}" for name, (value,) in settled.items()]
    return settled, "; ".join(parts)


def _values(values: Any) -> str:
    if not isinstance(values, (list, tuple)):
        return str(values)
    return f"{axis_text(values[0])}" if len(values) == 1 else f"the {len(values)} values of its axis"


def _flagged(args: Sequence[str], group: str) -> set[str]:
    """Fields of a group of settings that flags name: one by one, or as a mapping of the group or one around it."""
    found: set[str] = set()
    for name, value in _flags(args):
        if name.startswith(f"{group}."):
            found.add(name.removeprefix(f"{group}.").split(".")[0].rstrip("+"))
        elif group == name or group.startswith(f"{name}."):
            inside: Any = _mapping(value)
            for part in group.removeprefix(name).split(".")[1:]:
                inside = inside.get(part) if isinstance(inside, Mapping) else None
            found |= set(inside) if isinstance(inside, Mapping) else set()
    return found


def _flags(args: Sequence[str]) -> Iterator[tuple[str, str]]:
    for argument, following in zip_longest(args, args[1:], fillvalue=""):
        if argument.startswith("--"):
            name, equals, value = argument[2:].partition("=")
            yield name, value if equals else following


def _mapping(value: str) -> Any:
    try:
        read = load_yaml(value, "a flag")
    except YamlError:
        return None
    return read_config(read) if isinstance(read, str) and Path(read).is_file() else read
