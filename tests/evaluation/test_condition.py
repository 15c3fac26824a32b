"""A network under a condition: what each field sets, and that everything is afterwards as it was."""

from contextlib import nullcontext
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from asim_lightning import CimClassifier, Plan, Rule, convert_
from asim_lightning.circuit import MacroConfig, StaticEffects
from asim_lightning.classifier.network import GivenNetwork
from asim_lightning.engine import SavedChip
from asim_lightning.evaluation.condition import Condition, check_one_chip, layer_rules, noise_text, under
from asim_lightning.nn.calibration import quantized_layers
from asim_lightning.nn.training_noise import MacroNoise
from asim_lightning.surgery import macro_layers
from tests.classifier.conftest import make_model


@pytest.fixture
def model() -> CimClassifier:
    """A classifier whose layers differ in fidelity and mode."""
    made = make_model(trial=2, chip=3)
    made.backbone.layer1.train()
    made.backbone.layer2[0].conv2.fidelity = "float"
    return made


def state(model: CimClassifier) -> list[Any]:
    return [
        (model.fidelity, model.trial, model.chip),
        [layer.fidelity for layer in quantized_layers(model.backbone).values()],
        [layer.assignment for layer in macro_layers(model.backbone).values()],
        # whatever else a layer remembers as a plain value, so that a new option is seen too
        [
            {name: value for name, value in vars(module).items() if isinstance(value, (bool, int, float, str))}
            for module in model.modules()
        ],
    ]


@pytest.mark.parametrize(
    ("condition", "read"),
    [({}, (2, 3)), ({"trial": 0, "chip": 0}, (0, 0)), ({"trial": 7}, (7, 3)), ({"chip": 5}, (2, 5))],
    ids=str,
)
def test_trial_and_chip_are_the_classifiers_unless_they_are_given(
    model: CimClassifier, condition: dict[str, int], read: tuple[int, int]
) -> None:
    with under(model, Condition(**condition)):
        assert (model.trial, model.chip) == read
    assert (model.trial, model.chip) == (2, 3)


def test_fidelity_of_all_layers_then_of_some(model: CimClassifier) -> None:
    with under(model, Condition("simulated", layers={"layer3.*": "quantized", "head": "float"})):
        found = {name: layer.fidelity for name, layer in quantized_layers(model.backbone).items()}
        assert not any(module.training for module in model.modules())
    assert found.pop("fc") == "float"
    third = {name for name in found if name.startswith("layer3.")}
    assert {found[name] for name in third} == {"quantized"}
    assert {fidelity for name, fidelity in found.items() if name not in third} == {"simulated"}


def test_estimated_layers_have_the_error_of_their_macro_instead_of_noise_of_training(model: CimClassifier) -> None:
    layers = macro_layers(model.backbone).values()
    before = [(layer.train_noise, layer.train_noise_model) for layer in layers]
    with under(model, Condition("estimated", {"adc_bits": 8}, of_macro=True)):
        assert {(layer.train_noise, type(layer.train_noise_model)) for layer in layers} == {(1.0, MacroNoise)}
    with under(model, Condition("estimated")):
        assert [(layer.train_noise, layer.train_noise_model) for layer in layers] == before
    assert [(layer.train_noise, layer.train_noise_model) for layer in layers] == before


def test_fields_of_the_plans_macro_that_no_rule_decides(model: CimClassifier) -> None:
    with under(model, Condition(macro={"adc_bits": 5, "rows": 99})):
        found = {name: (layer.macro.adc_bits, layer.macro.rows) for name, layer in macro_layers(model.backbone).items()}
    assert found.pop("fc") == (8, 64)  # its rule is a whole macro
    assert {macro for name, macro in found.items() if name.startswith("layer4.")} == {(9, 99)}
    assert {macro for name, macro in found.items() if not name.startswith("layer4.")} == {(5, 99)}


def test_everything_is_as_it_was_also_after_an_error(model: CimClassifier) -> None:
    before = state(model)
    condition = Condition("quantized", {"rows": 8}, {"head": "float"}, trial=5, chip=6)
    with under(model, condition):
        assert state(model) != before
    assert state(model) == before
    with pytest.raises(RuntimeError, match="inside"), under(model, condition):
        raise RuntimeError("inside")
    assert state(model) == before


@pytest.mark.parametrize(
    ("condition", "message"),
    [
        ({"macro": {"adc_bit": 5}}, r"`macro\.adc_bit` is no field of a macro, nearest: adc_bits"),
        ({"layers": {"layer9.*": "float"}}, r"`compare\.layers` matches no layer with 'layer9\.\*'"),
    ],
)
def test_a_name_that_matches_nothing_is_refused_and_nothing_changes(
    model: CimClassifier, condition: dict[str, Any], message: str
) -> None:
    before = state(model)
    with pytest.raises(ValueError, match=message), under(model, Condition(**condition)):
        pass
    assert state(model) == before


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        (Condition(), "random_noise 0.5 lsb and 0"),  # the head has a macro of its own
        (Condition(macro={"random_noise": 0, "nonlinear_noise": 0.1}), "nonlinear_noise 0.1 and 0"),
        (Condition(macro={"random_noise": 0}), "no noise"),
        (Condition(macro={"random_noise": 0, "static.offset": "0.3 lsb"}, chip=3), "no noise, chip 3"),
        (Condition("quantized"), ""),
    ],
    ids=str,
)
def test_the_noise_of_simulated_layers_is_named(condition: Condition, expected: str, model: CimClassifier) -> None:
    with under(model, condition):
        assert noise_text(model) == expected


OWN = MacroConfig(column="current", static=StaticEffects(offset="0.3 lsb", cell_mismatch=5))


@pytest.mark.parametrize(
    ("changes", "refused"),
    [
        ({"static.offset": "0.30 lsb", "static.inl": [0.1] * 256, "static.reference": "absolute"}, ""),
        ({"static": {"offset": "0.3 lsb", "cell_mismatch": "5 %", "columns_per_adc": 2}, "random_noise": 1}, ""),
        ({"static.offset": "0.4 lsb"}, "`static.offset` must stay 0.3 lsb"),
        ({"static": {"offset": "0.3 lsb"}}, "`static.cell_mismatch` must stay 5"),
        ({"static.trim": "both"}, "`static.trim` must stay none"),
    ],
    ids=str,
)
def test_a_chip_from_a_file_keeps_its_spreads(changes: dict[str, Any], refused: str) -> None:
    saved, macros = SavedChip("digest", "chip.safetensors", {}), [(OWN, OWN), (OWN, OWN.with_fields(**changes))]
    with pytest.raises(ValueError, match=refused) if refused else nullcontext():
        check_one_chip(saved, None, macros)


def test_a_chip_from_a_file_keeps_the_cells_of_its_column() -> None:
    plain = OWN.with_fields(static={})
    changed = plain.with_fields(column_args={"cell_sigma": 5})
    with pytest.raises(ValueError, match=r"`column_args.cell_sigma` must stay 0 with `model.chip_file` chip"):
        check_one_chip(SavedChip("digest", "chip.safetensors", {}), None, [(plain, changed)])


class Blocks(nn.Module):
    """Three blocks of two layers, and a head."""

    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(nn.ModuleDict({"up": nn.Linear(6, 9), "down": nn.Linear(9, 6)}) for _ in range(3))
        self.out = nn.Linear(6, 2)

    def forward(self, x: Tensor) -> Tensor:
        for block in self.blocks:
            x = x + block["down"](block["up"](x).relu())
        return self.out(x)  # type: ignore[no-any-return]


def test_layers_of_a_kind_that_change_alike_have_one_rule() -> None:
    def assignments(*rules: Rule) -> tuple[GivenNetwork, dict[str, MacroConfig]]:
        torch.manual_seed(0)
        network, x = Blocks(), torch.rand(2, 6)
        convert_(network, Plan(MacroConfig(weight_bits=4, input_bits=4), list(rules)), x)
        return GivenNetwork(network, example=x), {name: each.macro for name, each in macro_layers(network).items()}

    made, before = assignments()
    ups, votes = [f"blocks.{block}.up" for block in range(3)], {"votes": 3, "vote_levels": 2}
    rules = layer_rules(made, {**dict.fromkeys(ups, votes), "blocks.1.down": {"adc_bits": 6}})
    assert {rule["match"]: rule["macro"] for rule in rules} == {
        "blocks.*.up": votes, "blocks.0.down": {}, "blocks.1.down": {"adc_bits": 6}, "blocks.2.down": {}, "out": {},
    }  # fmt: skip
    _, after = assignments(*(Rule(**rule) for rule in rules))
    assert {name for name, macro in after.items() if macro != before[name]} == {*ups, "blocks.1.down"}
    assert after["blocks.2.up"] == before["blocks.2.up"].with_fields(**votes)
