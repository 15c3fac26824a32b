"""Products by function calls: what they are called, what rules reach them, and what stays float and why."""

from collections.abc import Callable
from typing import Any

import pytest
import timm
import torch
import torch.nn.functional as F
import torchvision
from timm.layers import CondConv2d
from torch import Tensor, nn

from asim_lightning import MacroConfig, Plan, Rule, calibrate_, convert_
from asim_lightning.engine import noise_context
from asim_lightning.nn import CimAttention, CimFunctionalLinear, CimLinear, CimMatmul, FloatLinear, FloatMatmul
from asim_lightning.surgery import set_fidelity_
from tests.conftest import relative
from tests.surgery.networks import IDEAL, NARROW, VIT, Net, Network, built, distance

SWIN = {"depths": (2, 1), "embed_dim": 24, "num_heads": (1, 2), "img_size": 32, "window_size": 4}


def network(name: str, **kwargs: Any) -> nn.Module:
    torch.manual_seed(0)
    return timm.create_model(name, **kwargs).eval()


def torchvisions_swin() -> nn.Module:
    torch.manual_seed(0)
    return torchvision.models.SwinTransformer(
        [4, 4], 24, [2, 1], [1, 2], [4, 4], stochastic_depth_prob=0.0, num_classes=5
    ).eval()


def torchvisions_vit() -> nn.Module:
    torch.manual_seed(0)
    model = torchvision.models.VisionTransformer(32, 8, 2, 3, 48, 96, num_classes=5).eval()
    nn.init.normal_(model.heads.head.weight, std=0.1)
    return model


def test_windowed_attention_is_on_the_macro_under_its_own_names_which_rules_and_keep_reach() -> None:
    model = network("swin_tiny_patch4_window7_224", **SWIN)
    rules = [Rule("qk", {"adc_bits": 10}), Rule("layers.1.*", {"rows": 64})]
    report = convert_(model, Plan(MacroConfig(input_bits=9), rules, keep=["layers.0.blocks.1.attn.av"]))
    first, kept = (block.attn for block in model.layers[0].blocks)
    assert type(first).__name__ == "WindowAttention"
    assert isinstance(first.qk, CimMatmul)
    assert (first.qk.input_bits, first.qk.signed_input, first.qk.macro.adc_bits) == (9, True, 10)
    assert (first.av.input_bits, first.av.signed_input) == (8, False)
    found = {row.name: row.kind for row in report if row.name.startswith("layers.0.blocks.0.attn")}
    assert list(found.values()) == [name.rpartition(".")[2] for name in found] == ["qkv", "qk", "av", "proj"]
    assert model.layers[1].blocks[0].attn.av.macro.rows == 64
    assert type(kept.av) is FloatMatmul
    assert report["layers.0.blocks.1.attn.av"].why_kept == "plan.keep"


@pytest.mark.parametrize("fused", [True, False])
def test_the_plain_attention_keeps_its_layer_and_takes_masks(fused: bool) -> None:
    model = network("vit_tiny_patch16_224", **VIT)
    attention = model.blocks[0].attn
    attention.fused_attn = fused
    x, mask = torch.randn(2, 5, 48), torch.randn(5, 5)
    expected = [attention(x), attention(x, attn_mask=mask), attention(x, attn_mask=mask > -1)]
    convert_(model, Plan(IDEAL, input_range="batch"))
    converted = model.blocks[0].attn
    assert type(converted) is CimAttention
    given = [{}, {"attn_mask": mask}, {"attn_mask": mask > -1}]
    for arguments, wanted in zip(given, expected, strict=True):
        torch.testing.assert_close(converted(x, **arguments), wanted, rtol=1e-2, atol=1e-2)


def test_a_weight_used_by_a_function_is_on_the_macro() -> None:
    model, x = network("beit_base_patch16_224", **{**VIT, "patch_size": 16}), torch.randn(2, 3, 32, 32)
    report = convert_(model, Plan(MacroConfig()), x)
    calibrate_(model, [x])
    qkv = model.blocks[0].attn.qkv
    assert isinstance(qkv, CimLinear)
    assert report["blocks.0.attn.qkv"].kind == "qkv"
    expected = model(x).detach()
    qkv.macro = MacroConfig(adc_bits=1)
    assert not torch.equal(model(x), expected)


@pytest.mark.parametrize("build", [torchvisions_swin, torchvisions_vit])
def test_torchvisions_transformers_keep_output_and_keys(build) -> None:  # type: ignore[no-untyped-def]
    model, x = build(), torch.randn(2, 3, 32, 32)
    keys = set(model.state_dict())
    moved, report = distance(model, x)
    assert moved < 1e-2
    assert keys < set(model.state_dict())
    assert {"qkv", "qk", "av", "proj", "mlp", "head"} <= {row.kind for row in report}
    assert [row.why_kept for row in report.kept] == ["patch embedding"]


def test_torchs_multihead_attention_has_every_product_on_the_macro() -> None:
    model = torchvisions_vit()
    state = model.state_dict()
    report = convert_(model, Plan(per_channel=True))
    attention = model.encoder.layers[0].self_attention
    prefix = "encoder.layers.encoder_layer_0.self_attention."
    assert [row.name for row in report if row.name.startswith(prefix)] == [
        prefix + name for name in ("in_proj", "qk", "av", "out_proj")
    ]
    assert isinstance(attention.in_proj, CimFunctionalLinear)
    assert attention.in_proj.per_channel
    model.load_state_dict(state, strict=False)
    assert torch.equal(attention.in_proj_weight, state[prefix + "in_proj_weight"])


def test_a_transformer_layer_of_torch_does_not_take_its_fused_path() -> None:
    torch.manual_seed(0)
    layer = nn.Sequential(nn.Linear(16, 16), nn.TransformerEncoderLayer(16, 2, 32, batch_first=True)).eval()
    x = torch.randn(2, 5, 16)
    assert distance(layer, x)[0] < 1e-2
    with torch.no_grad():
        good = layer(x)
        layer[1].linear1.macro = MacroConfig(adc_bits=1)
        assert not torch.equal(layer(x), good)


def test_a_position_network_stays_float_and_trains() -> None:
    model, x = network("swinv2_tiny_window8_256", **SWIN), torch.randn(4, 3, 32, 32)
    report = convert_(model, Plan(MacroConfig(random_noise=0.05)), x)
    row = report["layers.0.blocks.0.attn.cpb_mlp.0"]
    assert (row.after, row.why_kept) == ("FloatLinear", "function of no image: computed in float")
    assert type(model.layers[0].blocks[0].attn.cpb_mlp[0]) is FloatLinear
    model.train()
    model(x).sum().backward()
    assert model.layers[0].blocks[0].attn.cpb_mlp[0].weight.grad is not None
    model.eval()
    calibrate_(model, [x])
    with torch.no_grad(), noise_context(sample_ids=[1, 2, 3]):
        model(x[:3])


def handmade() -> Net:
    """What attentions of all kinds do, beside each other."""

    def forward(model: Any, x: Tensor) -> Tensor:
        x = model.mix(model.embed(x).flatten(2).transpose(1, 2))  # (batch, tokens, 8)
        kv = torch.einsum("bnd,bne->bde", torch.relu(x), x)
        return (torch.relu(x).bmm(kv) @ model.table).mean(1)

    table = nn.Parameter(torch.randn(8, 6))
    return Net(forward, embed=nn.Conv2d(3, 8, 4, 4), mix=nn.Linear(8, 8), table=table).eval()


def test_products_without_a_softmax_and_with_a_parameter() -> None:
    torch.manual_seed(0)
    moved, report = distance(handmade(), torch.randn(2, 3, 16, 16))
    assert moved < 1e-2
    assert [(row.name, row.kind) for row in report] == [
        ("embed", "stem"), ("mix", "linear"), ("matmul", "matmul"), ("matmul2", "matmul"), ("table_product", "linear"),
    ]  # fmt: skip
    assert [row.macs for row in report][2:] == [8 * 8 * 16, 8 * 8 * 16, 8 * 6 * 16]
    assert report["matmul"].input.startswith("unsigned")


def test_a_convolution_with_a_weight_of_the_image_stays_float_with_its_weight() -> None:
    def forward(model: Any, x: Tensor) -> Tensor:
        x = model.first(x).relu()
        return model.second(model.mixed(x, model.router(x.mean((2, 3))).sigmoid()))

    parts = {"first": nn.Conv2d(3, 4, 3), "router": nn.Linear(4, 5), "second": nn.Conv2d(4, 4, 3)}
    torch.manual_seed(0)
    model, x = Net(forward, mixed=CondConv2d(4, 4, 3, num_experts=5), **parts).eval(), torch.randn(2, 3, 12, 12)
    moved, report = distance(model, x)
    assert moved < 1e-3
    assert [row.name for row in report.on_macro] == ["router", "second"]
    assert report["mixed.weight_product"].why_kept == "makes the weight of a convolution: computed in float"
    mixed = report["mixed"]
    assert (mixed.macs, mixed.after) == (4 * 4 * 9 * 100, "CondConv2d")
    assert mixed.why_kept == "its convolution has a weight that depends on the image, which no macro holds"
    float_only = convert_(
        nn.Sequential(Net(lambda _, x: F.conv2d(x, torch.ones(2, 3, 1, 1))), nn.Conv2d(2, 2, 1)), Plan(), x
    )
    assert "its forward calls conv2d, which surgery leaves in float" in float_only["0"].why_kept


def test_equal_products_are_one_line_of_the_printed_report() -> None:
    def forward(model: Any, x: Tensor) -> Tensor:
        x = model.first(x)
        for _ in range(32):
            x = ((x @ x.transpose(1, 2)).softmax(-1) @ x) @ model.p
        return x

    model = Net(forward, first=nn.Linear(6, 6), p=nn.Parameter(torch.randn(6, 6) * 0.3))
    report = convert_(model, Plan(), torch.randn(2, 4, 6))
    lines = [line.split("  ")[0] for line in str(report).splitlines()]
    assert lines[2:6] == ["first", "qk x 32", "av x 32", "p_product x 32"]
    assert "32 x 144" in str(report).splitlines()[5]
    assert len(report.rows) == 1 + 3 * 32
    assert report["p_product32"].macs == 144


@pytest.mark.parametrize(
    "multiply",
    [
        lambda m, x: m @ x,
        lambda m, x: torch.einsum("lm,bmd->bld", m, x),
        lambda m, x: torch.einsum("bmd,lm->bld", x, m),
        lambda m, x: torch.einsum("lm,bmd->bdl", m, x).transpose(1, 2),
        lambda m, x: F.linear(x.transpose(1, 2), m).transpose(1, 2),
    ],
)
def test_a_matrix_on_the_left_is_on_the_macro(multiply: Callable[[Tensor, Tensor], Tensor]) -> None:
    torch.manual_seed(0)
    parts = {"first": nn.Linear(6, 5), "m": nn.Parameter(torch.randn(7, 4))}
    model, x = Net(lambda model, x: multiply(model.m, model.first(x)), **parts), torch.randn(3, 4, 6)
    with torch.no_grad():
        expected = multiply(model.m, model.first(x))
    report = convert_(model.eval(), Plan(MacroConfig(8, 8, random_noise=0.01)), x)
    assert [(row.name, row.macs) for row in report.on_macro] == [("m_product", 140)]
    calibrate_(model, [x])
    with torch.no_grad(), noise_context(sample_ids=[3, 4, 5]):
        together = model(x)
    with torch.no_grad(), noise_context(sample_ids=[4]):
        assert torch.equal(model(x[1:2]), together[1:2])
    assert 0 < relative(together, expected) < 0.2


def test_a_second_operand_without_batch_stays_float() -> None:
    def forward(model: Any, x: Tensor) -> Tensor:
        y = model.first(x)
        return y @ y.mean(0).outer(y.mean(0))

    report = convert_(Net(forward, first=nn.Linear(4, 4)), Plan(), torch.randn(3, 4))
    assert report["fixed_product"].why_kept == "second operand depends on the image and has no batch axis"


def test_a_failed_conversion_leaves_torchs_attention_as_it_was() -> None:
    vit = torchvisions_vit()
    with pytest.raises(ValueError, match=r"plan.keep"):
        convert_(vit, Plan(keep=["nothing*"]))
    assert type(vit.encoder.layers[0].self_attention) is nn.MultiheadAttention


@pytest.mark.parametrize(
    ("name", "kwargs"),
    [
        ("resnet10t", NARROW),
        ("swin_tiny_patch4_window7_224", SWIN),
        ("cait_xxs24_224", {"depth": 1, "img_size": 32, "embed_dim": 48, "num_heads": 3}),
        pytest.param("xcit_nano_12_p16_224", {"depth": 1}, marks=pytest.mark.slow),
        pytest.param("efficientvit_b0", {}, marks=pytest.mark.slow),
        pytest.param("mobilevit_xxs", {}, marks=pytest.mark.slow),
    ],
)
def test_an_image_gets_the_same_noise_alone_in_a_batch_and_with_more_threads(
    name: str, kwargs: dict[str, Any], set_threads: Callable[[int], None]
) -> None:
    model, _ = built(Network(name, 32, kwargs))
    x = torch.randn(4, 3, 32, 32)
    convert_(model, Plan(MacroConfig(4, 5, random_noise=1)), x)
    calibrate_(model, [x])

    def answer(numbers: list[int], trial: int = 0) -> Tensor:
        with torch.no_grad(), noise_context(seed=3, trial=trial, sample_ids=[[7, 1, 9, 4][i] for i in numbers]):
            return model(x[numbers])

    set_threads(1)
    together = answer([0, 1, 2, 3])
    set_threads(2)
    pair, alone, other = answer([3, 2]), answer([2]), answer([2, 3], trial=1)
    set_fidelity_(model, "quantized")
    moved = float((other - answer([2, 3])).abs().max())
    assert moved > 0
    assert float((pair.flip(0) - together[2:]).abs().max()) < 0.02 * moved
    assert float((alone - together[[2]]).abs().max()) < 0.02 * moved
