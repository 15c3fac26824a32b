"""Tiles of all layers are given in turn to the macros that they share."""

import pytest
import torch
from timm.layers import Attention
from torch import nn

from asim_lightning import MacroConfig, Plan, Rule, calibrate_, change_macros_, convert_
from asim_lightning.engine import noise_context
from asim_lightning.nn import CimMatmul
from asim_lightning.surgery import apply_point, kept_assignments, macro_layers, set_fidelity_
from tests.surgery.networks import Net

REUSE = {"placement": "reuse", "macros": 4, "columns": 64, "offset": "1 lsb"}


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 8, 3, groups=2), nn.ReLU(), nn.Conv2d(8, 8, 3), nn.Flatten(),
        nn.Linear(8 * 4, 40), nn.Linear(40, 6),
    ).eval()  # fmt: skip


def places(model: nn.Module) -> dict[str, tuple[int, int]]:
    return {name: (layer.pool, layer.first_tile) for name, layer in macro_layers(model).items()}


def test_layer_after_layer_tile_after_tile_and_group_after_group() -> None:
    model = network()
    convert_(model, Plan(macro=MacroConfig(8, 8, 27, static=REUSE)), torch.rand(2, 3, 8, 8))
    # the stem is digital; rows of 27 hold 3 kernels: 2 groups of 2 tiles; 3 tiles; 32 terms: 2 tiles
    assert places(model) == {"2": (0, 0), "4": (0, 4), "6": (0, 7), "7": (0, 9)}
    with kept_assignments(model):
        change_macros_(model, rows=54)
        assert places(model) == {"2": (0, 0), "4": (0, 2), "6": (0, 4), "7": (0, 5)}
        apply_point(model, {"static.placement": "unrolled", "static.macros": None, "static.columns": None})
    assert places(model)["7"] == (0, 9)


def test_a_kernel_as_large_as_its_input_takes_the_tiles_that_it_was_given() -> None:
    model = nn.Sequential(nn.Conv2d(3, 8, 1), nn.Conv2d(8, 8, 3), nn.Flatten(), nn.Linear(8, 6)).eval()
    convert_(model, Plan(macro=MacroConfig(8, 8, 26, static=REUSE)), torch.rand(2, 3, 3, 3))
    layers = macro_layers(model)
    product, _, weight = layers["1"].product_on(torch.rand(2, 8, 3, 3))
    assert len(product.geometry(None, weight).tiles(26)) == layers["1"].tiles == layers["3"].first_tile == 4  # 72 terms


def test_layers_of_another_macro_share_other_macros() -> None:
    model = network()
    rules = [Rule("2", {"adc_bits": 9}), Rule("6", {"adc_bits": 9})]
    convert_(model, Plan(macro=MacroConfig(8, 8, 27, static=REUSE), rules=rules), torch.rand(2, 3, 8, 8))
    assert places(model) == {"2": (0, 0), "4": (1, 0), "6": (0, 4), "7": (1, 3)}


def test_products_of_activations_take_no_turn() -> None:
    model = nn.Sequential(Attention(16, num_heads=2), nn.Linear(16, 4)).eval()
    convert_(model, Plan(macro=MacroConfig(8, 9, 27, static=REUSE)), torch.rand(2, 5, 16))
    found = places(model)
    products = [name for name, layer in macro_layers(model).items() if isinstance(layer, CimMatmul)]
    assert len(products) == 2
    assert {pool for pool, _ in found.values()} == {0}  # scores have 8 bits, and lie on the same macros
    assert found[products[0]] == found[products[1]]
    assert len({first for _, first in found.values()}) > 1


@pytest.mark.parametrize("engine", ["reference", "native"])
def test_one_macro_is_all_layers(engine: str) -> None:
    """The same weights in two layers on one macro give the same answers."""
    torch.manual_seed(0)
    both = Net(lambda model, x: model.a(x) - model.b(x), a=nn.Linear(20, 6), b=nn.Linear(20, 6)).eval()
    both.b.load_state_dict(both.a.state_dict())
    cells = {"cell_mismatch": 3} if engine == "reference" else {}
    static = {**REUSE, "macros": 1, "stuck_at_0": 0.01, **cells}
    convert_(both, Plan(macro=MacroConfig(8, 8, 27, static=static)), torch.rand(2, 20))
    calibrate_(both, [torch.rand(9, 20)])
    set_fidelity_(both, "simulated")
    for each in macro_layers(both).values():
        each.engine = engine
    x = torch.rand(5, 20)
    with torch.no_grad(), noise_context(chip=3):
        assert float(both(x).abs().max()) == 0
        macro_layers(both)["b"].macro = MacroConfig(8, 8, 27, static={"offset": "1 lsb", **cells})
        assert float(both(x).abs().max()) > 0
