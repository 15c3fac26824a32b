"""Wrong conversions by the native library: those of plain torch, to the bit, and converters that err differently."""

import ctypes
import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import Tensor

from asim_lightning.circuit import MacroConfig, transfer
from asim_lightning.engine import Conv2dProduct, MatmulProduct, Noise, Product, events
from asim_lightning.engine.events import any_device
from asim_lightning.engine.events.layout import Layout, layout
from asim_lightning.engine.events.rates import ConverterRates, Rates, code_distribution, drawn_more_often, rates
from asim_lightning.engine.native.events import NativeEvents
from asim_lightning.engine.noise import layer_key
from asim_lightning.engine.weights import Weights
from tests.engine.events.test_distribution import check_same_distribution, columns
from tests.engine.events.test_events import FORMATS, macros, noise_of, operands
from tests.engine.native.levels import kernels as kernels
from tests.engine.products import exact_sums

ONE_BIT = MacroConfig(weight_bits=2, input_bits=1)


def placed(found: Rates, product: Product, x: Tensor, w: Tensor) -> Layout:
    return layout(found, product, x.shape[1:], w.shape[1:] if product.batched_weight else w.shape)


def random_converters(found: Rates, places: Layout, seed: int, most: float = 1.5) -> ConverterRates:
    """Converters of which two columns share each."""
    generator = torch.Generator().manual_seed(seed)
    shape = places.columns(found.macro.weight_bits)
    index = torch.arange(math.prod(shape)).view(shape) // 2
    return ConverterRates(index, torch.rand(int(index.max()) + 1, 2, generator=generator) * most, most)


def both(
    kernels: ctypes.CDLL, total: Tensor, found: Rates, product: Product, x: Tensor, w: Tensor, noise: Noise,
    converters: ConverterRates | None = None,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """Outputs by the library and by plain torch."""
    places, key = placed(found, product, x, w), layer_key("layer/events", noise.call)
    expected = any_device.with_errors(total.clone(), found, places, x, w, key, noise, converters)
    native = NativeEvents(kernels, found, places, converters)
    return native.added(total.clone(), x, native.weight_words(w), key, noise), expected


@settings(max_examples=40, deadline=None, derandomize=True)
@given(macros(), st.sampled_from(["conv2d", "linear", "matmul"]), st.integers(0, 10**6), st.integers(0, 65535))
def test_every_event_is_that_of_plain_torch(
    kernels: ctypes.CDLL, case: tuple[MacroConfig, bool], kind: str, seed: int, trial: int
) -> None:
    macro, signed = case
    circuit = transfer(macro, signed)
    assume(events.refuses(circuit) is None)
    product, x, w = operands(kind, macro, signed, seed)
    found, noise = rates(circuit), replace(noise_of(2, seed), trial=trial, chip=seed)
    total = exact_sums(product, x, w, macro.input_bits, macro.weight_bits, signed).double()
    alike = both(kernels, total, found, product, x, w, noise)
    assert torch.equal(*alike)
    for form in FORMATS if x.dim() == 4 else FORMATS[:1]:
        places, single = placed(found, product, x, w), total.float().contiguous(memory_format=form)
        native = NativeEvents(kernels, found, places)
        operand = x.contiguous(memory_format=form)
        given_x = (operand + 128 * signed).to(torch.uint8) if macro.input_bits <= 8 else operand
        key = layer_key("layer/events", noise.call)
        assert torch.equal(native.added(single.clone(), given_x, native.weight_words(w), key, noise), alike[0].float())
    if all(kind.rate < 0.5 for kind in found.kinds):
        often = drawn_more_often(found, 1.5)
        converters = random_converters(often, placed(often, product, x, w), seed)
        assert torch.equal(*both(kernels, total, often, product, x, w, noise, converters))


def layer(batch: int = 3) -> tuple[Product, Rates, Tensor, Tensor, Tensor]:
    """A convolution of three tiles and two groups at a fifteenth of wrong codes, and its exact sums."""
    circuit = transfer(MacroConfig(weight_bits=4, input_bits=4, random_noise="0.27 lsb"), False)
    generator = torch.Generator().manual_seed(1)
    x = torch.randint(0, 16, (batch, 120, 8, 8), generator=generator).float()
    w = torch.randint(-7, 8, (24, 60, 3, 3), generator=generator).float()
    product = Conv2dProduct((1, 1), (1, 1), (1, 1), 2)
    return product, rates(circuit), x, w, exact_sums(product, x, w, 4, 4, False).double()


def test_threads_ids_and_repeated_samples(kernels: ctypes.CDLL, set_threads: Callable[[int], None]) -> None:
    product, found, x, w, total = layer(4)
    ids, offsets = torch.tensor([2**32 - 1, 7, 7, 0]), torch.tensor([0, 0, 1, 5])
    noise = replace(noise_of(4), sample_ids=ids, offsets=offsets)
    for threads in (1, 2):
        set_threads(threads)
        assert torch.equal(*both(kernels, total, found, product, x, w, noise))


def test_converters_that_are_all_alike_err_as_the_column_does(kernels: ctypes.CDLL) -> None:
    product, found, x, w, total = layer()
    shape = placed(found, product, x, w).columns(4)
    alike = ConverterRates(torch.zeros(shape, dtype=torch.int64), torch.ones(1, 2), 1.0)
    with_them, _ = both(kernels, total, found, product, x, w, noise_of(3), alike)
    assert torch.equal(with_them, both(kernels, total, found, product, x, w, noise_of(3))[0])
    never = ConverterRates(alike.index, torch.zeros(1, 2), 1.0)
    assert torch.equal(both(kernels, total, found, product, x, w, noise_of(3), never)[0], total)


def test_each_converter_errs_at_its_own_rate_upward_and_downward(kernels: ctypes.CDLL) -> None:
    """One weight bit's converters at work; codes of half of the rows, so that nothing clamps."""
    circuit, times = transfer(ONE_BIT.with_fields(random_noise="0.2 lsb"), False), [(0.0, 3.0), (2.0, 0.5), (1.0, 1.0)]
    x, w = columns(torch.full((400,), 127), 255, 3000)
    found = drawn_more_often(rates(circuit), 3.0)
    index = torch.full((1, 1, 3000, 2), 3)
    index[..., 0] = torch.arange(3000) // 1000
    converters = ConverterRates(index, torch.tensor([*times, (0.0, 0.0)]), 3.0)
    total = exact_sums(MatmulProduct(), x, w, 1, 2, False).double()
    got, expected = both(kernels, total, found, MatmulProduct(), x, w, noise_of(400), converters)
    assert torch.equal(got, expected)
    errors = (got - total).round().view(400, 3, 1000)
    table = code_distribution(circuit.column, circuit.cycles[0])[127]
    up, down = float(table[len(table) // 2 + 1 :].sum()), float(table[: len(table) // 2].sum())
    # the lower weight bit of -1 counts positively
    for number, (more, less) in enumerate(times):
        for share, rate in (((errors[:, number] > 0), up * more), ((errors[:, number] < 0), down * less)):
            wanted = rate * 400_000
            assert abs(int(share.sum()) - wanted) <= 4.5 * math.sqrt(wanted)


def test_rates_of_an_offset_give_the_codes_of_an_offset(kernels: ctypes.CDLL) -> None:
    """A converter 0.15 LSB off, against conversions drawn one by one."""
    sigma, offset = 0.2, 0.15
    circuit = transfer(ONE_BIT.with_fields(random_noise=f"{sigma} lsb"), False)

    def tail(distance: float) -> float:
        return math.erfc(distance / sigma / math.sqrt(2)) / 2

    times = [tail(0.5 - offset) / tail(0.5), tail(0.5 + offset) / tail(0.5)]
    x, w = columns(torch.full((200,), 100), 255, 2000)
    found = drawn_more_often(rates(circuit), 8.0)
    index = torch.tensor([0, 1]).expand(1, 1, 2000, 2)
    converters = ConverterRates(index, torch.tensor([times, [0.0, 0.0]]), 8.0)
    total = exact_sums(MatmulProduct(), x, w, 1, 2, False).double()
    got, _ = both(kernels, total, found, MatmulProduct(), x, w, noise_of(200), converters)
    normal = torch.randn(got.shape, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    drawn = (100 + offset + sigma * normal).round() - 100
    # of errors by 2, too rare to be seen
    check_same_distribution((got - total).round().long(), drawn.long())


@pytest.mark.parametrize(
    ("index", "times", "message"),
    [
        (torch.zeros(1, 1, 3, 2), torch.full((1, 2), 2.5), "rates must be 0..2 times the column's, got 2.5..2.5"),
        (torch.zeros(1, 1, 3, 2), torch.tensor([[0.5, -1.0]]), "rates must be 0..2 times the column's, got -1..0.5"),
        (torch.full((1, 1, 3, 2), 4), torch.ones(4, 2), "converters must be 0..3, whose rates are given, got 4..4"),
    ],
)
def test_converters_without_a_possible_rate_are_refused(index: Tensor, times: Tensor, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ConverterRates(index, times, 2.0)


@pytest.mark.skip(reason="the events engine takes no converters yet")
def test_converters_of_another_layer_and_rates_that_are_not_rare_are_refused() -> None:
    circuit = transfer(ONE_BIT.with_fields(random_noise="0.3 lsb"), False)
    x, w = columns(torch.tensor([100]), 255, 3)
    other = ConverterRates(torch.zeros(1, 1, 2, 2, dtype=torch.int64), torch.ones(1, 2), 1.0)
    errors: dict[str, Any] = {"product": MatmulProduct(), "weights": Weights(w), "transfer": circuit}
    message = r"the index of converters must have the shape \(1, 1, 3, 2\), got \(1, 1, 2, 2\)"
    with pytest.raises(ValueError, match=message):
        events.RareErrors(**errors, converters=other).added(torch.zeros(1, 3), x, noise_of(1))
    with pytest.raises(ValueError, match="conversions that are wrong 20 times as often are not rare"):
        events.RareErrors(**errors, converters=replace(other, most=20.0)).added(torch.zeros(1, 3), x, noise_of(1))


@pytest.mark.skip(reason="the events engine takes no converters yet")
def test_a_layer_with_converters_is_the_same_without_the_library(monkeypatch: pytest.MonkeyPatch) -> None:
    product, found, x, w, total = layer()
    often = drawn_more_often(found, 1.5)
    converters = random_converters(found, placed(often, product, x, w), 3)
    circuit = transfer(found.macro, False)
    errors = events.RareErrors(product, Weights(w), circuit, converters)
    expected = errors.added(total.clone(), x, noise_of(3))
    assert not torch.equal(expected, total)
    monkeypatch.setattr("asim_lightning.engine.events.events_engine.best_library", lambda: None)
    for given_x in (x, x.to(torch.uint8)):
        assert torch.equal(errors.added(total.clone(), given_x, noise_of(3)), expected)
