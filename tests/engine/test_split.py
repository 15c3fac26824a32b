"""Schedules of which some input digits are exact and others are not."""

from typing import Any

import pytest
import torch
from torch import Tensor

from asim_lightning.circuit import Algorithm, Column, Cycle, MacroConfig, Transfer, algorithm, split, transfer
from asim_lightning.engine import (
    ENGINES,
    Conv2dProduct,
    MatmulProduct,
    Product,
    choose,
    reference,
    sums_of,
)
from asim_lightning.engine.split import refuses
from asim_lightning.engine.weights import Weights
from tests.engine.products import PRODUCTS, exact_sums, noise_of

SIGNED: dict[str, Any] = {"input_bits": 9, "encoding_bits": 4, "random_noise": 0.05}


class NoisyDigits(Column):
    """Noise at digits of several bits alone."""

    def sigma(self, count: Tensor, cycle: Cycle) -> Tensor:
        """0 where a row adds at most 1."""
        return super().sigma(count, cycle) * float(cycle.full_scale > cycle.top_code)


class NoisySigns(Column):
    """Noise at the sign plane alone."""

    def sigma(self, count: Tensor, cycle: Cycle) -> Tensor:
        """0 where a row adds more than 1."""
        return super().sigma(count, cycle) * float(cycle.full_scale == cycle.top_code)


def operands(product: Product, batch: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    x_shape, w_shape = {
        Conv2dProduct: ((batch, 60, 7, 6), (12, 30, 3, 2)),
        MatmulProduct: ((batch, 5, 300), (20, 300)),
    }[type(product)]
    if product.batched_weight:
        x_shape, w_shape = (batch, 2, 5, 70), (batch, 2, 21, 70)
    generator = torch.Generator().manual_seed(seed)
    x = torch.randint(-255, 256, x_shape, generator=generator).float()
    return x, torch.randint(-127, 128, w_shape, generator=generator).float()


def parts(circuit: Transfer) -> tuple[Transfer, Transfer]:
    found = split(circuit)
    assert found is not None
    return found


def test_it_computes_where_events_serve_for_the_noise_of_the_exact_cycles(monkeypatch: pytest.MonkeyPatch) -> None:
    noisy = transfer(MacroConfig(**SIGNED), True)
    quiet = transfer(MacroConfig(column=f"{__name__}.NoisyDigits", **SIGNED), True)
    assert [(refuses(circuit), choose(circuit)) for circuit in (noisy, quiet)] == [(None, "split")] * 2
    assert refuses(transfer(MacroConfig(), True)) == "conversions have no noise"
    monkeypatch.setattr("asim_lightning.engine.events.refuses", lambda _: "too many")
    found = [(refuses(circuit), choose(circuit)) for circuit in (noisy, quiet)]
    assert found == [("too many", "native"), (None, "split")]


def test_the_sign_plane_is_exact_beside_digits_of_four_bits() -> None:
    circuit = transfer(MacroConfig(**SIGNED), True)
    found, rest = parts(circuit)
    assert {c.input_bits for c in found.cycles} == {(8,)}
    assert {c.input_bits for c in rest.cycles} == {(0, 1, 2, 3), (4, 5, 6, 7)}
    assert (algorithm(circuit), choose(circuit)) == (Algorithm.SPLIT, "split")
    assert (algorithm(found), algorithm(rest)) == (Algorithm.EVENTS, Algorithm.CONVERSIONS)


@pytest.mark.parametrize(
    "other",
    [
        {"random_noise": 0.0},  # every conversion is fast without noise
        {"random_noise": 0.5},  # the sign plane is often wrong
        {"rows": 300},  # no cycle is exact
        {"adc_bits": 12},  # every cycle is
        {"vote": "mean", "votes": 3, "vote_levels": 2},
        {"column": "current", "column_args": {"cell_sigma": 2.0}},
        {"adc_bits": None},
    ],
    ids=str,
)
def test_other_schedules_stay_whole(other: dict[str, Any]) -> None:
    circuit = transfer(MacroConfig(**{**SIGNED, **other}), True)
    assert split(circuit) is None
    assert algorithm(circuit) is not Algorithm.SPLIT
    x, w = operands(PRODUCTS["linear"], 1)
    with pytest.raises(ValueError, match="needs exact and other input digits and noise to be split"):
        sums_of(ENGINES["split"], PRODUCTS["linear"], circuit, x, w, noise_of(1))


@pytest.mark.parametrize("product", PRODUCTS.values(), ids=PRODUCTS)
@pytest.mark.parametrize(("kernel", "may_differ"), [("native", 1), ("reference", 0)])  # by the last bit of a normal
def test_digits_are_converted_and_the_sign_plane_is_a_product(
    product: Product, kernel: str, may_differ: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("asim_lightning.engine.split.kernel_for", lambda circuit, device: kernel)
    circuit = transfer(MacroConfig(**SIGNED, column=f"{__name__}.NoisyDigits"), True)
    _, rest = parts(circuit)
    x, w = operands(product, 3)
    signs = exact_sums(product, (x < 0).float(), w, 1, 8, False)
    expected = sums_of(reference, product, rest, x, w, noise_of(3)) - 256.0 * signs.double()
    found = sums_of(ENGINES["split"], product, circuit, x, w, noise_of(3))
    assert found.dtype == torch.float64
    assert int((found != expected).sum()) <= may_differ
    assert not torch.equal(found, sums_of(ENGINES["split"], product, circuit, x, w, noise_of(3, trial=1)))


@pytest.mark.parametrize("product", PRODUCTS.values(), ids=PRODUCTS)
def test_errors_of_the_sign_plane_are_distributed_as_in_the_reference(product: Product) -> None:
    macro = MacroConfig(**{**SIGNED, "random_noise": 0.08}, column=f"{__name__}.NoisySigns")
    circuit = transfer(macro, True)
    x, w = operands(product, 40)
    quiet = sums_of(
        ENGINES["native"], product, transfer(MacroConfig(**{**SIGNED, "random_noise": 0.0}), True), x, w, noise_of(40)
    )
    errors = []
    for engine in (ENGINES["split"], reference):
        reads = [sums_of(engine, product, circuit, x, w, noise_of(40, trial=t)) for t in range(4)]
        found = torch.cat([each - quiet for each in reads])
        errors.append((found / 256.0).round().long().flatten())  # by the weight bit that was wrong, and its sign
        assert torch.equal(found, errors[-1].view(found.shape) * 256.0)
    values = [-4, -2, -1, 0, 1, 2, 4]
    table = [[int((each == value).sum()) for value in values] for each in errors]
    assert min(table[0][2], table[0][4]) > 20
    chi_square = sum((a - b) ** 2 / max(a + b, 1) for a, b in zip(*table, strict=True))
    assert chi_square < 28  # of 7 kinds: 1 in 10,000


def test_a_network_of_any_batch_gives_a_sample_the_same() -> None:
    circuit, product = transfer(MacroConfig(**SIGNED), True), PRODUCTS["linear"]
    x, w = operands(product, 4)
    whole = sums_of(ENGINES["split"], product, circuit, x, w, noise_of(4))
    program = ENGINES["split"].prepare(product, circuit, Weights(w))
    program.max_elements = 100
    for row in range(4):
        alone = program.sums(x[row : row + 1], noise_of(1, range(5 + row, 6 + row)))
        assert torch.equal(alone[0], whole[row])
