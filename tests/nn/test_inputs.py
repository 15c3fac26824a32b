"""Inputs of a network: how they are passed to it, and how parts of them are taken."""

from collections import UserDict
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from asim_lightning.nn.inputs import batch_size, called, copied, moved, random_inputs, shapes_text, some_of, tensors_of

A, B = torch.arange(6.0).reshape(3, 2), torch.arange(3)


class Several(nn.Module):
    def forward(self, a: Tensor, b: Tensor | None = None) -> Any:
        return (a, b)


class One(nn.Module):
    def forward(self, pair: Any) -> Any:
        return pair


class Any_(nn.Module):
    def forward(self, *args: Any, **kwargs: Any) -> Any:
        return args, kwargs


@pytest.mark.parametrize(
    ("network", "inputs", "expected"),
    [
        (Several(), A, (A, None)),
        (Several(), (A, B), (A, B)),
        (Several(), [A, B], (A, B)),
        (Several(), (A,), (A, None)),
        (Several(), {"b": B, "a": A}, (A, B)),
        (Several(), UserDict(a=A), (A, None)),
        (One(), (A, B), (A, B)),
        (One(), {"a": A}, {"a": A}),
        (One(), A, A),
        (Any_(), (A, B), ((A, B), {})),
        (Any_(), {"a": A}, ((), {"a": A})),
    ],
)
def test_a_network_gets_its_inputs_as_its_forward_takes_them(network: nn.Module, inputs: Any, expected: Any) -> None:
    assert called(network, inputs) is expected or called(network, inputs) == expected  # the same tensors


@pytest.mark.parametrize(
    ("inputs", "given"), [({"a": A, "id": B}, "a, id"), ((A,), "1 inputs"), (A, "one input"), ({"a": A}, "a")]
)
def test_inputs_that_a_forward_does_not_take_are_named(inputs: Any, given: str) -> None:
    with pytest.raises(ValueError, match=f"^the forward of Bilinear takes input1, input2, got {given}$"):
        called(nn.Bilinear(2, 3, 4), inputs)


def test_a_copy_of_inputs_stays_as_it_was() -> None:
    x = torch.ones(2, requires_grad=True)
    again = copied(((x, 3), {"b": [A]}))
    with torch.no_grad():
        x.zero_()
    (first, number), named = again()
    assert (first.tolist(), number, first.requires_grad) == ([1.0, 1.0], 3, False)
    assert torch.equal(named["b"][0], A)


def test_a_compiled_network_is_called_as_the_network() -> None:
    assert called(Several(), (A, B), lambda *given: given) == (A, B)
    assert called(One(), (A, B), lambda *given: given) == ((A, B),)


@pytest.mark.parametrize("inputs", [A, (A, B), {"x": {"a": A}, "b": B}, UserDict(a=A, b=B)])
def test_some_samples_of_inputs(inputs: Any) -> None:
    assert batch_size(inputs) == 3
    first = tensors_of(some_of(inputs, slice(1)))
    assert [len(x) for x in first] == [1] * len(tensors_of(inputs))
    assert first[0].equal(A[:1])
    picked = tensors_of(some_of(inputs, torch.tensor([2, 0])))
    assert picked[0].equal(A[[2, 0]])
    assert [x.device.type for x in tensors_of(moved(inputs, torch.device("meta")))] == ["meta"] * len(first)


def test_a_constant_does_not_count_as_samples() -> None:
    x, y = torch.zeros(6, 5), torch.zeros(6)
    assert batch_size({"scale": torch.zeros(16), "x": x, "y": y}) == 6
    assert batch_size({"scale": torch.zeros(16), "x": x}) == 6  # it has more axes
    assert batch_size((torch.zeros(7, 2), y, y)) == 6


def test_tensors_without_an_axis_for_samples_stay() -> None:
    scale, table = torch.tensor(2.0), torch.zeros(5, 2)
    kept = some_of((A, scale, table, "word"), slice(2))
    assert kept[0].equal(A[:2])
    assert kept[1] is scale
    assert kept[2] is table
    assert kept[3] == "word"
    assert batch_size(scale) == 1


def test_random_inputs_have_the_shapes_and_kinds_that_are_asked_for() -> None:
    made = random_inputs({"x": [2, 3], "t": [7]}, {"x": None, "t": 5}, torch.Generator().manual_seed(0))
    assert shapes_text(made) == "{'x': (1, 2, 3), 't': (1, 7)}"
    assert [x.dtype for x in made.values()] == [torch.float32, torch.int64]
    assert int(made["t"].max()) < 5
    pair = random_inputs([[2], [3]], None, torch.Generator().manual_seed(0))
    assert shapes_text(pair) == "[(1, 2), (1, 3)]"
    assert shapes_text(random_inputs([4, 4], 9, torch.Generator())) == "(1, 4, 4)"
    assert shapes_text("text") == "a str"
    mask = random_inputs({"m": [3]}, {"m": True}, torch.Generator())["m"]
    assert (mask.dtype, mask.tolist()) == (torch.bool, [[True] * 3])
