"""A user's column must be two functions of the count alone; whatever else it is, one sentence says so."""

import itertools
import random
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from asim_lightning.circuit import Column, Current, Cycle, MacroConfig, to_codes, transfer
from asim_lightning.circuit.column_check import global_random_state

HERE = f"`macro.column` {__name__}."
COUNTER = itertools.count()


class RandomOffset(Column):
    """Draws an offset at each call, as if it were noise."""

    def level(self, count: Tensor, cycle: Cycle) -> Tensor:
        return to_codes(count, cycle) + 0.3 * torch.randn(count.shape)


class RandomSigma(Column):
    def sigma(self, count: Tensor, cycle: Cycle) -> Tensor:
        return torch.rand(())


class Drifting(Column):
    """Counts its calls."""

    def level(self, count: Tensor, cycle: Cycle) -> Tensor:
        return to_codes(count, cycle) + 0.01 * next(COUNTER)


class Placed(Column):
    """An offset an ADC, by place in the tensor: what differs from place to place on a chip."""

    def level(self, count: Tensor, cycle: Cycle) -> Tensor:
        return to_codes(count, cycle) + torch.linspace(0.0, 1.0, count.shape[-1])


class Seeded(Column):
    """The same at each call, but by place."""

    def level(self, count: Tensor, cycle: Cycle) -> Tensor:
        generator = torch.Generator().manual_seed(0)
        return to_codes(count, cycle) + torch.randn(count.shape, generator=generator)


class Normalised(Column):
    """Depends on the largest count at hand."""

    def level(self, count: Tensor, cycle: Cycle) -> Tensor:
        return 255 * count / count.max()


class OfItsMean(Column):
    def sigma(self, count: Tensor, cycle: Cycle) -> Tensor:
        return count.mean() / cycle.full_scale


class Thresholded(Column):
    """Decides for all counts at once."""

    def level(self, count: Tensor, cycle: Cycle) -> Tensor:
        return to_codes(count, cycle) if count.max() > 10 else torch.zeros_like(count)


class OneDimensional(Column):
    """Takes rows of counts for counts."""

    def level(self, count: Tensor, cycle: Cycle) -> Tensor:
        return to_codes(count, cycle).cumsum(0) - to_codes(count, cycle).roll(1, 0).cumsum(0)


class Tabulated(Column):
    """One number a place, whatever is there."""

    def level(self, count: Tensor, cycle: Cycle) -> Tensor:
        return to_codes(count, cycle) + torch.zeros(256)


class Built(Column):
    """Draws its offset when it is built."""

    def __init__(self, macro: MacroConfig) -> None:
        super().__init__(macro)
        self.offset = torch.randn(())

    def level(self, count: Tensor, cycle: Cycle) -> Tensor:
        return to_codes(count, cycle) + self.offset


class OfItsBit(Column):
    """More noise at the top weight bit, which engines that tabulate by count would not see."""

    def sigma(self, count: Tensor, cycle: Cycle) -> Tensor:
        return torch.full_like(count, 0.1 + 0.1 * cycle.weight_bits[0])


class Constant(Column):
    def level(self, count: Tensor, cycle: Cycle) -> Tensor:
        return torch.tensor(3.0)


class ThirdRandom(Column):
    """Random at some counts, between which a stride may step."""

    def level(self, count: Tensor, cycle: Cycle) -> Tensor:
        return to_codes(count, cycle) + 0.3 * torch.rand(()) * (count % 3 == 1)


class Seeding(Column):
    """The same number at each call, and the same ones for whoever draws next."""

    def level(self, count: Tensor, cycle: Cycle) -> Tensor:
        torch.manual_seed(0)
        return to_codes(count, cycle) + torch.rand(())


class OnlySeeding(Column):
    def level(self, count: Tensor, cycle: Cycle) -> Tensor:
        torch.manual_seed(0)
        return to_codes(count, cycle)


class SeedingNumpy(Column):
    def sigma(self, count: Tensor, cycle: Cycle) -> Tensor:
        np.random.seed(0)
        return torch.zeros(())


class Drawing(Column):
    """Draws, and does nothing with it."""

    def level(self, count: Tensor, cycle: Cycle) -> Tensor:
        random.random()
        return to_codes(count, cycle)


class BuiltSeeding(Column):
    def __init__(self, macro: MacroConfig) -> None:
        super().__init__(macro)
        torch.manual_seed(0)


class Negative(Column):
    def sigma(self, count: Tensor, cycle: Cycle) -> Tensor:
        return 0.5 - 0.01 * count


class Infinite(Column):
    def level(self, count: Tensor, cycle: Cycle) -> Tensor:
        return 1.0 / (count - 100.0)


class Shorter(Column):
    def level(self, count: Tensor, cycle: Cycle) -> Tensor:
        return to_codes(count, cycle)[:-1]


class Column2d(Column):
    def sigma(self, count: Tensor, cycle: Cycle) -> Tensor:
        return torch.zeros(1, *count.shape)


class InPlace(Column):
    def level(self, count: Tensor, cycle: Cycle) -> Tensor:
        return count.mul_(0.5)


class Truth(Column):
    def level(self, count: Tensor, cycle: Cycle) -> Tensor:
        return count > 10


class Forgot(Column):
    def level(self, count: Tensor, cycle: Cycle) -> Tensor:
        to_codes(count, cycle)  # and returns nothing


class Raises(Column):
    def level(self, count: Tensor, cycle: Cycle) -> Tensor:
        return count * self.gain  # type: ignore[attr-defined,no-any-return]


class Spread(Column):
    cell_sigma = -1.0


class WideSpread(Column):
    cell_sigma = 100.5


class Unbuilt(Column):
    def __init__(self, macro: MacroConfig) -> None:
        {}["gain"]


TWICE = "must give the same each time for the same counts, but does not: what differs from read to read belongs into"
BESIDE = "must give each count the same code whatever stands next to it, but gives others for "
GLOBAL = (
    "must leave the global random numbers of torch, numpy and Python as they are, but changes them: draw from a "
    "generator of its own"
)
REFUSED: dict[type[Column], str] = {
    RandomOffset: f"level {TWICE} sigma, as a standard deviation",
    RandomSigma: f"sigma {TWICE} sigma",
    Drifting: f"level {TWICE}",
    Placed: f"level {BESIDE}a permutation of the counts",
    Seeded: f"level {BESIDE}a permutation of the counts",
    Normalised: f"level {BESIDE}a slice of the counts",
    OfItsMean: f"sigma {BESIDE}a slice of the counts",
    Thresholded: f"level {BESIDE}a count alone",
    OneDimensional: f"level {BESIDE}",
    Tabulated: "level must take counts of any shape, but raises RuntimeError for (65,): The size of tensor a (65) must",
    Built: "level must be the same for a column that is built anew with the same arguments, but is not: draw what is",
    OfItsBit: (
        "sigma must be the same for cycles of the same full scale and converter, but differs between weight bits 0 "
        "with input bits 0 and weight bits 1 with input bits 0"
    ),
    Negative: "sigma must be 0 or more, as it is a standard deviation, got -2.05 at count 255",
    Infinite: "level must give a tensor of finite codes for counts 0..255, got inf at count 100",
    Constant: "level must keep the shape of the counts, got () for (256,)",
    Seeding: f"level {GLOBAL}",
    SeedingNumpy: f"sigma {GLOBAL}",
    Drawing: f"level {GLOBAL}",
    BuiltSeeding: f"__init__ {GLOBAL}",
    Shorter: "level must keep the shape of the counts, got (255,) for (256,)",
    Column2d: "sigma must keep the shape of the counts, or give one number for all, got (1, 256) for (256,)",
    InPlace: "level must leave the counts as they are, but changes them in place",
    Truth: "level must give a tensor of finite codes, got one of torch.bool",
    Forgot: "level must give a tensor of finite codes, got None",
    Raises: "level must take counts of any shape, but raises AttributeError for (256,): 'Raises' object has",
    Spread: "cell_sigma must be a number of percent, 0..100, got -1.0",
    WideSpread: "cell_sigma must be a number of percent, 0..100, got 100.5",
    Unbuilt: "cannot be built: KeyError: 'gain'",
}


def macro(kind: type[Column], **fields: Any) -> MacroConfig:
    return MacroConfig(column=f"{__name__}.{kind.__name__}", **fields)


@pytest.mark.parametrize("kind", REFUSED, ids=lambda kind: kind.__name__)
def test_a_column_that_is_no_function_of_the_count_is_refused_in_one_sentence(kind: type[Column]) -> None:
    with pytest.raises(ValueError) as caught:
        transfer(macro(kind), False)
    said = str(caught.value)
    assert said.startswith(HERE + kind.__name__)
    assert said.removeprefix(HERE + kind.__name__).lstrip(": ").startswith(REFUSED[kind])
    assert "\n" not in said


@pytest.mark.parametrize("rows", [4096, 6143, 60_000])
def test_all_counts_are_asked_for_twice(rows: int) -> None:
    with pytest.raises(ValueError, match=rf"ThirdRandom: level {TWICE}"):
        transfer(macro(ThirdRandom, rows=rows), False)


def test_a_seed_is_seen_where_it_was_set_already() -> None:
    torch.manual_seed(0)
    with pytest.raises(ValueError, match="OnlySeeding: level must leave the global random numbers"):
        transfer(macro(OnlySeeding), False)


def test_a_check_leaves_global_random_numbers_alone() -> None:
    torch.manual_seed(7), np.random.seed(7), random.seed(7)
    before = global_random_state()
    transfer(macro(Looked, rows=99), False)
    assert global_random_state() == before
    with pytest.raises(ValueError, match="global random numbers"):
        transfer(macro(OnlySeeding), False)
    assert global_random_state() == before


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
    [{}, {"adc_bits": 16, "rows": 2**20}, {"rows": 1, "adc_bits": 1}, {"encoding_bits": 4, "digital_levels": 2}],
)
def test_functions_of_the_count_pass(kind: type[Column], fields: dict[str, Any]) -> None:
    found = transfer(macro(kind, **fields), True)
    assert isinstance(found.column, kind)


def test_a_weight_parallel_cycle_has_negative_counts_and_levels() -> None:
    assert transfer(macro(Curved, weight_parallel=True), True).cycles[0].signed
    with pytest.raises(ValueError, match=r"Normalised: level must give each count the same code"):
        transfer(macro(Normalised, weight_parallel=True), True)


def test_the_package_s_columns_and_checked_macros_are_not_checked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []

    def counted(self: Column, count: Tensor, cycle: Cycle) -> Tensor:
        asked.append(count.numel())
        return to_codes(count, cycle)

    monkeypatch.setattr(Column, "level", counted)
    transfer(MacroConfig(rows=77), False)
    assert len(asked) == 2  # finite, and exact or not
    transfer(macro(Looked, rows=77), False)
    asked.clear()
    transfer(macro(Looked, rows=77), False)
    assert not asked


def test_a_column_that_inherits_the_package_s_is_a_user_s(monkeypatch: pytest.MonkeyPatch) -> None:
    class Mine(Current):
        def level(self, count: Tensor, cycle: Cycle) -> Tensor:
            return super().level(count + torch.rand(()), cycle)

    monkeypatch.setitem(globals(), "Mine", Mine)
    with pytest.raises(ValueError, match=r"Mine: level must give the same each time"):
        transfer(MacroConfig(column=f"{__name__}.Mine", column_args={"alpha": 1e-4}), False)


def test_few_counts_are_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []
    sigma = Column.sigma

    def counted(self: Column, count: Tensor, cycle: Cycle) -> Tensor:
        sizes.append(count.numel())
        return sigma(self, count, cycle)

    monkeypatch.setattr(Looked, "sigma", counted, raising=False)
    transfer(macro(Looked, rows=60_000, adc_bits=12), False)
    every = [size for size in sizes if size > 2001]
    assert len(every) == 5  # finite, twice the same, the same built anew, and whether there is noise
