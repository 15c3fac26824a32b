"""Converters with a gain and an offset that a user's column gives them by place, in every engine."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from asim_lightning.circuit import Charge, ConverterPlaces, MacroConfig, Transfer, transfer
from asim_lightning.engine import ENGINES, MatmulProduct, Product, SavedChip, converters_of, decision, refusals, sums_of
from asim_lightning.engine.chips.chip import Chip
from asim_lightning.nn.verify import verify
from tests.engine.native.test_conversion import operands
from tests.engine.products import NOISY, PRODUCTS, noise_of
from tests.nn.test_chip import answer, saved
from tests.nn.test_chip import named_layer as layer_of

REUSE = {"placement": "reuse", "macros": 3, "columns": 10}


class Slope(Charge):
    """Gains that fall along the columns, and offsets of two macros in turn."""

    def __init__(self, macro: MacroConfig, slope: float = 0.01, step: float = 0.4) -> None:
        super().__init__(macro)
        self.slope, self.step = slope, step

    def converters(self, places: ConverterPlaces) -> tuple[Tensor | float, Tensor | float]:
        """See `Column.converters`."""
        assert (places.tile is None) == (self.macro.static.placement == "reuse")
        return 1.0 - self.slope * places.column, self.step * (places.macro % 2)


def circuit_of(signed: bool = False, **settings: Any) -> Transfer:
    return transfer(MacroConfig(4, 4, **{"rows": 63, "adc_bits": 6, **settings}, column=f"{__name__}.Slope"), signed)


def test_a_column_has_the_gain_and_offset_of_its_place() -> None:
    circuit = circuit_of()
    x, w = torch.zeros(1, 100), torch.full((5, 100), 7.0)
    x[0, :40], x[0, 63:93] = 1.0, 1.0  # tiles of 40 and of 30 counts
    found = sums_of(ENGINES["reference"], MatmulProduct(), circuit, x, w, noise_of(1))[0]
    for output in range(5):
        expected = 0
        for tile, count in enumerate((40, 30)):
            for bit in range(4):
                for group in range(4):
                    level = count * (bit < 3 and group == 0) * (1 - 0.01 * (output * 4 + bit)) + 0.4 * tile
                    expected += round(level) * 2 ** (bit + group) * (-1 if bit == 3 else 1)
        assert float(found[output]) == expected


@pytest.mark.parametrize(
    "static", [{}, {"offset": "0.5 lsb", "gain": 1, "columns_per_adc": 3}, REUSE, {"inl": 4, **REUSE}]
)
@pytest.mark.parametrize(
    "settings",
    [
        {}, NOISY, {"encoding_bits": 2, "adc_bits": 7}, {"vote_levels": 4, "votes": 3, **NOISY}, {"adc_step": 2},
        {"adc_bits": 8, "weight_parallel": True},
    ],
    ids=["quiet", "noisy", "encoded", "votes", "range", "weight-parallel"],
)  # fmt: skip
@pytest.mark.parametrize("product", PRODUCTS.values(), ids=PRODUCTS)
def test_engines_agree(product: Product, settings: dict[str, Any], static: dict[str, Any]) -> None:
    circuit = circuit_of(True, **settings, static=static)
    assert decision(circuit)[0] == "every conversion"
    assert "pattern of its own" in refusals(circuit)["events"]
    x, w = operands(product, circuit.macro, True, batch=2)
    chip = Chip(17, "macros 0" if "macros" in static else "layer")
    able = [name for name in ("native", "reference") if ENGINES[name].refuses(circuit) is None]
    sums = [sums_of(ENGINES[name], product, circuit, x, w, noise_of(2), chip) for name in able]
    assert torch.equal(sums[0], sums[-1])
    flat = transfer(circuit.macro.with_fields(column="charge"), True)
    assert not torch.equal(sums[0], sums_of(ENGINES["reference"], product, flat, x, w, noise_of(2), chip))


def test_gains_multiply_and_offsets_add() -> None:
    static = {"offset": "0.5 lsb", "gain": 2, "columns_per_adc": 2}
    both, drawn = circuit_of(static=static), transfer(MacroConfig(4, 4, 63, 6, static=static), False)
    shape, product = torch.Size((5, 100)), MatmulProduct()
    found, own = (converters_of(Chip(3, "layer"), product, each, shape) for each in (both, drawn))
    half = converters_of(Chip(3, "layer", spread=0.5), product, circuit_of(), shape)
    places = torch.arange(20) % 10 * 2, torch.arange(20) // 10
    torch.testing.assert_close(found.gain, own.gain * (1 - 0.01 * places[0]))  # type: ignore[operator]
    torch.testing.assert_close(found.offset, own.offset + 0.4 * places[1])  # type: ignore[operator]
    torch.testing.assert_close(half.offset, 0.2 * (torch.arange(40) // 20))


@pytest.mark.parametrize("kind", ["linear", "conv", "matmul"])
@pytest.mark.parametrize("static", [{}, {"offset": "0.3 lsb"}, {"gain": 1, **REUSE}])
def test_layers_verify_and_files_hold_what_is_drawn(kind: str, static: dict[str, Any], tmp_path: Path) -> None:
    layer, inputs = layer_of(kind, circuit_of(random_noise=0.1, static=static).macro)
    found = verify(layer, *inputs, chip=17)
    assert found.ok, str(found)
    assert not torch.equal(answer(layer, inputs, 17), answer(layer_of(kind, MacroConfig(4, 4, 63, 6))[0], inputs, 17))
    if static:
        saved(layer, inputs, tmp_path / "chip.safetensors")
        assert torch.equal(answer(layer, inputs, tmp_path / "chip.safetensors"), answer(layer, inputs, 17))
        assert SavedChip.read(str(tmp_path / "chip.safetensors")).digest


class Wrong(Charge):
    """Patterns that are refused."""

    def __init__(self, macro: MacroConfig, kind: str) -> None:
        super().__init__(macro)
        self.kind = kind

    def converters(self, places: ConverterPlaces) -> Any:
        """See `Column.converters`."""
        return {
            "infinite": (1.0, places.column / 0),
            "random": (torch.rand(len(places.column)), 0.0),
        }[self.kind]


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("infinite", "must give finite numbers, got NaN or infinity"),
        ("random", "must give the same each time, got others"),
    ],
)
def test_wrong_patterns_are_refused(kind: str, message: str) -> None:
    macro = MacroConfig(4, 4, 63, 6, column=f"{__name__}.Wrong", column_args={"kind": kind})
    with pytest.raises(ValueError, match=message):
        converters_of(Chip(), MatmulProduct(), transfer(macro, False), torch.Size((5, 60)))


def test_an_ideal_converter_has_no_offset() -> None:
    with pytest.raises(ValueError, match=r"`macro.adc_bits` must be 1..16 with column .*Slope"):
        circuit_of(adc_bits=None)
