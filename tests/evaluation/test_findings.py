"""What is found without a simulation: each kind where it is so, with numbers computed by hand, and only there."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from asim_lightning import MacroConfig, Plan, Rule, convert_
from asim_lightning.classifier.network import GivenNetwork
from asim_lightning.engine import SavedChip
from asim_lightning.evaluation.findings import Finding, findings
from asim_lightning.evaluation.layer_inputs import chip_layers
from asim_lightning.nn import CimMatmul
from asim_lightning.surgery import macro_layers

FULL = torch.tensor([[1.0] * 8, [1.0] * 7 + [0.0]])
"""Inputs that give counts of 8 and 7 in every bit of equal weights."""


def network(*layers: nn.Module, rules: tuple[Rule, ...] = (), signed: bool = False, **fields: Any) -> GivenNetwork:
    """Layers on a macro, with weights of 1, whose integers have all bits but the sign."""
    made = nn.Sequential(*layers)
    for weight in made.parameters():
        nn.init.ones_(weight)
    macro = MacroConfig(**{"weight_bits": 4, "input_bits": 1, **fields})
    convert_(made, Plan(macro, list(rules), stem="macro", input_range="batch", signed_input=signed))
    return GivenNetwork(made).eval()


def linear(terms: int = 8, outputs: int = 1) -> nn.Linear:
    return nn.Linear(terms, outputs, bias=False)


def found(model: GivenNetwork, *batches: Tensor, images: int = 64) -> dict[str, Finding]:
    listed = findings(model, batches or (FULL,), images)
    assert len({each.kind for each in listed}) == len(listed)
    return {each.kind: each for each in listed}


def test_nothing_is_found_where_all_is_well() -> None:
    rule = (Rule("1", {"rows": 1}),)
    for fields in ({"rows": 15, "adc_bits": 4}, {"rows": 8, "adc_bits": None}, {"rows": 8, "adc_step": 1}):
        assert found(network(linear(), linear(1, 2), rules=rule, **fields)) == {}


def test_clipped_counts_with_a_range_that_holds_them() -> None:
    half = torch.tensor([[1.0] * 8, [1.0] * 2 + [0.0] * 6])  # counts 8 and 2 in three of four cycles, codes end at 3
    each = found(network(linear(), rows=8, adc_bits=2, adc_step=1), half)["clipped"]
    assert each.layers == ("0",)
    # 8 becomes 3, whose square error is 12.5 on average; 3 counts an LSB give 3 and 9, which are off by 1
    assert each.numbers == {"least": 0.375, "most": 0.375, "csnr_gain": pytest.approx(10 * math.log10(12.5))}
    assert "calibrate-adc" in each.text
    three = torch.tensor([[1.0] * count + [0.0] * (8 - count) for count in (0, 8, 8, 8, 8)])
    few = found(network(linear(), rows=8, adc_bits=1, adc_step=8), three)
    assert "clipped" not in few  # 0 and 8 are its codes
    few = found(network(linear(), rows=8, adc_bits=1, adc_step=2), torch.eye(8).cumsum(1))["clipped"]
    assert few.numbers["most"] == pytest.approx(0.75 * 6 / 8)  # level 1.5 is a tie that goes to code 2, beyond the last


def test_clipping_that_no_known_range_mends() -> None:
    gain = {"column_args": {"gain": 1.5}, "digital_levels": 1, "digital_adc": True}
    each = found(network(linear(), rows=8, adc_bits=4, **gain))["clipped"]
    assert "adc_bits" not in each.text
    one = torch.tensor([[1.0] * count + [0.0] * (8 - count) for count in (0, 0, 0, 1, 2)])
    each = found(network(linear(), rows=8, adc_bits=1, adc_step=1), one)["clipped"]
    assert each.numbers["most"] == pytest.approx(0.15)
    assert "more `adc_bits`" in each.text


def test_a_range_that_is_mostly_unused_matters_where_an_lsb_is_more_than_a_count() -> None:
    coarse = found(network(linear(), rows=64, adc_bits=4))["unused_range"]  # counts 7..8 of 64
    assert coarse.numbers == {"least": 1 / 64, "most": 1 / 64}
    assert "every count comes back" in coarse.text
    noisy = found(network(linear(), rows=64, adc_bits=4, random_noise=0.5))["unused_range"]
    assert noisy.numbers["csnr_gain"] > 1
    assert "unused_range" not in found(network(linear(), rows=63, adc_bits=6))
    assert "unused_range" not in found(network(linear(), rows=64, adc_bits=4, digital_levels=1, digital_adc=True))
    assert "unused_range" not in found(network(linear(), rows=8, adc_bits=2))  # 0..8 are all of it


def test_codes_that_counts_share_with_the_nearest_rows_and_bits() -> None:
    each = found(network(linear(), rows=64, adc_bits=4))["lost_codes"]
    assert each.layers == ()
    # 7 * 15 / 64 = 1.64 and 8 * 15 / 64 = 1.88 are code 2 in three of four cycles
    assert each.numbers == {"least": 0.75, "most": 0.75, "lsb": 64 / 15, "rows": 15, "bits": 7}
    apart = found(network(linear(), rows=256, adc_bits=8))["lost_codes"]
    assert (apart.numbers["rows"], apart.numbers["bits"], apart.numbers["most"]) == (255, 9, 0)
    assert "lost_codes" not in found(network(linear(), rows=255, adc_bits=8))
    step = found(network(linear(), rows=15, adc_bits=4, adc_step=2))["lost_codes"]
    assert (step.numbers["lsb"], step.numbers["bits"], step.numbers["rows"]) == (2, 4, 0)
    offset = {"static": {"offset": "0.3 lsb"}}
    assert "lost_codes" not in found(network(linear(), rows=15, adc_bits=4, **offset))  # spreads lose no codes


def test_a_layer_with_a_rule_of_its_own_is_named_alone() -> None:
    rule = (Rule("1", {"rows": 4, "adc_bits": 2}),)
    each = found(network(linear(), linear(1, 2), rules=rule, rows=15, adc_bits=4))
    assert each["lost_codes"].layers == ("1",)
    assert each["lost_codes"].numbers["rows"] == 3


def test_idle_rows_and_the_fewest_that_take_as_many_tiles() -> None:
    each = found(network(linear(8), linear(1, 2), rows=64, adc_bits=None))["idle_rows"]
    assert each.layers == ("0", "1")
    assert each.numbers == {"network": 9 / 128, "rows": 8, "least": 1 / 64, "most": 8 / 64}
    exact = found(network(linear(8), rows=255, adc_bits=8))["idle_rows"]
    assert exact.numbers["rows"] == 15  # the next divisor of 255
    grouped = network(nn.Conv2d(8, 8, 3, groups=4, bias=False), rows=64, adc_bits=None)
    numbers = found(grouped, torch.rand(2, 8, 4, 4))["idle_rows"].numbers
    assert numbers == {"network": 18 / 64, "rows": 18, "least": 18 / 64, "most": 18 / 64}
    assert "idle_rows" not in found(network(linear(64), linear(1, 2), rows=64, adc_bits=None), torch.ones(1, 64))


def test_planes_that_no_count_uses() -> None:
    model = network(linear(), rows=8, adc_bits=None, input_bits=4)
    layer = model.backbone[0]
    layer.calibrate(torch.tensor([[1.0] * 8]))
    layer.input_range = "calibrated"
    each = found(model, FULL * 7 / 15)["unused_planes"]
    assert each.numbers == {"weight_bits": 0, "input_bits": 1, "idle_cycles": 4, "cycles": 16}
    assert "2 times" in each.text
    assert "`input_bits` 3" in each.text
    layer.weight.data.fill_(-1.0)  # -7 is 1001
    layer.refresh()
    each = found(model, FULL * 9 / 15)["unused_planes"]  # 9 is 1001
    assert each.numbers == {"weight_bits": 2, "input_bits": 2, "idle_cycles": 12, "cycles": 16}
    assert "times" not in each.text
    signed = network(linear(), rows=8, adc_bits=None, input_bits=2, signed=True)
    assert "unused_planes" not in found(signed)  # signs are none


def test_converters_that_are_worse_than_the_rest() -> None:
    model = network(linear(8, 64), linear(64, 64), rows=64, adc_bits=8, static={"offset": "0.1 lsb", "gain": 0.01})
    assert "bad_converters" not in found(model)  # 512 normal errors
    saved = {each.name: dict(each.tensors) for each in chip_layers(model, FULL, 0)}
    saved["1"]["offset"][5] = -3.0
    saved["1"]["gain"][5] = 0.99  # -1 % of 255 LSB
    model.chip = SavedChip("digest", "chip.safetensors", saved)
    each = found(model)["bad_converters"]
    assert each.layers == ("1",)
    assert (each.numbers["bad"], each.numbers["converters"]) == (1, 512)
    assert each.numbers["worst"] == pytest.approx(5.55)
    assert each.numbers["limit"] == 0.5
    assert 0.03 < each.numbers["median"] < 0.15


class Square(nn.Module):
    """A product of an input with itself, of two heads."""

    def __init__(self, **fields: Any) -> None:
        super().__init__()
        self.qk = CimMatmul(MacroConfig(4, 4, **fields), name="qk")
        self.unused = CimMatmul(MacroConfig(4, 4, **fields), name="unused")

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.qk(x, x)
        return y


def test_products_of_two_activations_and_layers_that_no_image_reaches() -> None:
    model = GivenNetwork(Square(rows=64, adc_bits=4, static={"offset": "0.1 lsb"})).eval()
    each = found(model, torch.randn(2, 2, 5, 8))
    assert each["idle_rows"].layers == ("qk",)
    assert each["idle_rows"].numbers["network"] == 8 / 64
    assert each["lost_codes"].layers == ()
    assert "bad_converters" not in each


def test_one_conversion_of_all_bits() -> None:
    torch.manual_seed(0)
    model = network(linear(64), rows=64, adc_bits=8, input_bits=4, weight_parallel=True)
    nn.init.normal_(model.backbone[0].weight)
    each = found(model, torch.rand(8, 64))
    assert set(each) == {"coarse", "unused_range", "lost_codes"}
    assert each["unused_range"].numbers["csnr_gain"] > 6
    assert each["lost_codes"].numbers["bits"] == 14  # 64 * 15 * 7 = 6720 counts either way


def test_only_the_first_images_count_and_the_network_is_as_before() -> None:
    model = network(linear(), rows=8, adc_bits=2, adc_step=1)
    model.fidelity = "simulated"
    few = torch.zeros(4, 8)
    assert "clipped" not in found(model, few[:3], torch.cat([few[:1], FULL]), images=4)
    assert "clipped" in found(model, few[:3], torch.cat([few[:1], FULL]), images=6)
    assert {layer.fidelity for layer in macro_layers(model.backbone).values()} == {"simulated"}


def test_fewer_images_of_a_large_network_count(monkeypatch: pytest.MonkeyPatch) -> None:
    model = network(linear(), rows=8, adc_bits=2, adc_step=1)
    few = torch.zeros(4, 8)
    for images, is_found in ((4, False), (5, True)):  # the fifth image is clipped; an image has 4 cycles
        monkeypatch.setattr("asim_lightning.evaluation.findings._ENOUGH", 4 * images + 3)
        assert ("clipped" in found(model, few, FULL)) is is_found


def test_a_coarse_macro_has_its_filling_its_lsb_and_its_noise_in_counts() -> None:
    each = found(network(linear(), rows=32, adc_bits=3, random_noise="0.5 lsb"))["coarse"]
    lsb = 32 / 7
    wanted = {"filled": 8 / 32, "lsb": lsb, "noise": 0.5 * lsb, "rows": 32, "largest_kernel": 8}
    assert each.numbers == pytest.approx(wanted)
    assert each.text == "Weights fill 25 % of 32 rows; an LSB is 4.6 counts, and noise is 2.3 counts"
    assert "coarse" not in found(network(linear(), rows=7, adc_bits=3, random_noise="0.4 lsb"))
    assert "coarse" in found(network(linear(), rows=7, adc_bits=3, random_noise="0.6 lsb"))
