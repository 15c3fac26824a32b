"""Weights that are reloaded into some macros meet the converters and cells of the macro, row and column they lie on."""

from itertools import product as pairs
from typing import Any

import numpy as np
import pytest
import torch

from asim_lightning.circuit import MacroConfig, resolved, transfer
from asim_lightning.engine import ENGINES, Conv2dProduct, MatmulProduct, Product, converters_of, sums_of
from asim_lightning.engine.chips.chip import Chip
from asim_lightning.engine.chips.places import Places
from tests.engine.native.test_conversion import operands
from tests.engine.products import NOISY, PRODUCTS, noise_of

REUSE: dict[str, Any] = {"placement": "reuse", "macros": 3, "columns": 10}
SHAPES: dict[str, tuple[Product, tuple[int, ...]]] = {
    "linear": (MatmulProduct(), (7, 50)),
    "heads": (MatmulProduct(batched_weight=True), (2, 7, 50)),
    "convolution": (Conv2dProduct((1, 1), (0, 0), (1, 1), 1), (7, 5, 3, 3)),
    "groups": (Conv2dProduct((1, 1), (0, 0), (1, 1), 2), (6, 5, 3, 3)),
    "large kernels": (Conv2dProduct((1, 1), (0, 0), (1, 1), 1), (5, 2, 5, 5)),
}


def arrays(product: Product, shape: tuple[int, ...]) -> tuple[int, int]:
    """Groups or heads, and outputs of each."""
    if isinstance(product, Conv2dProduct):
        return product.groups, shape[0] // product.groups
    return (shape[0], shape[1]) if len(shape) == 3 else (1, shape[0])


@pytest.mark.parametrize("shared", [1, 3])
@pytest.mark.parametrize(("product", "shape"), SHAPES.values(), ids=SHAPES)
def test_converters_are_those_of_macro_and_column(product: Product, shape: tuple[int, ...], shared: int) -> None:
    macro = MacroConfig(4, 4, 20, static={**REUSE, "offset": 1, "columns_per_adc": shared})
    found = converters_of(Chip(3, "macros 0", first_tile=5), product, transfer(macro, False), torch.Size(shape))
    each = -(-10 // shared)
    assert len(found.offset) == 3 * each
    tiles, (groups, outputs) = found.index.shape[0], arrays(product, shape)
    for tile, group, output, bit in pairs(range(tiles), range(groups), range(outputs), range(4)):
        number = (5 + tile * groups + group) % 3
        assert found.index[tile, group, output, bit] == number * each + (output * 4 + bit) % 10 // shared
    other = converters_of(Chip(3, "macros 0"), MatmulProduct(), transfer(macro, True), torch.Size((90, 200)))
    assert torch.equal(other.offset, found.offset)  # type: ignore[arg-type]  # of the macros, whatever is loaded


@pytest.mark.parametrize(("product", "shape"), SHAPES.values(), ids=SHAPES)
def test_cells_are_those_of_macro_row_and_column(product: Product, shape: tuple[int, ...]) -> None:
    macro = MacroConfig(4, 4, 20, static={**REUSE, "cell_mismatch": 1})
    tiles, (groups, outputs) = product.geometry_of(torch.Size(shape)).tiles(20), arrays(product, shape)
    places = Places(Chip(first_tile=5), product, transfer(macro, False), torch.Size(shape))
    for bit in range(4):
        found = places.cell_numbers(bit).view(groups, outputs, -1, *shape[2:])
        found = found if isinstance(product, Conv2dProduct) else found.view(groups, outputs, -1)
        seen = torch.zeros_like(found)
        for (number, tile), group, output in pairs(enumerate(tiles), range(groups), range(outputs)):
            cells = found[group, output].flatten(1) if isinstance(product, Conv2dProduct) else found[group, output]
            held = cells[tile.channels, tile.kernel] if cells.dim() > 1 else cells[tile.channels]
            macro_number, column = (5 + number * groups + group) % 3, (output * 4 + bit) % 10
            rows = torch.arange(held.numel())
            assert held.numel() <= 20
            assert torch.equal(held.flatten(), (macro_number * 20 + rows) * 10 + column)
            seen[group, output] += 1
        assert bool((seen > 0).all())


@pytest.mark.parametrize("reference", ["ratiometric", "absolute", "summing"])
def test_shared_cells_in_plain_float64(reference: str) -> None:
    macro = MacroConfig(
        3, 4, 40, None, encoding_bits=2,
        static={**REUSE, "macros": 2, "cell_mismatch": 5, "reference": reference, "stuck_at_1": 0.02},
    )  # fmt: skip
    generator = torch.Generator().manual_seed(6)
    x = torch.randint(0, 16, (3, 100), generator=generator)
    w = torch.randint(-3, 4, (7, 100), generator=generator)
    chip = Chip(5, "macros 0", first_tile=1)
    circuit, product = transfer(macro, False), MatmulProduct()
    found = sums_of(ENGINES["reference"], product, circuit, x.float(), w.float(), noise_of(3, chip=5), chip)
    normal = chip.normals("cells", 2 * 40 * 10)[0].numpy().reshape(2, 40, 10)
    cells = np.rint((1 + np.float32(0.05) * normal).astype(np.float64) * 2**12) / 2**12
    stuck = chip.normals("stuck", 2 * 40 * 10)[0].numpy().reshape(2, 40, 10)
    stuck = stuck > -float(torch.special.ndtri(torch.tensor(0.02, dtype=torch.float64)))
    assert stuck.any()
    total = np.zeros((3, 7))
    for tile, (low, high) in enumerate([(0, 40), (40, 80), (80, 100)]):
        own = (1 + tile) % 2
        for bit, output in pairs(range(3), range(7)):
            column = (output * 3 + bit) % 10
            plane = ((w.numpy()[output, low:high] & 7) >> bit & 1) | stuck[own, : high - low, column]
            held = cells[own, : high - low, column]
            gain = 1.0 if reference == "summing" else 40 / cells[own, :, column].sum()
            for group in range(2):
                digit = x.numpy()[:, low:high] >> 2 * group & 3
                count = digit @ (plane * held) * gain
                total[:, output] += count.clip(0, 120) * 2 ** (bit + 2 * group) * (-1 if bit == 2 else 1)
    np.testing.assert_allclose(found.numpy(), total, rtol=0, atol=1e-6 * np.abs(total).max())


@pytest.mark.parametrize("product", PRODUCTS.values(), ids=PRODUCTS)
def test_tiles_are_given_to_macros_in_turn(product: Product) -> None:
    effects = {"cell_mismatch": "4 %", "stuck_at_0": 0.02, "offset": "1 lsb", "gain": "1 %"}
    circuit = transfer(MacroConfig(4, 4, 63, 6, **NOISY, static={**REUSE, **effects}), True)
    x, w = operands(product, circuit.macro, True, batch=2)
    chips = [Chip(17, "macros 0", first_tile=first) for first in (1, 2, 4)]
    sums = [sums_of(ENGINES["reference"], product, circuit, x, w, noise_of(2), chip) for chip in chips]
    assert not torch.equal(sums[0], sums[1])
    assert torch.equal(sums[0], sums[2])  # of three macros


WIDE = {"placement": "reuse", "macros": 2**20, "columns": 256, "cell_mismatch": 1}


@pytest.mark.parametrize(
    ("static", "message"),
    [
        ({"placement": "reuse"}, "macros` must be 1..1048576 with placement reuse, got None"),
        ({"placement": "reuse", "macros": 4}, "columns` must be 1..1048576 with placement reuse"),
        ({"placement": "reuse", "macros": 0, "columns": 9}, "macros` must be 1..1048576 with placement reuse, got 0"),
        ({"placement": "reuse", "macros": 4, "columns": 7}, "must be at least `macro.weight_bits`, 8, got 7"),
        ({"macros": 4}, "macros` must be null with placement unrolled"),
        (WIDE, "must be at most 268435456 cells if cells differ"),
    ],
)
def test_wrong_placements_are_refused(static: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        resolved(MacroConfig(static=static))
