"""What jsonargparse says about a wrong type becomes one line with the setting, what it takes and what was given."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import pytest
from jsonargparse import ArgumentError, ArgumentParser

from asim_lightning.cli.options import Drawing
from asim_lightning.cli.wrong_types import one_line


@dataclass(frozen=True)
class Options(Drawing):
    names: list[str] | None = None
    corners: dict[str, Any] | None = None
    table: Mapping[str, int] = field(default_factory=dict)
    number: int | None = None
    numbers: list[int | None] | None = None
    kind: Literal["a", "b"] = "a"
    several: list[Literal["a", "b"] | bool] | None = None


@pytest.mark.parametrize(
    ("given", "line"),
    {
        "--names=[*]": (
            "`names` must be a list of texts or null, got [*], which is not YAML: quote texts with special characters, "
            'as in ["*"]'
        ),
        "--names=x": "`names` must be a list of texts or null, got x",
        "--corners=[tt, ss]": "`corners` must be a mapping or null, got ['tt', 'ss']",
        "--table=3": "`table` must be a mapping, got 3",
        "--width=0.5": "`width` must be >=2 and <=30, got 0.5",
        "--number=[3]": "`number` must be a whole number or null, got [3]",
        "--numbers=3": "`numbers` must be a list of whole numbers or null, got 3",
        "--kind=c": "`kind` must be one of 'a', 'b', got c",
        "--several=[c]": "`several` must be one of 'a', 'b' or true or false, got c",
    }.items(),
)
def test_messages(given: str, line: str) -> None:
    parser = ArgumentParser(exit_on_error=False)
    parser.add_class_arguments(Options)
    with pytest.raises(ArgumentError) as caught:
        parser.parse_args([given])
    assert one_line(str(caught.value)) == line


def test_other_text_is_left_as_it_is() -> None:
    assert one_line("`x` must be 1 or more,\n  got 0") == "`x` must be 1 or more, got 0"
