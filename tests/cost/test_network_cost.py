"""The cost of networks: totals by hand, and what changes them."""

import copy
from typing import Any

import pytest
import timm
import torch
from torch import Tensor, nn

from asim_lightning import MacroConfig, Plan, calibrate_, change_macros_, convert_, set_fidelity_
from asim_lightning.circuit import StaticEffects, transfer
from asim_lightning.circuit.presets import preset, preset_names
from asim_lightning.cost import CostReport, Technology, cost, network_shape
from asim_lightning.cost.network_cost import accuracy_note
from asim_lightning.cost.product_shape import weight_loads
from asim_lightning.nn.count_histograms import count_histograms
from asim_lightning.surgery import macro_layers


class Small(nn.Module):
    """A stem, a convolution, a linear layer, and a three-dimensional convolution that stays float."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, padding=1)
        self.conv = nn.Conv2d(8, 16, 3, stride=2, padding=1)
        self.line = nn.Conv3d(16, 16, 1)
        self.head = nn.Linear(16, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(self.stem(x).relu()).relu()
        return self.head(self.line(x[..., None]).relu().mean((2, 3, 4)))


IMAGE = torch.zeros(1, 3, 8, 8)


def small(**macro: Any) -> nn.Module:
    model = Small().eval()
    convert_(model, Plan(macro=MacroConfig(**macro)), torch.randn(2, 3, 8, 8))
    return model


def costs(technology: Technology = Technology(), **macro: Any) -> CostReport:
    return cost(small(**macro), technology, IMAGE)


def test_resnet18_by_hand() -> None:
    """ResNet-18 at 224 pixels, 8 bits, 255 rows (28 channels of 3 x 3 a tile), 64 cycles, conversions / 64:

    layer1: 4 convolutions of 64 x 56 x 56 outputs, 64 channels on 3 tiles:         4 x 200,704 x 3 = 2,408,448
    layer2: 128 x 28 x 28 outputs: 3 tiles, 3 convolutions of 5, 1 x 1 on 1:   100,352 x (3 + 15 + 1) = 1,906,688
    layer3: 256 x 14 x 14 outputs: 5 tiles, 3 convolutions of 10, 1:            50,176 x (5 + 30 + 1) = 1,806,336
    layer4: 512 x 7 x 7 outputs: 10 tiles, 3 of 19, and 256 channels on 2:     25,088 x (10 + 57 + 2) = 1,731,072
    head: 512 on 3 tiles:                                                                1,000 x 3 = 3,000
    together 7,855,544 x 64 = 502,754,816 conversions of 1.00645 pJ, an eighth as many shift-adds of 0.381 pJ, and the
    stem's 64 x 112 x 112 x 147 = 118,013,952 multiplications of 64 x 1.5 fJ.
    """
    model = timm.create_model("resnet18")
    model.eval()
    report = convert_(model, Plan())
    found = cost(model, report=report)
    assert found.done.conversions == 502_754_816
    assert found.done.shift_adds == 502_754_816 // 8
    assert found.done.digital_cycles == 0
    stem = next(layer for layer in found.layers if layer.macro is None)
    assert (stem.name, stem.done.macs, stem.why_digital) == ("conv1", 118_013_952, "first convolution: digital")
    assert found.energy.array + found.energy.adc == pytest.approx(502_754_816 * 1006.45, rel=1e-5)
    assert found.energy.shift_add == pytest.approx(62_844_352 * 381.024, rel=1e-5)
    assert found.energy.digital == pytest.approx(118_013_952 * 96)
    assert found.done.macs == sum(row.macs or 0 for row in report) == 1_814_073_344
    assert found.all_digital == pytest.approx(1_814_073_344 * 96)
    # one layer after another, positions one after another, 8 digits each: 4 x 3136 + 5 x 784 + 5 x 196 + 5 x 49 + 1
    assert found.done.cycles == 8 * (4 * 3136 + 5 * 784 + 5 * 196 + 5 * 49 + 1)
    assert found.latency == pytest.approx(found.done.cycles * 50e-9)
    assert found.interval == pytest.approx(8 * 3136 * 50e-9)
    assert [layer.name for layer in found.layers] == [row.name for row in report if row.macs]


def test_the_size_is_that_of_the_conversion_else_it_is_asked_for() -> None:
    model = small()
    assert cost(copy.deepcopy(model)).done == cost(model, example=IMAGE).done
    assert cost(model, example=torch.zeros(1, 3, 16, 16)).done.macs > 3 * cost(model).done.macs
    with pytest.raises(ValueError, match="`example` must be an input of the network"):
        cost(nn.Sequential(model))


def test_multiplications_are_those_of_the_conversion_and_vit_has_heads() -> None:
    """QK and AV: 3 heads of 5 tokens; keys and scores applied, queries and values written for each image."""
    model = timm.create_model("vit_tiny_patch16_224", depth=1, img_size=32, num_classes=10).eval()
    report = convert_(model, Plan())
    plain, priced = cost(model, report=report), cost(model, Technology(cell_write=2.0))
    assert plain.energy.writes == 0.0
    assert priced.energy.writes == pytest.approx(plain.done.cells_written * 2 * 0.81)
    assert any("counted and not priced" in note for note in plain.notes)
    found = {layer.name: layer for layer in plain.layers}
    assert {name: layer.done.macs for name, layer in found.items()} == {row.name: row.macs for row in report}
    qk, av = found["blocks.0.attn.qk"], found["blocks.0.attn.av"]
    assert qk.done.conversions == 3 * 5 * 5 * 64
    assert qk.done.cells_written == 3 * 5 * 64 * 8
    assert av.done.conversions == 3 * 5 * 64 * 8 * av.macro.input_bits  # type: ignore[union-attr]
    assert av.done.rows_in_use == 5 / 255
    assert found["patch_embed.proj"].bits == (8, 8)


def test_layers_on_no_macro_have_a_row_a_reason_and_a_price() -> None:
    """Without a report, too; float layers as integers of `float_bits`."""
    model = Small().eval()
    report = convert_(model, Plan(keep=["head"]), torch.randn(2, 3, 8, 8))
    found = {each.name: each for each in cost(model, Technology(float_bits=16), IMAGE, report=report).layers}
    assert found["head"].why_digital == "plan.keep"
    assert found["head"].energy.total == pytest.approx(16 * 5 * 256 * 1.5)
    assert "surgery converts" in found["line"].why_digital
    assert found["line"].done.macs == 16 * 16 * 16
    assert found["stem"].bits == (8, 8)
    plain = cost(model, example=IMAGE)
    assert [(each.kind, each.why_digital) for each in plain.layers if each.name == "head"] == [("head", "plan.keep")]
    assert any(note.startswith("3 layers are not on a macro") for note in plain.notes)


def test_hybrid_cycles_move_to_digital() -> None:
    """6 of 64 conversions of each output and tile, each 255 rows."""
    plain, hybrid = costs(), costs(digital_levels=3)
    assert hybrid.done.digital_cycles * 64 == plain.done.conversions * 6
    assert hybrid.done.conversions + hybrid.done.digital_cycles == plain.done.conversions
    grown = hybrid.energy.digital - plain.energy.digital
    assert grown == pytest.approx(hybrid.done.digital_cycles * 382.5)
    assert hybrid.done.cycles == plain.done.cycles


def test_votes_cost_energy_and_time() -> None:
    """3 votes on 3 levels: 76 conversions for 64; the three most significant digits take three times as long."""
    plain, voted = costs(), costs(vote_levels=3, votes=3)
    assert voted.done.conversions * 64 == plain.done.conversions * 76
    assert voted.energy.adc == pytest.approx(plain.energy.adc * 76 / 64)
    assert voted.done.cycles * 8 == plain.done.cycles * (5 + 3 * 3)


def test_the_bits_of_each_layer_s_adc_take_time_if_a_bit_has_a_time() -> None:
    timed = Technology(cycle_ns=10, bit_ns=4)
    few, many = costs(timed, adc_bits=6), costs(timed, adc_bits=10)
    assert (few.latency, many.latency) == pytest.approx((few.done.cycles * 34e-9, few.done.cycles * 50e-9))
    assert many.interval / few.interval == pytest.approx(50 / 34)
    assert "; does not follow the supply; 4 ns a bit of the ADC" in str(many)
    assert "; does not follow the supply, nor the bits of the ADC" in str(costs())
    mixed = CostReport((*few.layers, *many.layers), timed)
    assert mixed.latency == pytest.approx(few.latency + many.latency)


def test_bits_encoding_rows_and_sharing() -> None:
    """Fewer ADC bits and longer digits cost less, idle rows cost as used ones, shared converters take turns."""
    plain = costs()
    assert costs(adc_bits=6).energy.adc < plain.energy.adc
    assert costs(encoding_bits=2).done.conversions * 2 == plain.done.conversions
    assert costs(encoding_bits=2).energy.drivers > 0 == plain.energy.drivers
    idle = costs(rows=510)
    assert idle.energy.array == pytest.approx(2 * plain.energy.array)
    assert idle.done.rows_in_use < plain.done.rows_in_use
    # one tile in both, so that the peak figure alone counts the rows that the layers leave idle
    assert idle.tops_per_watt < plain.tops_per_watt  # type: ignore[operator]
    assert idle.peak_tops_per_watt > plain.peak_tops_per_watt  # type: ignore[operator]
    shared = costs(static={"columns_per_adc": 4})
    assert shared.done.cycles == 4 * plain.done.cycles
    assert shared.energy == plain.energy
    assert shared.done.converters < plain.done.converters
    trimmed = costs(static={"offset": "0.3 lsb", "trim": "both"})
    assert trimmed.energy == plain.energy  # a calibration before use costs nothing an image


def test_layers_may_be_computed_digitally() -> None:
    """The same multiplications by integers; other names are refused."""
    model = small()
    plain, mixed = cost(model, example=IMAGE), cost(model, example=IMAGE, digital=["conv"])
    found = next(each for each in mixed.layers if each.name == "conv")
    assert found.energy.total == pytest.approx(found.done.macs * 96)
    assert mixed.done.macs == plain.done.macs
    assert mixed.all_digital == pytest.approx(plain.all_digital)
    with pytest.raises(ValueError, match="`digital` of cost must name layers on a macro, got 'stem'"):
        cost(model, example=IMAGE, digital=["stem"])


def test_ranges_hold_the_factors_and_a_technology_with_areas_gives_one() -> None:
    found = costs(Technology(preset="65nm"), digital_levels=2)
    digital, analog = found.energy.digital, found.energy.total - found.energy.digital
    assert found.energy_range == pytest.approx((analog / 1.5 + digital / 2, analog * 1.5 + digital * 2))
    wide = analog / 1.9 + digital / 2, analog * 1.9 + digital * 2
    assert found.energy_within(1.9) == pytest.approx(wide)
    own = costs(Technology(preset="65nm", adc_pj=0.6), digital_levels=2)
    rest = own.energy.total - own.energy.digital - own.energy.adc
    digital_and_own = own.energy.adc + own.energy.digital * 2
    assert own.energy_range[1] == pytest.approx(rest * 1.5 + digital_and_own)  # nobody doubts an energy of one's own
    assert found.all_digital_range == pytest.approx((found.all_digital / 2, found.all_digital * 2))

    assert costs().area is None
    assert found.area == pytest.approx(1e-6 * (found.done.all_cells * 4.93 + found.done.converters * 1941))
    # 72 rows x 16 outputs and 16 x 5, 8 bits each, on 255 rows
    assert (found.done.cells, found.done.all_cells) == (8 * (72 * 16 + 80), 8 * 255 * 21)
    assert found.done.converters == 8 * 21


def test_true_counts_draw_less_charge() -> None:
    """The mean of k (N - k) / N over every conversion, as the counts of the images say."""
    model = small(rows=100)
    images = torch.rand(3, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    calibrate_(model, [images])
    set_fidelity_(model, "quantized")
    counts = count_histograms(model, macro_layers(model), [images])
    technology = Technology(charging="redistribution")
    found = cost(model, technology, IMAGE, counts=counts)
    expected = 0.0
    for seen in counts.values():
        for histogram in seen.histograms:
            k, numbers = histogram.counts, histogram.numbers
            expected += float((numbers * k * (100 - k) / 100).sum()) / 3 * 0.81 * 0.0528 * 28
    assert found.energy.array == pytest.approx(expected)
    assert found.energy.array < cost(model, example=IMAGE).energy.array
    assert any(note.endswith("of true counts it is a lower bound") for note in found.notes)
    assert found.energy.adc == pytest.approx(cost(model, example=IMAGE).energy.adc)
    with pytest.raises(ValueError, match=r"`technology.charging` redistribution needs the counts of `conv`"):
        cost(model, technology, IMAGE)
    change_macros_(model, encoding_bits=2)
    with pytest.raises(ValueError, match="must be fixed for `conv`, because its cycles take several bits"):
        cost(model, technology, IMAGE, counts=counts)


def test_a_network_is_left_as_it_was() -> None:
    model = small()
    model.train()
    set_fidelity_(model, "estimated")
    before = {name: (module.training, len(module._forward_pre_hooks)) for name, module in model.named_modules()}
    network_shape(model, IMAGE)
    after = {name: (module.training, len(module._forward_pre_hooks)) for name, module in model.named_modules()}
    assert after == before
    assert {layer.fidelity for layer in macro_layers(model).values()} == {"estimated"}


def test_notes_say_what_is_assumed() -> None:
    text = "\n".join(costs(Technology(node=7), adc_bits=None, column="current").notes)
    assert "7 nm is outside the nodes" in text
    assert "an ideal ADC is priced" in text
    assert "for other columns no model is better than 3.7 times" in text
    assert "left out: softmax" in text


def test_json_has_every_number_with_its_source_and_layers_have_their_own() -> None:
    found = costs(Technology(preset="65nm", supply=0.8)).as_json()
    assert found["technology"]["supply"] == {"value": 0.8, "source": "given"}
    assert found["total"]["area_mm2"] == pytest.approx(sum(row["area_mm2"] for row in found["layers"]))
    rows = {row["layer"]: row for row in found["layers"]}
    assert rows["conv"]["tops"] == pytest.approx(2e-12 * 16 * 16 * 72 / (16 * 8 * 25e-9))
    assert rows["stem"]["tops"] is None
    assert found["total"]["energy_pj"] == pytest.approx(sum(row["energy_pj"] for row in found["layers"]))
    assert found["total"]["conversions"] == sum(row["conversions"] for row in found["layers"])


@pytest.mark.parametrize("name", preset_names())
def test_every_published_macro_has_a_cost(name: str) -> None:
    """Ideal columns, digits of several bits, one conversion for all bits: each is priced, within the nodes fitted."""
    chip = preset(name)
    found = costs(Technology(node=chip.node), **chip.macro)
    assert found.energy.array > 0 < found.energy.adc
    assert (found.energy.drivers > 0) == (chip.config().encoding_bits > 1 or chip.config().weight_parallel)


def test_a_layer_that_is_called_twice_takes_twice_the_time_on_the_same_arrays() -> None:
    class Twice(Small):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(8, 8, 3, padding=1)
            self.line, self.head = nn.Conv3d(8, 16, 1), nn.Linear(16, 5)

        def forward(self, x: Tensor) -> Tensor:
            x = self.conv(self.conv(self.stem(x).relu()).relu()).relu()
            return self.head(self.line(x[..., None]).relu().mean((2, 3, 4)))

    model = Twice().eval()
    convert_(model, Plan(), torch.randn(2, 3, 8, 8))
    found = next(each for each in cost(model, example=IMAGE).layers if each.name == "conv")
    assert found.done.conversions == 2 * 8 * 64 * 64
    assert found.done.cycles == 2 * 64 * 8
    assert (found.done.cells, found.done.converters) == (8 * 8 * 9 * 8, 64)


@pytest.mark.parametrize(
    ("macros", "columns", "loads", "cells"),
    [
        # the convolution: 2 tiles of 36 rows and 128 columns in macros 0 and 1; the head: 16 rows and 40 columns, next
        (2, 64, 2 + 2 + 1, 72 * 128 + 16 * 40),  # a half of a tile's columns at a time
        (2, 128, 1 + 1, 36 * 128 + 16 * 40),  # macro 1 keeps its tile
        (3, 128, 0, 0),
        (1, 1000, 3, 72 * 128 + 16 * 40),
    ],
)
def test_loads_of_weights_into_shared_macros(macros: int, columns: int, loads: int, cells: int) -> None:
    static = StaticEffects(placement="reuse", macros=macros, columns=columns)
    found = costs(Technology(cell_write=2.0), rows=36, static=static)
    assert (found.reloads.loads, found.reloads.cells) == (loads, cells)
    total = found.as_json()["total"]
    assert (total["weight_loads"], total["weight_cells_loaded"]) == (loads, cells)
    (note,) = (note for note in found.notes if "placement reuse" in note)
    assert f": {loads:,} loads, {cells:,} bits in all, an image, or" in note
    assert f"their energy ({1e-6 * cells * 2 * 0.81:.3g} nJ by your `cell_write`) is not in the totals" in note
    apart = costs(rows=36)
    assert apart.energy == found.energy
    assert apart.reloads.loads == 0


def test_operands_that_are_written_take_the_place_of_weights() -> None:
    """QK and AV of 3 heads go on in the macros behind the weights before them: of 100 macros they push weights out."""
    model = timm.create_model("vit_tiny_patch16_224", depth=1, img_size=32, num_classes=10).eval()
    static = StaticEffects(placement="reuse", macros=100, columns=100_000)
    convert_(model, Plan(macro=MacroConfig(static=static)))
    layers = macro_layers(model)
    shapes = network_shape(model).products
    tiles = sum(layer.tiles for layer in layers.values())
    assert 0 < tiles < 50
    found = weight_loads(layers, shapes)
    weights = {name: layer for name, layer in layers.items() if layer.tiles}
    alone = weight_loads(weights, {name: shapes[name] for name in weights})
    assert (alone.loads, alone.cells) == (0, 0)
    assert 0 < found.loads <= 6


def test_a_published_number_is_shown_for_the_published_macro_only() -> None:
    name, chip = "cr_cim_2024", dict(preset("cr_cim_2024").macro)
    of_chip = costs(Technology(name), **chip)
    assert of_chip.published_bit_tops_per_watt == 818
    assert costs(Technology(name), **{**chip, "weight_bits": 4}).published_bit_tops_per_watt == 818
    for technology, changes in (
        (Technology("jia_2021"), {}),
        (Technology(name, supply=0.6), {}),
        (Technology(name), {"adc_bits": 4}),
        (Technology(name), {"votes": 3, "vote_levels": 2}),
    ):
        other = costs(technology, **{**chip, **changes})
        assert other.published_bit_tops_per_watt is None
        assert other.peak_bit_tops_per_watt


@pytest.mark.parametrize(
    ("macro", "expected"),
    [
        ({}, ""),  # the macro returns its counts
        ({"adc_bits": 6, "digital_levels": 3}, "58 of 64 cycles lose codes at W8A8 255 rows ADC 6"),
        ({"random_noise": "0.5 lsb"}, "up to about 32 % of the codes of a cycle are wrong by noise and spreads"),
        ({"static": {"offset": "0.3 lsb"}}, "up to about 9.6 % of the codes of a cycle are wrong by noise and spreads"),
        ({"static": {"offset": "0.09 lsb"}}, ""),  # 0.1 % of the codes
        ({"column": "tests.engine.chips.test_column_patterns.Slope"}, "the column's own converters are not estimated"),
    ],
    ids=str,
)
def test_a_note_says_that_codes_are_lost_or_wrong(macro: dict[str, Any], expected: str) -> None:
    found = accuracy_note([transfer(MacroConfig(**macro), False)])
    assert expected in found
    assert bool(found) == bool(expected)
