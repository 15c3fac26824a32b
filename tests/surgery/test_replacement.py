"""What decides what takes the place of a layer."""

import pytest
from torch import nn

from asim_lightning import Plan
from asim_lightning.surgery.layers import FoundLayer
from asim_lightning.surgery.probe import FunctionProduct, Operand, Sighting
from asim_lightning.surgery.replacement import is_patch_embedding, is_signed
from asim_lightning.surgery.watch import Call


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


ACT, BARE = "act", ""


def found(kind: str, input: Operand) -> FoundLayer:
    return FoundLayer("a", kind, nn.Identity(), sighting=Sighting(input, False))


@pytest.mark.parametrize(
    ("kind", "input", "expected"),
    [
        ("conv", Operand(ACT), (False, "unsigned: after act")),
        ("conv", Operand(BARE), (False, "unsigned: after a ReLU")),
        ("av", Operand(BARE, is_score=True), (False, "unsigned: scores")),
        ("av", Operand(None, is_score=True), (True, "signed: no ReLU before")),  # scores that passed through a layer
        ("conv", Operand(None), (True, "signed: no ReLU before")),
        ("qk", Operand(ACT), (True, "signed: keys and queries")),
        ("stem", Operand(ACT), (True, "signed: first layer")),
    ],
)
def test_inputs_are_signed_unless_the_operation_before_makes_no_negative_number(
    kind: str, input: Operand, expected: tuple[bool, str]
) -> None:
    assert is_signed(found(kind, input), Plan(), None) == expected


@pytest.mark.parametrize(
    ("kind", "a", "b", "is_second"),
    [
        ("qk", Operand(ACT), Operand(), True),
        ("av", Operand(is_score=True), Operand(), False),
        ("av", Operand(), Operand(is_score=True), True),
        ("matmul", Operand(), Operand(ACT), True),
        ("matmul", Operand(ACT), Operand(ACT), False),
    ],
)
def test_rows_of_a_macro_get_keys_scores_or_what_is_not_negative(
    kind: str, a: Operand, b: Operand, is_second: bool
) -> None:
    layer = FoundLayer("a", kind, nn.Identity(), FunctionProduct(Call("", 0), a, b, batched=True))
    assert layer.encodes_second is is_second
    assert layer.input is (b if is_second else a)
