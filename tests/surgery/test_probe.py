"""What one run of a network shows of the inputs of a layer that runs more than once."""

from typing import Any

import pytest

from asim_lightning.surgery.probe import Operand
from asim_lightning.surgery.provenance import Origin

RELU, OTHER = Origin("relu"), Origin("other")


@pytest.mark.parametrize(
    ("field", "one", "other", "both"),
    [
        ("sees_image", True, False, True),
        ("sees_image", False, False, False),
        ("repeats", True, False, True),
        ("repeats", False, False, False),
        ("is_score", True, True, True),
        ("is_score", True, False, False),
        ("origin", RELU, None, None),
    ],
)
def test_what_holds_for_two_calls(field: str, one: Any, other: Any, both: Any) -> None:
    first, second = Operand(**{field: one}), Operand(**{field: other})
    assert getattr(first.and_(second), field) is both
    assert getattr(second.and_(first), field) is both


def test_two_origins_that_are_not_negative_are_one() -> None:
    assert Operand(RELU).and_(Operand(OTHER)).origin in (RELU, OTHER)
