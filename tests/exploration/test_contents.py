"""Values are told apart by content, never by address, and what cannot be told is noted."""

import collections
import copy
import enum
import functools
import json
import random
import re
import threading
import types
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset
from torchvision import transforms as v1
from torchvision.transforms import v2

from asim_lightning import MacroConfig
from asim_lightning.exploration.contents import Contents


class Colour(enum.Enum):
    RED = 1
    BLUE = 2


@dataclass
class Settings:
    mean: tuple[float, ...] = (0.5,)


class Slotted:
    __slots__ = ("value",)

    def __init__(self, value: object) -> None:
        self.value = value


class Holder:
    def __init__(self, value: object) -> None:
        self.value = value
        self.itself = self

    def method(self) -> None: ...


class ListLike(list):
    pass


def adder(amount: float) -> Callable[[float], float]:
    return lambda x: x + amount


def default(x: float = 1.0) -> float:
    return x


PAIRS: dict[str, Callable[[int], Any]] = {
    "number": lambda n: n,
    "float": lambda n: 0.1 + n,
    "infinity": lambda n: float("inf") * (1 - 2 * n),
    "string": str,
    "bytes": lambda n: bytes([n]),
    "tuple": lambda n: (0.5, n),
    "list in mapping": lambda n: {"normalize": {"mean": [0.1, n]}},
    "mapping of numbers": lambda n: {1: n},
    "read-only mapping": lambda n: types.MappingProxyType({"a": n}),
    "set": lambda n: {1, n + 2},
    "array": lambda n: np.array([1.0, n]),
    "shape of an array": lambda n: np.zeros((2, 3) if n else (3, 2)),
    "type of an array": lambda n: np.zeros(2, np.int32 if n else np.float32),
    "numpy number": np.float32,
    "array of objects": lambda n: np.array([None, n], dtype=object),
    "tensor": lambda n: torch.tensor([1.0, n]),
    "scalar": lambda n: torch.tensor(n > 0),
    "bfloat16": lambda n: torch.ones(3, 2, dtype=torch.bfloat16).T * n,
    "dataclass": lambda n: Settings((n,)),
    "macro": lambda n: MacroConfig(rows=10 + n),
    "slots": Slotted,
    "attributes": Holder,
    "list of a class": lambda n: ListLike([n]),
    "default dict": lambda n: collections.defaultdict(list, a=[n]),
    "named tuple": lambda n: collections.namedtuple("Pair", "a b")(1, n),
    "enum": lambda n: Colour.BLUE if n else Colour.RED,
    "class": lambda n: Settings if n else Slotted,
    "closure": adder,
    "lambda": lambda n: (lambda x: x + 1) if n else (lambda x: x + 2),
    "partial": lambda n: functools.partial(default, x=n),
    "cached": lambda n: functools.lru_cache(adder(n)),
    "method": lambda n: Holder(n).method,
    "generator": lambda n: torch.Generator().manual_seed(n),
    "numpy generator": np.random.default_rng,
    "random": random.Random,
    "pattern": lambda n: re.compile("ab"[n]),
    "numpy function": lambda n: np.cos if n else np.sin,
    "slice": lambda n: slice(n),
    "dtype": lambda n: torch.float64 if n else torch.float32,
    "normalize": lambda n: v2.Normalize([0.1 + n], [0.3]),
    "compose": lambda n: v2.Compose([v2.Resize(8 + n), v2.ToTensor()]),
    "older transforms": lambda n: v1.Compose([v1.CenterCrop(8), v1.Lambda(adder(n))]),
    "data set": lambda n: TensorDataset(torch.tensor([n])),
    "loader": lambda n: DataLoader(TensorDataset(torch.tensor([n])), batch_size=2, num_workers=n),
    "path": lambda n: Path("no") / str(n),
    "long list": lambda n: [0] * 2000 + [n],
}


def described(value: Any) -> tuple[str, tuple[str, ...]]:
    contents = Contents()
    return json.dumps(contents.of(value, "it"), sort_keys=True, allow_nan=False), tuple(contents.unknown)


@pytest.mark.filterwarnings("ignore:The transform `ToTensor")
@pytest.mark.parametrize("kind", PAIRS)
def test_equal_values_give_one_text_and_others_another(kind: str) -> None:
    make = PAIRS[kind]
    (first, unknown), (same, _), (other, _) = described(make(0)), described(make(0)), described(make(1))
    assert unknown == ()
    assert first == same
    assert first != other
    assert " at 0x" not in first


def test_a_copy_is_described_like_the_original() -> None:
    shared = [1, 2]
    for value in ({"a": shared, "b": shared}, Holder(shared), v2.Normalize([0.1], [0.2])):
        assert described(copy.deepcopy(value)) == described(value)
    assert described([shared, shared]) == described([[1, 2], [1, 2]])


def test_order_of_a_mapping_and_address_of_a_lock_do_not_matter() -> None:
    assert described({"a": 1, "b": 2}) == described({"b": 2, "a": 1})
    assert described(threading.Lock()) == described(threading.Lock())


def test_a_path_stands_for_what_it_leads_to(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    file = tmp_path / "data" / "labels.csv"
    file.write_text("1")
    for value in (file, str(file), tmp_path / "data", {"root": str(tmp_path)}):
        file.write_text("1")
        before = described(value)
        file.write_text("22")
        assert described(value) != before


def test_of_very_many_files_size_and_time_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("asim_lightning.exploration.contents._MOST_READ", 3)
    files = [tmp_path / name for name in "ab"]
    for file in files:
        file.write_text("xy")
    first, second = Contents().of(files, "it")  # type: ignore[misc]
    assert "sha256" in first
    assert "changed_ns" in second


@pytest.mark.parametrize(
    ("make", "what"),
    [
        (object, "a object, which has no state but its address"),
        (lambda: eval("lambda x: x"), "the function <lambda>, which has no source file"),
        (lambda: iter(range(3)).__iter__ and (x for x in ()), "a generator, whose state cannot be read"),
        (lambda: torch.zeros(2, device="meta"), "a tensor of layout torch.strided on meta"),
        (lambda: functools.reduce(lambda inner, _: [inner], range(200), []), "values within each other"),
    ],
)
def test_what_cannot_be_described_is_noted(make: Callable[[], Any], what: str) -> None:
    text, unknown = described({"transform": [make()]})
    assert len(unknown) == 1
    assert unknown[0].startswith(f"it.transform: {what}")
    assert " at 0x" not in text


def test_a_class_of_an_interactive_session_is_noted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Slotted, "__module__", "nowhere")
    assert described(Slotted(1))[1] == ("it: of nowhere, which has no source file",)


def test_packages_are_noted_for_their_versions() -> None:
    contents = Contents()
    contents.of(v2.Normalize([0.1], [0.2]), "it")
    assert {"torch", "torchvision"} <= set(contents.packages)
