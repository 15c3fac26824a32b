"""Values, functions and objects of a user's are told apart by what they hold and name."""

import functools
import json
import operator
import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from scipy.interpolate import CubicSpline
from torch import nn
from torchvision.transforms import Compose, Normalize

from asim_lightning.classifier.outcome import Outcome
from asim_lightning.exploration import trial_keys
from asim_lightning.exploration.described_values import Contents
from tests.exploration.conftest import Load

MODULE = """
from torch import nn
import my_scale
SCALE, FACTORS = 1, [nn.Linear(1, 1)]

def scaled(outputs, targets):
    return doubled(outputs) * SCALE

def doubled(outputs):
    return outputs * my_scale.FACTOR

class Net(nn.Module):
    width = 2

    def forward(self, x):
        return scaled(x, None) + FACTORS[0](x)

    @property
    def twice(self):
        return scaled(1, 2)
"""


@dataclass
class Settings:
    mean: tuple[float, ...] = (0.5,)


class Score:
    """A user's object as outcome."""

    def __init__(self, level: float, table: Any = None) -> None:
        self.level, self.table, self.itself = level, table, self

    def __call__(self, outputs: Any, targets: Any) -> Any:
        return outputs > self.level


def adder(amount: Any) -> Callable[[float], float]:
    return lambda x: x + amount


def class_of(amount: Any) -> type:
    class Inner(Settings):
        def moved(self) -> Any:
            return super().__eq__(amount)

    return Inner


def described(value: Any) -> str:
    contents = Contents()
    text = json.dumps(contents.of(value, "it", objects=True), sort_keys=True)
    assert not contents.unknown
    return text


@pytest.mark.parametrize(
    "make",
    [
        lambda n: 0.1 + n,
        lambda n: float("inf") * (1 - 2 * n),
        lambda n: {"a": [1, (n,)]},
        lambda n: {1: n},
        lambda n: {"x", "y", str(n)},
        lambda n: np.array([1.0, n]),
        lambda n: torch.ones(3, 2, dtype=torch.bfloat16).T * n,
        lambda n: Settings((n,)),
        adder,
        lambda n: functools.partial(adder, n),
        lambda n: Settings if n else Path,
        lambda n: Path("a") / str(n),
        lambda n: range(n),
        lambda n: bytes([n]),
        lambda n: [lambda x: x + 1, lambda x: x + 2][n],  # one line
        lambda n: [lambda x: [each.real for each in x], lambda x: [each.imag for each in x]][n],
        lambda n: [lambda x: x in {"a", "b"}, lambda x: x in {"a", "c"}][n],
        lambda n: [lambda x: x[..., 0], lambda x: x[..., 1]][n],
        Score,
        lambda n: Score(0, Score(n)),
        lambda n: Score(n).__call__,
        lambda n: [Score(0), SimpleNamespace(n=n)],
        lambda n: SimpleNamespace(a=SimpleNamespace(b=[n])),
        lambda n: Score(0, Compose([Normalize([0.5], [1.0 + n])])),
        lambda n: Score(0, CubicSpline(range(4), [0, 1, 2, n])),  # its values are in slots
        lambda n: Score(0, random.Random(n)),  # its state is in C
        lambda n: Score(n, nn.ReLU().register_forward_hook(print)),  # each has another number
        lambda n: functools.lru_cache(lambda x: x + n),
        lambda n: adder(Score(n)),
        lambda n: adder(nn.Linear(2, 2, bias=bool(n)).requires_grad_(False).eval().apply(zero_)),
        class_of,
        lambda n: class_of(n)(),
    ],
)
def test_values_are_told_apart_by_what_they_hold(make: Callable[[int], Any]) -> None:
    assert described(make(0)) == described(make(0)) != described(make(1))


def zero_(module: nn.Module) -> None:
    for each in module.parameters():
        nn.init.zeros_(each)


def test_globals_that_a_function_or_class_names_count(load: Load) -> None:
    load("my_scale", "FACTOR = 1\nOTHER = 1\n")
    module: Any = load("my_module", MODULE)
    scale = module.my_scale
    named: list[Any] = [module.scaled, module.Net]
    changes = [(module, "SCALE", 2), (scale, "FACTOR", 2), (module, "doubled", adder(1))]
    for space, name, value in changes:
        before = [described(each) for each in named]
        setattr(space, name, value)
        assert all(described(each) != text for each, text in zip(named, before, strict=True))
    function, net = described(module.scaled), described(module.Net)
    scale.OTHER = 2
    assert (described(module.scaled), described(module.Net)) == (function, net)
    for space, name, value in [(module, "FACTORS", [nn.Linear(1, 1)]), (module.Net, "width", 3)]:
        before = [described(module.Net)]
        setattr(space, name, value)
        assert described(module.Net) not in before
    assert described(module.scaled) == function


def test_a_value_that_is_not_plain_is_noted() -> None:
    contents, itself = Contents(), list[Any]()
    itself.append(itself)
    for name, value in {"a": object(), "b": itself, "c": torch.zeros(2, device="meta")}.items():
        contents.of({"x": [value]}, name)
    contents.of(SimpleNamespace(n=[SimpleNamespace(lock=Lock())]), "d", objects=True)
    assert [each.partition(":")[0] for each in contents.unknown] == ["a", "b", "c", "d"]


def test_an_outcome_is_told_apart_by_its_number() -> None:
    def described(number: Any) -> tuple[str, bool]:
        contents = Contents()
        return json.dumps(trial_keys._outcome(Outcome("it", number), contents)), bool(contents.unknown)

    made = [Score(0), Score(1), functools.partial(torch.eq, out=None), nn.Identity(), lambda x, y: x, lambda x, y: y]
    seen = [described(each) for each in made]
    assert len(set(seen)) == len(made)
    assert not any(unknown for _, unknown in seen)
    assert described(operator.methodcaller("eq", object()))[1]  # a library's, whose state is not seen
