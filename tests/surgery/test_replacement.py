"""What decides what takes the place of a layer."""

import pytest
from torch import nn

from asim_lightning.surgery.layers import FoundLayer
from asim_lightning.surgery.probe import Operand
from asim_lightning.surgery.provenance import Origin
from asim_lightning.surgery.replacement import is_patch_embedding, is_unsigned


@pytest.mark.parametrize(
    ("stem", "expected"),
    [
        (nn.Conv2d(3, 8, 4, 4), True),
        (nn.Conv2d(3, 8, (1, 4), (1, 4)), True),
        (nn.Conv2d(3, 8, 3, 2), False),
        (nn.Conv2d(3, 8, 3), False),
        (nn.Conv2d(3, 8, 1), False),  # a patch of one pixel is none
        (nn.Linear(48, 8), True),
    ],
    ids=str,
)
def test_patches_are_those_in_which_each_pixel_counts_once(stem: nn.Module, expected: bool) -> None:
    assert is_patch_embedding(stem) is expected


ACT, BARE = Origin("act"), Origin(None)


@pytest.mark.parametrize(
    ("kind", "input", "real", "expected"),
    [
        ("conv", Operand(ACT, True), True, (True, "unsigned: after act")),
        ("conv", Operand(BARE, True), False, (True, "unsigned: after a ReLU")),
        ("av", Operand(BARE, True, is_score=True), False, (True, "unsigned: scores")),
        ("conv", Operand(None, True), True, (True, "unsigned: example batch")),
        ("conv", Operand(None, True), False, (False, "signed: no ReLU before")),  # random values tell nothing
        ("conv", Operand(None, False), True, (False, "signed: example batch")),
        ("conv", Operand(ACT, False), False, (False, "signed: no ReLU before")),
        ("qk", Operand(ACT, True), True, (False, "signed: keys and queries")),
    ],
)
def test_inputs_are_unsigned_where_that_is_known(
    kind: str, input: Operand, real: bool, expected: tuple[bool, str]
) -> None:
    assert is_unsigned(FoundLayer("a", kind, nn.Identity()), input, real) == expected
