"""Actions of layers: counts by hand and by slow loops, and energies that sum to the report's."""

import math
from dataclasses import replace
from typing import Any

import pytest
import timm
import torch
import yaml
from torch import nn

from asim_lightning import Plan, convert_
from asim_lightning.cost import CostReport, Technology, cost
from asim_lightning.cost.accelforge import accelforge_text
from asim_lightning.cost.action_counts import ACTIONS, action_counts, action_rows
from tests.cost.oracle import Layer, count
from tests.cost.test_network_cost import IMAGE, costs, small

MACROS: list[dict[str, Any]] = [
    {},
    {"encoding_bits": 2},
    {"vote_levels": 3, "votes": 3},
    {"digital_levels": 3},
    {"weight_coding": "flip"},
    {"weight_coding": "flip", "digital_levels": 2, "vote_levels": 3, "votes": 3, "rows": 64},
]


def rows_of_csv(report: CostReport) -> list[dict[str, Any]]:
    """Rows of actions.csv by column."""
    head, *rows = action_rows(report)
    return [dict(zip(map(str, head), row, strict=True)) for row in rows]


def total(rows: list[dict[str, Any]]) -> float:
    """Sum of all counts, times the energies of their actions."""
    return sum((row[name] or 0) * (row[f"{name}_fj_each"] or 0.0) for row in rows for name in ACTIONS)


def vit() -> nn.Module:
    model = timm.create_model("vit_tiny_patch16_224", depth=1, img_size=32, num_classes=10).eval()
    convert_(model, Plan())
    return model


@pytest.mark.parametrize("macro", MACROS, ids=str)
@pytest.mark.parametrize("technology", [Technology(), Technology("65nm", adc="jia_2020", cell_write=2.0)], ids=str)
def test_no_energy_is_without_an_action(macro: dict[str, Any], technology: Technology) -> None:
    report = costs(technology, **macro)
    rows = rows_of_csv(report)
    assert total(rows) == pytest.approx(report.energy.total, rel=1e-9)
    assert sum(row["energy_fj"] or 0.0 for row in rows) == pytest.approx(report.energy.total, rel=1e-9)


@pytest.mark.parametrize("macro", MACROS, ids=str)
def test_counts_are_those_of_slow_loops(macro: dict[str, Any]) -> None:
    """The 3 x 3 convolution of 8 channels to 16 of 4 x 4; after a ReLU, so that inputs have no sign."""
    own = {"weight_bits": 8, "input_bits": 8, "rows": 255, **macro}
    expected = count(Layer(matrices=1, steps=16, columns=16, channels=8, elements=9), own, signed=False)
    found = next(each.counts for each in action_counts(costs(**macro)) if each.layer.name == "conv")
    assert found["adc_conversions"] == found["column_activations"] == expected["conversions"]
    for name in ("array_reads", "shift_adds", "complement_sums", "digital_cycles"):
        assert found[name] == expected[name]
    assert not found["digital_macs"] + found["transform_additions"] + found["cell_writes"]


def test_a_network_by_hand() -> None:
    """Stem 3 to 8 channels and conv 8 to 16 with stride 2, both 3 x 3, on 8 x 8 pixels; head 16 to 5."""
    rows = {row["layer"]: row for row in rows_of_csv(costs())}
    conv, stem, head = rows["conv"], rows["stem"], rows["head"]
    assert conv["adc_conversions"] == 16 * 16 * 64
    assert conv["array_reads"] == 16 * 8
    assert conv["shift_adds"] == 16 * 16 * 8
    assert conv["adc_conversions_fj_each"] + conv["column_activations_fj_each"] == pytest.approx(1006.45, rel=1e-5)
    assert conv["shift_adds_fj_each"] == pytest.approx(381.024, rel=1e-5)
    assert conv["cells_written_once"] == 16 * 72 * 8
    assert conv["weight_bytes_once"] == 16 * 72
    assert conv["input_bytes"] == 8 * 64
    assert conv["row_input_bytes"] == 16 * 72
    assert (conv["output_values"], conv["output_bytes"]) == (256, 256)
    assert stem["digital_macs"] == 64 * 8 * 27
    assert stem["digital_macs_fj_each"] == pytest.approx(96.0)
    assert (stem["input_bytes"], stem["row_input_bytes"], stem["weight_bytes_once"]) == (192, 0, 216)
    assert (head["input_bytes"], head["output_bytes"], head["adc_conversions"]) == (16, 5, 5 * 64)
    assert all(isinstance(row[name], int) for row in (conv, stem, head) for name in ACTIONS)


def test_bytes_are_packed_bits() -> None:
    """16 x 72 weights of 4 bits, and 512 inputs of 6 bits."""
    conv = next(row for row in rows_of_csv(costs(weight_bits=4, input_bits=6)) if row["layer"] == "conv")
    assert (conv["weight_bytes_once"], conv["input_bytes"], conv["output_bytes"]) == (576, 384, 192)


def test_complements_cost_what_flip_adds() -> None:
    """A subtraction of 9 full adders of 4.2 fF at 0.9 V for each code, and adder trees of input bits on 72 rows."""
    plain, flip = (
        next(row for row in rows_of_csv(costs(weight_coding=coding)) if row["layer"] == "conv")
        for coding in ("plain", "flip")
    )
    assert plain["complement_sums_fj_each"] is None
    assert flip["shift_adds_fj_each"] == pytest.approx(plain["shift_adds_fj_each"])
    energy = flip["complement_sums"] * flip["complement_sums_fj_each"]
    trees = 16 * 8 * (71 + 72 * (6.169925 - 0.5))
    assert energy == pytest.approx((256 * 64 * 9 + trees) * 4.2 * 0.81, rel=1e-6)
    assert flip["complement_bits"] == 16 * 8


def test_products_of_activations_are_written_for_each_image() -> None:
    """QK of 3 heads: 5 tokens of 64 values are applied and 5 are written; without a price there is no energy."""
    model = vit()
    rows = rows_of_csv(plain := cost(model))
    qk = next(row for row in rows if row["layer"] == "blocks.0.attn.qk")
    assert (qk["cell_writes"], qk["cell_writes_fj_each"]) == (3 * 5 * 64 * 8, None)
    assert (qk["input_bytes"], qk["written_operand_bytes"], qk["weight_bytes_once"]) == (960, 960, 0)
    assert (qk["cells_written_once"], qk["output_values"]) == (0, 75)
    assert total(rows) == pytest.approx(plain.energy.total)
    priced = cost(model, Technology(cell_write=2.0))
    assert total(rows_of_csv(priced)) == pytest.approx(priced.energy.total)
    assert total(rows_of_csv(priced)) > total(rows)


def test_layers_in_digital_integers_have_macs_only() -> None:
    report = cost(small(), example=IMAGE, digital=["conv"])
    conv = next(row for row in rows_of_csv(report) if row["layer"] == "conv")
    assert (conv["adc_conversions"], conv["digital_macs"], conv["row_input_bytes"]) == (0, 256 * 72, 0)
    assert conv["weight_bytes_once"] == 16 * 72
    assert total(rows_of_csv(report)) == pytest.approx(report.energy.total)


def test_energy_without_an_action_and_omissions_have_rows() -> None:
    report = costs()
    layers = [replace(each, energy=replace(each.energy, writes=7.0)) for each in report.layers if each.name == "conv"]
    rows = rows_of_csv(replace(report, layers=tuple(layers)))
    other = next(row for row in rows if row["layer"] == "(other) conv")
    assert other["energy_fj"] == pytest.approx(7.0)
    assert "writes" in other["note"]
    assert sum(row["energy_fj"] or 0.0 for row in rows) == pytest.approx(layers[0].energy.total)
    assert [row["note"] for row in rows if row["layer"] == "(note)"] == list(report.notes)


class _Loader(yaml.SafeLoader):
    """YAML with AccelForge's tags, whose nodes are mappings."""


_Loader.add_multi_constructor("!", lambda loader, tag, node: {"tag": tag, **loader.construct_mapping(node, deep=True)})


@pytest.mark.parametrize("name", ["small", "vit"])
def test_a_file_for_accelforge_has_components_counts_and_shapes(name: str) -> None:
    """Each layer's counts and energies, and ranks with the right multiplications."""
    report = costs(Technology("65nm"), weight_coding="flip") if name == "small" else cost(vit(), Technology("65nm"))
    found = yaml.load(accelforge_text(report), _Loader)
    layers, einsums = found["variables"]["asim_layers"], found["workload"]["einsums"]
    energy = sum(each[action][0] * each[action][1] for each in layers.values() for action in ACTIONS)
    assert energy == pytest.approx(1e-15 * report.energy.total)
    assert found["variables"]["asim_not_in_workload"] == {}
    assert len(einsums) == len(layers) == len(report.layers)
    macs = {each["layer"]: each["macs"] for each in layers.values()}
    assert macs == {each.name: each.done.macs for each in report.layers}
    for einsum in einsums:
        product = 1
        for limit in einsum["iteration_space_shape"]:
            product *= int(limit.split()[-1])
        assert product == layers[einsum["renames"]["output"]]["macs"]
    adc = next(node for node in found["arch"]["nodes"] if node["name"] == "ADC")
    assert adc["tag"] == "Toll"
    assert adc["area"] == pytest.approx(1e-12 * report.converters * 1941.0)
    seconds = sum(each["macs"] / each["macs_per_second"] for each in layers.values() if each["macs_per_second"])
    assert seconds == pytest.approx(report.latency)


def parts() -> nn.Module:
    """Convolutions: digital with groups, transposed, and called with two shapes; attention with given weights."""

    class Parts(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.groups, self.up = nn.Conv2d(8, 8, 3, groups=4), nn.ConvTranspose2d(8, 4, 3, 2)
            self.twice = nn.Conv2d(8, 8, 3)
            self.attention = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            x = self.twice(self.twice(self.groups(x)))
            return self.attention(x.flatten(2).transpose(1, 2)).sum() + self.up(x).sum((1, 2, 3))[:, None]

    model = Parts().eval()
    convert_(model, Plan(keep=["groups"]), torch.rand(1, 8, 9, 9))
    return model


def test_einsums_have_the_values_of_their_layers() -> None:
    report = cost(parts(), example=torch.rand(1, 8, 9, 9))
    found = yaml.load(accelforge_text(report), _Loader)
    names = {
        found["variables"]["asim_layers"][each["name"] + "_out"]["layer"]: each for each in found["workload"]["einsums"]
    }
    layers = {each.name: each for each in report.layers}
    for name, einsum in names.items():
        sizes = {limit.split()[2][0]: int(limit.split()[-1]) for limit in einsum["iteration_space_shape"]}
        values = []
        for tensor in einsum["tensor_accesses"]:
            ranks = [each[0] for each in tensor["projection"].values()]
            values.append(math.prod(sizes[rank] for rank in ranks))
        moved = layers[name].traffic
        assert moved is not None
        assert values[1:] == [moved.weights, moved.outputs]
    assert "g" in {limit.split()[2][0] for limit in names["groups"]["iteration_space_shape"]}
    assert names["twice"]["renames"]["loaded"] == "Nothing"
    left_out = found["variables"]["asim_not_in_workload"]
    assert left_out["up"] == pytest.approx(1e-15 * layers["up"].energy.total)
    rows = {row["layer"]: row for row in rows_of_csv(report)}
    projected = next(row for name, row in rows.items() if "in_proj" in name)
    tokens = 3 * 3
    assert (projected["input_bytes"], projected["weight_bytes_once"]) == (tokens * 8, 3 * 64)


def test_a_convolution_has_strides_in_its_einsum() -> None:
    found = yaml.load(accelforge_text(costs()), _Loader)
    conv = next(each for each in found["workload"]["einsums"] if each["name"].startswith("conv_"))
    image, weight, output = (each["projection"] for each in conv["tensor_accesses"])
    assert image == {"C": "c1", "H": "p1 * 2 + r1 * 1", "W": "q1 * 2 + t1 * 1"}
    assert list(weight) == ["C", "R", "T", "M"]
    assert list(output) == ["P", "Q", "M"]
    assert conv["renames"]["loaded"] == "Nothing"  # stored weights stay in their cells


def test_a_product_of_unknown_shape_is_listed_with_its_energy() -> None:
    class Function(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.line = nn.Linear(8, 8)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.einsum("bi,bj,ik->bjk", x, self.line(x), torch.ones(8, 8)).sum(1)

    model = Function().eval()
    convert_(model, Plan(), torch.randn(2, 8))
    report = cost(model, example=torch.zeros(1, 8))
    found = yaml.load(accelforge_text(report), _Loader)["variables"]
    inside = {each.name or "(network)": 1e-15 * each.energy.total for each in report.layers if each.traffic is None}
    assert found["asim_not_in_workload"] == pytest.approx(inside)
    assert inside
