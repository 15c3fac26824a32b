"""What wrong conversions depend on, and what they do not, whether converters are equal or differ."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from asim_lightning.circuit import MacroConfig, Transfer, transfer
from asim_lightning.engine import Chip, Conv2dProduct, Product, Weights, exact, rare, sums_of
from tests.engine.products import noise_of

MACROS: dict[str, dict[str, Any]] = {
    "equal": {"random_noise": "0.27 lsb"},
    "apart": {"random_noise": "0.2 lsb", "static": {"offset": "0.04 lsb", "gain": 0.1}},
}
every_macro = pytest.mark.parametrize("fields", MACROS.values(), ids=MACROS)
FORMATS = (torch.contiguous_format, torch.channels_last)


def layer(batch: int, **fields: Any) -> tuple[Product, Transfer, Tensor, Tensor]:
    """A convolution of several blocks, three tiles and two groups."""
    generator = torch.Generator().manual_seed(1)
    x = torch.randint(0, 16, (batch, 120, 12, 11), generator=generator).float()
    w = torch.randint(-7, 8, (24, 60, 3, 3), generator=generator).float()
    return Conv2dProduct((1, 1), (1, 1), (1, 1), 2), transfer(MacroConfig(4, 4, **fields), False), x, w


@every_macro
def test_batch_and_threads_do_not_matter(fields: dict[str, Any], set_threads: Callable[[int], None]) -> None:
    product, circuit, x, w = layer(5, **fields)
    ids, offsets = torch.tensor([2**32 - 1, 7, 7, 0, 9]), torch.tensor([0, 0, 1, 5, 0])
    noise = replace(noise_of(5), sample_ids=ids, offsets=offsets)
    together = sums_of(rare, product, circuit, x, w, noise)
    clean = exact.prepare(product, circuit, Weights(w)).sums(x).double()
    assert not torch.equal((together - clean)[1], (together - clean)[2])  # rows of one sample
    for threads in (2, 3):
        set_threads(threads)
        assert torch.equal(sums_of(rare, product, circuit, x, w, noise), together)
        for i in range(5):
            alone = sums_of(rare, product, circuit, x[i : i + 1], w, noise.rows(i, i + 1))
            assert torch.equal(alone, together[i : i + 1])


@every_macro
def test_seed_trial_call_name_sample_and_offset_each_make_other_errors(fields: dict[str, Any]) -> None:
    product, circuit, x, w = layer(1, **fields)
    base, one = noise_of(1), torch.ones(1, dtype=torch.int64)
    changes: list[dict[str, Any]] = [{"seed": 9}, {"trial": 3}, {"call": 1}, {"name": "other"}, {"offsets": one}]
    others = [replace(base, **change) for change in (*changes, {"sample_ids": base.sample_ids + 1})]
    clean = exact.prepare(product, circuit, Weights(w)).sums(x).double()
    errors = [(sums_of(rare, product, circuit, x, w, n) - clean).flatten() for n in (base, *others)]
    assert len({tuple(e.tolist()) for e in errors}) == len(errors)
    for other in errors[1:]:
        assert abs(float(torch.corrcoef(torch.stack([errors[0], other]))[0, 1])) < 0.1  # 3168 outputs: 5 sigma
    of_chip = sums_of(rare, product, circuit, x, w, replace(base, chip=4)) - clean
    assert torch.equal(of_chip.flatten(), errors[0]) == ("static" not in fields)


@every_macro
@pytest.mark.parametrize("form", FORMATS)
def test_types_memory_formats_and_inference_mode_do_not_matter(fields: dict[str, Any], form: Any) -> None:
    product, circuit, x, w = layer(2, **fields)
    noise = noise_of(2)
    expected = sums_of(rare, product, circuit, x, w, noise)
    x = x.contiguous(memory_format=form)
    program = rare.prepare(product, circuit, Weights(w), Chip(0, "layer"))
    clean = exact.prepare(product, circuit, Weights(w)).sums(x)
    for dtype in (torch.float32, torch.int64, torch.float64):
        for given in (x, x.to(torch.uint8)):
            found = program.added(clean.to(dtype).clone(memory_format=form), given, noise)
            assert torch.equal(found, expected.to(found.dtype))  # rounded once
            assert found.dtype == (torch.float32 if dtype == torch.float32 else torch.float64)
    with torch.inference_mode():
        assert torch.equal(sums_of(rare, product, circuit, x + 0, w + 0, noise), expected)


@every_macro
def test_an_empty_batch_and_digital_cycles_have_no_errors(fields: dict[str, Any]) -> None:
    product, circuit, x, w = layer(1, **fields)
    assert sums_of(rare, product, circuit, x[:0], w, noise_of(1).rows(0, 0)).shape == (0, 24, 12, 11)
    digital = transfer(circuit.macro.with_fields(digital_levels=99), False)
    found = sums_of(rare, product, digital, x, w, noise_of(1))
    assert torch.equal(found, exact.prepare(product, digital, Weights(w)).sums(x).double())


@pytest.mark.parametrize("sigma", ["0.11 lsb", "0.06 lsb", "0.01 lsb", "1e-6 lsb"])
def test_rates_of_next_to_nothing_leave_the_exact_product(sigma: str) -> None:
    product, circuit, x, w = layer(2, random_noise=sigma)
    found = sums_of(rare, product, circuit, x, w, noise_of(2))
    assert found.dtype == torch.float64
    differ = found != exact.prepare(product, circuit, Weights(w)).sums(x).double()
    assert int(differ.sum()) <= (20 if sigma == "0.11 lsb" else 0)
