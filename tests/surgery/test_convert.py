"""Surgery: which layer becomes what, and what its report says of it."""

from typing import Any

import pytest
import timm
import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d
from torch.nn.utils import prune

from asim_lightning import MacroConfig, Plan, Rule, StaticEffects, calibrate_, convert_
from asim_lightning.nn import (
    PACT,
    CimConv2d,
    CimLinear,
    FloatConv2d,
    FloatLinear,
    FloatMatmul,
    QuantConv2d,
)
from asim_lightning.surgery import convert, reasons, report_of
from asim_lightning.surgery.conversion_report import describe
from tests.surgery.networks import NARROW, VIT, Net, Odd, distance, doubled

IMAGE = torch.randn(1, 3, 32, 32)


def handmade(**more: nn.Module) -> Net:
    """Convolutions and linear layers with functional operations between them."""

    def forward(model: Any, x: Tensor) -> Tensor:
        x = torch.relu(model.first(x))
        x = torch.tanh(model.depth(torch.max_pool2d(x, 2)))
        x = torch.relu(model.reduce(x)).flatten(1)
        return model.last(torch.relu(model.hidden(x)))

    return Net(
        forward, first=nn.Conv2d(3, 8, 3, padding=1), depth=nn.Conv2d(8, 8, (3, 5), padding="same", groups=8),
        reduce=nn.Conv2d(8, 4, 2, stride=2, dilation=2, padding=1, padding_mode="reflect"),
        hidden=nn.Linear(4 * 8 * 8, 16), last=nn.Linear(16, 5), **more,
    ).eval()  # fmt: skip


def resnet() -> nn.Module:
    return timm.create_model("resnet10t", **NARROW)


def vit() -> nn.Module:
    return timm.create_model("vit_tiny_patch16_224", **VIT).eval()


def test_handmade_network_keeps_its_output_and_reports_inputs() -> None:
    moved, report = distance(handmade(), torch.randn(4, 3, 32, 32))
    assert moved < 1e-2
    assert [row.name for row in report] == ["first", "depth", "reduce", "hidden", "last"]
    assert [row.kind for row in report] == ["stem", "depthwise", "conv", "linear", "head"]
    assert [row.input.split(":")[0] for row in report] == ["signed", "unsigned", "signed", "unsigned", "unsigned"]
    assert [row.macs for row in report] == [
        8 * 32 * 32 * 27, 8 * 16 * 16 * 15, 4 * 8 * 8 * 32, 16 * 256, 16 * 5
    ]  # fmt: skip
    assert "4 of 5 layers on a macro" in str(report)


@pytest.mark.parametrize("example", [torch.rand(2, 3, 32, 32), -torch.rand(2, 3, 32, 32)], ids=["positive", "negative"])
def test_the_values_of_an_example_decide_no_sign(example: Tensor) -> None:
    report = convert_(handmade(), Plan(stem="macro"), example)
    assert report.rows == convert_(handmade(), Plan(stem="macro")).rows
    assert [row.input.split(":")[0] for row in report] == ["signed", "unsigned", "signed", "unsigned", "unsigned"]
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(4 * 30 * 30, 4)).eval()
    nn.init.constant_(model[0].weight, float(example.mean().sign()))  # the second input is positive by chance
    nn.init.zeros_(model[0].bias)
    convert_(model, Plan(input_range="batch"), example)
    assert model[2].signed_input
    assert model(-example).isfinite().all()


def test_a_plan_states_the_sign_of_all_layers() -> None:
    report = convert_(vit(), Plan(MacroConfig(input_bits=9), signed_input=True))
    assert {row.input for row in report.on_macro} == {"signed: plan.signed_input"}
    assert {row.macro.input_bits for row in report.on_macro if row.macro} == {9}  # signed scores have a bit for it


@pytest.mark.parametrize("stem", ["published", "macro"])
def test_a_rule_states_the_sign_of_a_first_layer(stem: str) -> None:
    model, images = handmade(), torch.rand(2, 3, 32, 32)
    rules = [Rule("stem", signed_input=False), Rule("*", {"adc_bits": 7})]
    report = convert_(model, Plan(rules=rules, stem=stem, input_range="batch"))
    assert (report["first"].input, report["depth"].input) == ("unsigned: plan.rules", "unsigned: after a ReLU")
    assert model(images).isfinite().all()
    with pytest.raises(ValueError, match=r"^Layer `first` is unsigned, .* set `signed_input` to true .* `plan.rules`"):
        model(-images)


def test_a_function_that_stays_float_is_named() -> None:
    blur = Net(lambda model, x: conv2d(x, model.kernel, groups=3), kernel=nn.Parameter(torch.rand(3, 1, 3, 3)))
    report = convert_(nn.Sequential(blur, nn.Conv2d(3, 4, 3)), Plan())
    assert report["0"].why_kept.startswith("its forward calls conv2d, which surgery leaves in float; call a torch.nn")


def test_rules_count_in_order_and_keep_takes_out() -> None:
    model = vit()
    rules = [
        Rule("blocks.1.*", {"adc_bits": 10}),
        Rule("mlp", {"adc_bits": 6}),
        Rule(r"re:blocks\.\d\.attn\.qk", MacroConfig(6, 6)),
    ]
    report = convert_(model, Plan(rules=rules, keep=["head", "av", "blocks.0.attn.proj"]))
    assert report["blocks.1.mlp.fc1"].macro.adc_bits == 10
    assert report["blocks.0.mlp.fc1"].macro.adc_bits == 6
    assert report["blocks.0.attn.qk"].macro.weight_bits == 6
    assert report["blocks.1.attn.qk"].macro.adc_bits == 10
    assert isinstance(model.head, FloatLinear)
    assert isinstance(model.blocks[0].attn.av, FloatMatmul)
    assert report["head"].why_kept == "plan.keep"


def test_stem_option() -> None:
    for stem, kind in {"quantized": QuantConv2d, "float": FloatConv2d, "macro": CimConv2d}.items():
        model = resnet()
        convert_(model, Plan(stem=stem), IMAGE)
        assert type(model.conv1[0]) is kind


def test_pact_replaces_relu_one_a_place_and_gives_ranges() -> None:
    model = timm.create_model("resnet18", channels=(8, 16, 32, 64))
    relus = sum(isinstance(m, nn.ReLU) for m in model.modules())
    convert_(model, Plan(pact=True, input_range="pact"), IMAGE)
    pacts = [m for m in model.modules() if isinstance(m, PACT)]
    assert len(pacts) == relus == 17
    layer = model.layer1[0].conv2
    assert layer.input_range == "pact"
    assert layer._pact[0] is model.layer1[0].act1
    calibrate_(model, [torch.randn(2, 3, 32, 32)])
    model.eval()(torch.randn(1, 3, 64, 64))
    assert len([k for k in model.state_dict() if k.endswith("alpha")]) == 17


def with_forward() -> nn.Conv2d:
    layer = nn.Conv2d(4, 4, 3)
    layer.forward = lambda x: -x  # type: ignore[method-assign]
    return layer


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Odd(4, 4, 3), "is a Odd, which surgery does not know; it converts torch.nn.Conv2d and timm"),
        (with_forward, "is a torch.nn.modules.conv.Conv2d, which surgery does not know"),
        (lambda: doubled(nn.Conv2d(4, 4, 3)), "has forward hooks, which its replacement would not have"),
        (lambda: prune.l1_unstructured(nn.Conv2d(4, 4, 3), "weight", 0.5), "computes its weight anew"),
    ],
)
def test_a_layer_that_may_compute_something_else_is_refused_unless_kept(make: Any, message: str) -> None:
    layer = make()
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), layer)
    with pytest.raises(ValueError, match=f"`2` {message}"):
        convert_(model, Plan(pact=True))
    assert type(model[1]) is nn.ReLU
    convert_(model, Plan(keep=["2"]))
    assert torch.equal(model[2].weight, layer.weight)


def test_a_subclass_that_changes_nothing_is_converted() -> None:
    class Same(nn.Conv2d):
        pass

    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), Same(4, 4, 3), nn.Flatten(), timm.layers.Linear(64, 3))
    convert_(model, Plan(), torch.randn(1, 3, 8, 8))
    assert isinstance(model[2], CimConv2d)
    assert isinstance(model[4], CimLinear)


def test_a_layer_that_does_not_run_is_refused_by_name_unless_kept() -> None:
    model = handmade(spare=nn.Linear(3, 3))
    with pytest.raises(ValueError, match="`spare` did not run on the example"):
        convert_(model, Plan())
    assert type(model.first) is nn.Conv2d
    report = convert_(model, Plan(keep=["spare"]))
    assert report["spare"].why_kept == "plan.keep"


def test_an_error_names_its_layer_once(monkeypatch: pytest.MonkeyPatch) -> None:
    for each in (convert, reasons):  # leaves the refusal to the layer itself
        monkeypatch.setattr(each, "unknown_layer", lambda module: None)
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ConvTranspose2d(4, 4, 2, stride=3))
    with pytest.raises(ValueError, match=r"^Layer `1`: a transposed convolution needs") as caught:
        convert_(net, Plan(), torch.rand(1, 3, 8, 8))
    assert str(caught.value).count("Layer") == 1


def test_networks_that_cannot_be_converted_are_refused() -> None:
    with pytest.raises(ValueError, match=r"`plan.pact` needs torch.nn.ReLU modules"):
        convert_(handmade(), Plan(pact=True))
    with pytest.raises(ValueError, match=r"does not run on an input of shape \(1, 4, 8, 8\)"):
        convert_(handmade(), Plan(), torch.randn(1, 4, 8, 8))
    with pytest.raises(ValueError, match="got one without"):
        convert_(nn.Sequential(nn.ReLU()), Plan())
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))
    convert_(model, Plan())
    with pytest.raises(ValueError, match="converted already"):
        convert_(model, Plan())


def test_shared_module_is_converted_once() -> None:
    conv = nn.Conv2d(4, 4, 3, padding=1)
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), conv, nn.ReLU(), conv)
    report = convert_(model, Plan())
    assert model[2] is model[4]
    assert isinstance(model[2], CimConv2d)
    assert len(report) == 2


def test_a_rule_lowers_the_stem_only_where_it_names_bits() -> None:
    for fields, bits in (({"random_noise": 0.1}, (8, 8)), ({"weight_bits": 5}, (5, 8))):
        model = resnet()
        report = convert_(model, Plan(MacroConfig(4, 4), rules=[Rule("*", fields)]), IMAGE)
        assert report["conv1.0"].why_kept == "first convolution: digital"
        assert (model.conv1[0].weight_bits, model.conv1[0].input_bits) == bits


def test_a_rule_that_changes_nothing_is_refused() -> None:
    rules = [Rule("*", {"rows": 64}), Rule("fc", {"adc_bits": 10})]
    with pytest.raises(ValueError, match="has a rule for 'fc' that changes nothing, because the first match counts"):
        convert_(resnet(), Plan(rules=rules), IMAGE)
    convert_(resnet(), Plan(rules=rules[::-1]), IMAGE)


def test_layers_are_in_the_order_in_which_they_run() -> None:
    network = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 2))
    report = convert_(network, Plan(MacroConfig(), [Rule("2", {"votes": 3})], keep=["1"]), torch.ones(1, 4))
    assert [row.name for row in report_of(network).rows] == [row.name for row in report.rows] == ["0", "1", "2"]


def test_macros_that_differ_are_described_apart() -> None:
    assert describe(MacroConfig(random_noise=0.1)) == "W8A8 255 rows ADC 8"
    macro = MacroConfig(encoding_bits=2, vote_levels=4, votes=3, static=StaticEffects(columns_per_adc=8))
    assert describe(macro) == "W8A8 255 rows ADC 8 enc 2 vote levels 4 votes 3 columns per ADC 8"


def test_a_description_makes_no_macro(monkeypatch: pytest.MonkeyPatch) -> None:
    """A sweep describes the macro of each layer for each of its energies."""
    macro = MacroConfig()
    monkeypatch.setattr(MacroConfig, "__post_init__", None)
    assert describe(macro) == "W8A8 255 rows ADC 8"
