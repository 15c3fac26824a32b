"""Vectors of layers: a reader's sums from the files alone are the layer's outputs."""

import io
import json
import math
import re
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from asim_lightning import Plan, calibrate_, convert_
from asim_lightning.circuit import MacroConfig, StaticEffects
from asim_lightning.classifier.network import GivenNetwork
from asim_lightning.nn import CimLinear
from asim_lightning.silicon.files import files_of
from asim_lightning.silicon.folder import write_folder
from asim_lightning.silicon.recording import Chosen, layer_vectors
from asim_lightning.silicon.replay import read_codes, replay
from asim_lightning.surgery import macro_layers
from tests.engine.native.random_macros import random_macro
from tests.exploration.own_network import own_network
from tests.silicon import reader
from tests.silicon.conftest import PLACES, layer_outputs, with_macro

NOISY = MacroConfig(weight_bits=4, input_bits=4, adc_bits=6, rows=64, random_noise="0.5 lsb")


def by_group(y: Tensor, groups: int, is_image: bool) -> Tensor:
    """Outputs of a layer. # (vectors, groups, outputs)"""
    if is_image:
        return y.flatten(2).transpose(1, 2).flatten(0, 1).unflatten(1, (groups, -1))
    return y.reshape(len(y), groups, -1, y.shape[-1]).transpose(1, 2).flatten(0, 1)


@pytest.mark.parametrize(
    ("seed", "macros"), [(0, 15), *(pytest.param(s, 50, marks=pytest.mark.slow) for s in range(4))]
)
def test_a_readers_sums_are_the_outputs_of_the_layer(
    network: GivenNetwork, images: Tensor, tmp_path: Path, seed: int, macros: int
) -> None:
    draw, done = Random(seed), 0
    while done < macros:
        macro = random_macro(draw, tmp_path / f"{done}.csv").with_fields(weight_coding="plain")
        name = draw.choice([*macro_layers(network.backbone)])
        try:
            with_macro(network, macro)
        except ValueError:  # signed inputs of too few bits, or products that take no stuck cells
            continue
        found = layer_vectors(network, images, PLACES, Chosen(name, slice(0, 1 if name == "head" else 4)))
        try:
            write_folder(tmp_path / name, found)
        except ValueError as error:
            assert macro.adc_bits is None
            assert "format" in str(error)
            continue
        read = reader.outputs(tmp_path / name)
        shape = found.outputs().shape
        at = [(i, p, g, o) for i in PLACES for p in found.positions for g in range(shape[1]) for o in range(shape[2])]
        outputs = torch.tensor([read[each] for each in at], dtype=torch.float64).view(shape)
        assert torch.equal(outputs, found.outputs())
        y = by_group(layer_outputs(network, name, images), found.groups, name == "conv.0")
        y = y.unflatten(0, (len(PLACES), -1))[:, found.positions].flatten(0, 1)
        bias = 0 if found.bias is None else found.bias.view(found.groups, -1)
        assert torch.equal(outputs.float() * found.step.float() + bias, y)
        done += 1


def test_the_chip_the_read_and_the_ideal_macro_decide_the_codes(network: GivenNetwork, images: Tensor) -> None:
    with_macro(network, NOISY.with_fields(static=StaticEffects(offset="1 lsb", cell_mismatch="5 %")))

    def codes(**changes: Any) -> Tensor:
        return layer_vectors(network, images, PLACES, Chosen("qkv", **changes)).arrays[0].codes

    assert torch.equal(codes(), codes())
    for changes in ({"read": 1}, {"chip": 1}, {"ideal": True}):
        assert not torch.equal(codes(), codes(**changes))
    assert torch.equal(codes(ideal=True), codes(ideal=True, read=1, chip=1))
    array = layer_vectors(network, images, PLACES, Chosen("qkv")).arrays[0]
    held = array.weights[:, None] >> torch.arange(4)[:, None] & 1  # (outputs, bits, rows)
    assert array.cells is not None
    digit = array.inputs & 1
    assert array.gains is not None
    count = torch.einsum("vr,or->vo", digit.double(), (held[:, 0] * array.cells[0]).double())
    assert torch.allclose(array.counts[:, 0], count * array.gains[0], rtol=1e-6)
    total = array.cells[0].sum(-1, dtype=torch.float64) + 64 - array.weights.shape[1]
    assert array.gains[0] == pytest.approx(64 / total, rel=0.02)  # idle cells of the tile differ, too


class Convolutions(nn.Module):
    """All forms of convolutions."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 3, padding=1)
        self.depthwise = nn.Conv2d(4, 4, 3, stride=2, padding=2, dilation=2, groups=4)
        self.same = nn.Conv2d(4, 6, (1, 3), padding="same")
        self.transposed = nn.ConvTranspose2d(6, 4, 3, stride=2, padding=1, output_padding=1)
        self.line = nn.Conv1d(4, 8, 3, padding=1, groups=2)
        self.head = nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.transposed(self.same(self.depthwise(self.stem(x).relu()).relu()).relu()).relu()
        return self.head(self.line(x.mean(3)).relu().mean(2))  # type: ignore[no-any-return]


class Tokens(nn.Module):
    """Layers whose rows may have ranges of their own."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.tokens, self.head = nn.Linear(8, 16), nn.Linear(16, 16), nn.Linear(16, 4)
        self.attention = nn.MultiheadAttention(16, 4, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        x = self.tokens(self.first(x).relu())
        return self.head((x + self.attention(x, x, x)[0]).mean(1))  # type: ignore[no-any-return]


@pytest.mark.parametrize("ranges", ["calibrated", "token"])
@pytest.mark.parametrize("kind", [Convolutions, Tokens])
def test_files_give_the_outputs_of_layers_of_all_forms(kind: type[nn.Module], ranges: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    x = torch.randn(2, 3, 8, 8) if kind is Convolutions else torch.randn(2, 5, 8)
    ranges, network = "batch" if kind is Convolutions and ranges == "token" else ranges, kind().eval()
    convert_(network, Plan(NOISY.with_fields(rows=6), input_range=ranges, per_channel=ranges != "token"), x[:1])
    calibrate_(network, [x])
    model = GivenNetwork(network)
    seen = 0
    for name, layer in macro_layers(network).items():
        y = layer_outputs(model, name, x)
        found = layer_vectors(model, x, PLACES, Chosen(name))
        write_folder(tmp_path / name, found)
        said = json.loads((tmp_path / name / "expected.json").read_text())["output"]
        read, (_, groups, outputs) = reader.outputs(tmp_path / name), found.outputs().shape
        at = [(i, p, g, o) for i in PLACES for p in found.positions for g in range(groups) for o in range(outputs)]
        counts = torch.tensor([read[each] for each in at], dtype=torch.float64).view(-1, groups, outputs)
        step, bias = (torch.tensor(said[each] or [0.0]) for each in ("step", "bias"))
        step, bias = (each.view(groups, outputs) if len(each) > 1 else each for each in (step, bias))
        values = (counts * step * torch.tensor(said["factor"]) + bias).unflatten(0, (2, -1)).float()
        is_image = hasattr(layer, "kernel_size")
        values = values.flatten(2).transpose(1, 2) if is_image else values.transpose(1, 2)
        if name == "transposed":  # its windows overlap
            values = layer.rearranged(values.unflatten(2, (math.isqrt(found.position_count), -1)))
        assert torch.allclose(values.flatten(), y.flatten(), atol=1e-5), name
        seen += 1
        codes = read_codes(tmp_path / name)
        assert replay(model, x, PLACES, codes, Chosen(name)).equal_outputs is True
    assert seen == {Convolutions: 5, Tokens: 6}[kind]


def test_ideal_codes_are_those_of_a_column_without_noise(network: GivenNetwork, images: Tensor, tmp_path: Path) -> None:
    with_macro(network, NOISY)
    ids = layer_vectors(network, images, [0, 1], Chosen("qkv"), ids=PLACES)
    assert ids.images == (0, 1)  # noise is numbered by the index of an image, files by its place
    assert torch.equal(ids.arrays[0].codes, layer_vectors(network, images, PLACES, Chosen("qkv")).arrays[0].codes)
    (tmp_path / "noisy.csv").write_text("count,mean,std\n0,0.4,0.6\n64,62,0.9\n")
    macro = NOISY.with_fields(random_noise=0.0, column="measured", column_args={"file": str(tmp_path / "noisy.csv")})
    with_macro(network, macro)
    with pytest.raises(ValueError, match=r"`ideal` must be false with column measured of layer `.*`, which has noise"):
        layer_vectors(network, images, PLACES, Chosen("qkv", ideal=True))


def test_layers_and_positions_that_are_not_there_are_refused(images: Tensor) -> None:
    network = GivenNetwork(own_network())
    network.backbone.unused = CimLinear(8, 4, macro=NOISY, name="unused")
    for chosen, said in (
        (Chosen("nothing"), "`layer` must be a layer on a macro, such as conv.0; got 'nothing'"),
        (Chosen("stem.0"), "layer `stem.0` is not on a macro (first convolution: digital)"),
        (Chosen("unused"), "`layer` must be a layer that the network calls for these inputs, got `unused`"),
        (Chosen("head", slice(1, 4)), "`positions` must be some of 0:1 in layer `head`, got 1:4"),
    ):
        with pytest.raises(ValueError, match=re.escape(said)):
            layer_vectors(network, images, PLACES, chosen)


def test_csv_and_npz_have_the_numbers_of_the_hex_files(network: GivenNetwork, images: Tensor) -> None:
    with_macro(network, NOISY.with_fields(static=StaticEffects(offset="1 lsb", inl=1.0, cell_mismatch="2 %")))
    found = layer_vectors(network, images, PLACES, Chosen("head"))
    (array,) = found.arrays
    files = {name: content.decode().splitlines() for name, content in files_of(found, "csv").items()}
    rows = [line.split(",") for line in files["codes.csv"][1:]]
    assert [float(row[-1]) for row in rows] == array.codes.flatten().tolist()
    assert len(files["converters.csv"]) == 1 + 4 * 4
    assert files["converters.csv"][0].startswith("tile,group,output,weight_bit,offset_lsb,inl0,inl1")
    assert len(files["tile0_cells.csv"]) == 1 + 4 * 4
    with np.load(io.BytesIO(files_of(found, "npz")["vectors.npz"])) as held:
        assert held["tile0_codes"].tolist() == array.codes.tolist()
        assert held["output_counts"].tolist() == found.outputs().tolist()
    with_macro(network, NOISY.with_fields(adc_bits=None, random_noise=0.5))
    with pytest.raises(ValueError, match="`format` must be csv or npz, because the ideal ADC of layer `head`"):
        files_of(layer_vectors(network, images, PLACES, Chosen("head")), "hex")
