"""A user's column must be two functions of the count alone; whatever else it is, one sentence says so."""

import re
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from asim_lightning.circuit import Column, Current, Cycle, MacroConfig, to_codes, transfer


def own(name: str, base: type[Column] = Column, **functions: Any) -> str:
    """The import path of a new column class with some functions of its own."""
    globals()[name] = type(name, (base,), {"__module__": __name__, **functions})
    return f"{__name__}.{name}"


def level(function: Callable[[Tensor, Cycle], object]) -> dict[str, Any]:
    return {"level": lambda self, count, cycle: function(count, cycle)}


def sigma(function: Callable[[Tensor, Cycle], object]) -> dict[str, Any]:
    return {"sigma": lambda self, count, cycle: function(count, cycle)}


def changed(function: Callable[[Tensor], object]) -> dict[str, Any]:
    return level(lambda count, cycle: to_codes(count, cycle) + function(count))


def rolled(count: Tensor, cycle: Cycle) -> Tensor:
    """Takes rows of counts for counts."""
    codes = to_codes(count, cycle)
    return codes.cumsum(0) - codes.roll(1, 0).cumsum(0)


def built_with_an_offset(self: Column, macro: MacroConfig) -> None:
    Column.__init__(self, macro)
    offset = torch.randn(())
    self.level = lambda count, cycle: to_codes(count, cycle) + offset  # type: ignore[method-assign]


OTHERS = "must depend only on the count, but gives others"
BESIDE = f"{OTHERS} for"
# name: functions, and what is said
REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "RandomOffset": (changed(lambda count: torch.randn(count.shape)), f": level {OTHERS} at a second call"),
    "Placed": (changed(lambda count: torch.linspace(0.0, 1.0, count.shape[-1])), f": level {BESIDE} a permutation"),
    "Normalised": (level(lambda count, cycle: 255 * count / count.max()), f": level {BESIDE} a slice"),
    "Thresholded": (changed(lambda count: -count * bool(count.max() <= 10)), f": level {BESIDE} a count alone"),
    "OneDimensional": (level(rolled), f": level {BESIDE} "),
    "Built": ({"__init__": built_with_an_offset}, f": level {OTHERS} if the column is built again"),
    "OfItsBit": (
        sigma(lambda count, cycle: torch.full_like(count, 0.1 + 0.1 * cycle.weight_bits[0])),
        f": sigma {OTHERS} in the cycle of weight bit 1 and input bit 0",
    ),
    "Negative": (sigma(lambda count, cycle: 0.5 - 0.01 * count), ": sigma must give a tensor of finite codes, 0 or"),
    "Infinite": (
        level(lambda count, cycle: 1.0 / (count - 100.0)),
        ": level must give a tensor of finite codes for counts 0..255, got inf at count 100",
    ),
    "Constant": (level(lambda *_: torch.tensor(3.0)), ": level must keep the shape of the counts, got () for (256,)"),
    "Column2d": (
        sigma(lambda count, cycle: torch.zeros(1, *count.shape)),
        ": sigma must keep the shape of the counts, or give one number for all, got (1, 256) for (256,)",
    ),
    "InPlace": (level(lambda count, cycle: count.mul_(0.5)), ": level must leave the counts as they are"),
    "Forgot": (level(lambda *_: None), ": level must give a tensor of finite codes, got None"),
    "Raises": (
        level(lambda count, cycle: count * cycle.gain),  # type: ignore[attr-defined]
        ": level must take counts of any shape, but raises AttributeError: 'Cycle' object has",
    ),
    "Unbuilt": ({"__init__": lambda self, macro: {}["gain"]}, " cannot be built: KeyError: 'gain'"),
    "Spread": ({"cell_sigma": -1.0}, ": cell_sigma must be a number of percent, 0..100, got -1.0"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_a_column_that_is_no_function_of_the_count_is_refused_in_one_sentence(name: str) -> None:
    functions, said = REFUSED[name]
    path = own(name, **functions)
    torch.manual_seed(0)  # a seed is seen if it was set already
    with pytest.raises(ValueError, match=f"^`macro.column` {path}{re.escape(said)}") as caught:
        transfer(MacroConfig(column=path), False)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("rows", [4096, 6143, 60_000])
def test_all_counts_are_asked_for_twice(rows: int) -> None:
    """Also those between which a stride may step."""
    path = own("ThirdRandom", **changed(lambda count: 0.3 * torch.rand(()) * (count % 3 == 1)))
    with pytest.raises(ValueError, match=rf"ThirdRandom: level {OTHERS} at a second call"):
        transfer(MacroConfig(column=path, rows=rows), False)


def macro(kind: type[Column], **fields: Any) -> MacroConfig:
    return MacroConfig(column=f"{__name__}.{kind.__name__}", **fields)


class Curved(Column):
    """Vector instructions may round the last bit of a sine otherwise than scalar ones."""

    def level(self, count: Tensor, cycle: Cycle) -> Tensor:
        codes = to_codes(count, cycle)
        return codes - 2.3 * torch.sin(torch.exp(codes / 2**17))

    def sigma(self, count: Tensor, cycle: Cycle) -> Tensor:
        return torch.tensor([0.3])


class Looked(Column):
    """A measured curve, by linear interpolation; its spread from chip to chip is drawn from a seed that is given."""

    def __init__(self, macro: MacroConfig, seed: int = 0) -> None:
        super().__init__(macro)
        self.curve = torch.randn(17, generator=torch.Generator().manual_seed(seed))

    def level(self, count: Tensor, cycle: Cycle) -> Tensor:
        place = (16 * count / cycle.full_scale).clamp(0, 15.999)
        below = place.long()
        return to_codes(count, cycle) + torch.lerp(self.curve[below], self.curve[below + 1], place - below)


@pytest.mark.parametrize("kind", [Curved, Looked])
@pytest.mark.parametrize(
    "fields",
    [
        {}, {"adc_bits": 16, "rows": 2**20}, {"rows": 1, "adc_bits": 1}, {"encoding_bits": 4, "digital_levels": 2},
        {"weight_parallel": True},
    ],
)  # fmt: skip
def test_functions_of_the_count_pass(kind: type[Column], fields: dict[str, Any]) -> None:
    found = transfer(macro(kind, **fields), True)
    assert isinstance(found.column, kind)


def test_the_package_s_columns_and_checked_macros_are_not_checked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []

    def counted(self: Column, count: Tensor, cycle: Cycle) -> Tensor:
        asked.append(count.numel())
        return to_codes(count, cycle)

    monkeypatch.setattr(Column, "level", counted)
    transfer(MacroConfig(rows=173), False)  # which no other test has asked for
    assert len(asked) == 2  # finite, and exact or not
    transfer(macro(Looked, rows=77), False)
    asked.clear()
    transfer(macro(Looked, rows=77), False)
    assert not asked


def test_a_column_that_inherits_the_package_s_is_a_user_s() -> None:
    path = own("Mine", Current, **level(lambda count, cycle: to_codes(count + torch.rand(()), cycle)))
    with pytest.raises(ValueError, match=rf"Mine: level {OTHERS} at a second call"):
        transfer(MacroConfig(column=path, column_args={"alpha": 1e-4}), False)
