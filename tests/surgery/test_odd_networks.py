"""Networks that do more than they seem to: converted for real, kept float with a reason, or refused by name."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import timm
import torch
import torch.nn.functional as F
from timm.layers import Attention
from torch import Tensor, nn
from torch.overrides import _get_current_function_mode_stack
from torch.utils.checkpoint import checkpoint

from asim_lightning import MacroConfig, Plan, calibrate_, convert_
from asim_lightning.nn import CimAttention, CimLinear, CimMatmul
from asim_lightning.surgery.watch import relative_difference
from tests.surgery.networks import VIT, Net, distance, doubled

COARSE = MacroConfig(3, 3, adc_bits=3)


def attention(before: Any = lambda x: x, inner: Any = lambda model, x: x) -> Net:
    """Attention by functions, with whatever a test puts before its products."""

    def forward(model: Any, x: Tensor) -> Tensor:
        x = inner(model, before(model.first(x.flatten(2).transpose(1, 2))))
        return model.head(((x @ x.transpose(1, 2)).softmax(-1) @ x).mean(1))

    return Net(forward, first=nn.Linear(6, 6), head=nn.Linear(6, 4), p=nn.Parameter(torch.randn(6, 6)))


def images() -> Tensor:
    return torch.randn(3, 6, 2, 2)


@pytest.mark.parametrize("stop", [KeyboardInterrupt, SystemExit, RuntimeError])
@pytest.mark.parametrize("inside", [False, True])
def test_whatever_stops_a_forward_leaves_nothing_on(stop: type[BaseException], inside: bool) -> None:
    stops: list[bool] = []

    def before(x: Tensor) -> Tensor:
        if stops:
            raise stop
        return x

    model, x = attention(before), images()
    assert distance(model, x)[0] < 1e-2
    if inside:
        model.first.register_forward_pre_hook(lambda module, inputs: (before(inputs[0]),))
    stops.append(True)
    with pytest.raises(stop):
        model(x)
    assert not _get_current_function_mode_stack()
    stops.clear()
    a = torch.randn(3, 3)
    assert torch.equal(a @ a, torch.mm(a, a))
    model(x)


def test_threads_do_not_take_each_others_products() -> None:
    model, x = attention().eval(), images()
    convert_(model, Plan(MacroConfig()), x)
    calibrate_(model, [x])
    expected = model(x)
    with ThreadPoolExecutor(3) as threads:
        assert all(torch.equal(found, expected) for found in threads.map(model, [x] * 30))


@pytest.mark.parametrize(
    "change",
    [
        doubled,
        lambda attention: attention.register_forward_pre_hook(lambda module, inputs: (3 * inputs[0],)),
        lambda attention: setattr(attention, "forward", lambda x: 3 * Attention.forward(attention, x)),
    ],
)
def test_an_attention_with_hooks_or_another_forward_computes_what_it_did(change: Callable[[nn.Module], None]) -> None:
    torch.manual_seed(0)
    attention = Attention(8, num_heads=2)
    change(attention)
    model, x = nn.Sequential(nn.Linear(8, 8), attention, nn.Linear(8, 3)), torch.randn(2, 5, 8)
    assert distance(model, x)[0] < 1e-2
    assert type(model[1]) is not CimAttention
    assert isinstance(model[1].qk, CimMatmul)


def elsewhere() -> nn.Module:
    """A module that uses the weight of another module's layer."""
    encoder = nn.Linear(4, 4)
    return nn.Sequential(encoder, Net(lambda _, x: F.linear(x, encoder.weight)), nn.Linear(4, 2))


def loop() -> nn.Module:
    """A product for each image."""
    parts = {"first": nn.Linear(4, 4), "p": nn.Parameter(torch.randn(4, 2))}
    return Net(lambda model, x: torch.stack([each @ model.p for each in model.first(x)]), **parts)


class Gate(nn.Linear):
    """A layer that is called in its own way."""

    def __call__(self, x: Tensor) -> Tensor:
        return 3 * super().__call__(x)


def two(forward: Callable[[Any, Tensor], Tensor]) -> nn.Module:
    model = Net(forward, first=nn.Linear(4, 4), second=nn.Linear(4, 4))
    model.others = [model.second]
    return model


def in_an_order_of_the_data(model: Any, x: Tensor) -> Tensor:
    for layer in (model.first, model.second) if float(x.min()) > 0 else (model.second, model.first):
        x = F.linear(x, layer.weight, layer.bias).tanh()
    return model.first(x)


def is_float(model: Any) -> bool:
    return type(model.second) is nn.Linear


REFUSED: dict[str, tuple[Callable[[], nn.Module], str]] = {
    "torch's attention with hooks": (
        lambda: nn.Sequential(doubled(nn.MultiheadAttention(4, 2))), "`0` has forward hooks or a forward of its own",
    ),
    "called in its own way": (
        lambda: nn.Sequential(nn.Linear(4, 4), Gate(4, 4)), "`1` is a Gate, which surgery does not know",
    ),
    "an order that the data decides": (
        lambda: two(in_an_order_of_the_data), "`the network` does not make the same products in every call",
    ),
    "called past its name": (
        lambda: two(lambda model, x: model.second(model.first(x)) + model.others[0](x)),
        r"`second` was called 2 times before its conversion and is called 1 times",
    ),
    "called once more": (
        lambda: two(lambda model, x: model.second(model.first(x) if is_float(model) else model.second(model.first(x)))),
        r"`second` was called 1 times before its conversion and is called 2 times",
    ),
    "something else": (
        lambda: two(lambda model, x: model.second(model.first(x)) * (1.0 if is_float(model) else 1.03)),
        r"computes something else in float \(relative difference 0\.03\)",
    ),
    "input as a keyword": (
        lambda: two(lambda model, x: model.second(input=model.first(x))), "`second` is called with its input as a key",
    ),
    "a weight of a layer elsewhere": (elsewhere, "`1` uses the weight of `0`, which is outside it"),
}  # fmt: skip


@pytest.mark.parametrize(("make", "message"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_followed_is_refused_and_stays(make: Callable[[], nn.Module], message: str) -> None:
    model = make()
    before = [type(module) for module in model.modules()]
    with pytest.raises(ValueError, match=message):
        convert_(model, Plan(), torch.rand(3, 5, 4))
    assert [type(module) for module in model.modules()] == before


def test_what_is_refused_can_be_kept() -> None:
    assert distance(elsewhere(), torch.randn(2, 4), keep=["0"])[0] < 1e-2


def test_a_loop_over_images_stays_float() -> None:
    moved, report = distance(loop(), torch.randn(3, 5, 4), stem="macro")
    assert moved < 1e-2
    assert [row.name for row in report.on_macro] == ["first"]
    assert {row.why_kept for row in report.kept} == {
        "the inputs decide how many products its module makes: computed in float"
    }


def test_products_of_a_checkpointed_function_are_refused_in_training() -> None:
    model = attention(inner=lambda model, x: checkpoint(lambda y: y @ model.p, x, use_reentrant=False))
    x = images()
    convert_(model, Plan(COARSE), x)
    model.train()
    with pytest.raises(ValueError, match="makes products in a function that checkpoints activations"):
        model(x.requires_grad_())


def test_a_network_in_parts_keeps_its_later_layers_on_macros() -> None:
    inner, x = nn.Sequential(nn.Linear(4, 4), nn.ReLU()), torch.randn(2, 4)
    model = nn.Sequential(inner, nn.Linear(4, 4), nn.Linear(4, 3))
    convert_(inner, Plan(COARSE), x)
    report = convert_(model, Plan(COARSE), x)
    assert [row.name for row in report.on_macro] == ["1", "2"]
    assert report["0.0"].why_kept == "converted before"
    assert inner[0].fidelity == "simulated"


def test_statistics_of_the_batch_do_not_take_layers_off_their_macros() -> None:
    norm = nn.BatchNorm2d(8, track_running_stats=False)
    model = nn.Sequential(nn.Conv2d(3, 8, 3), norm, nn.ReLU(), nn.Conv2d(8, 8, 3), nn.Flatten(), nn.Linear(128, 3))
    report = convert_(model, Plan(), torch.randn(2, 3, 8, 8))
    assert [row.name for row in report.on_macro] == ["3", "5"]


def test_multiplications_are_counted_in_inference_mode() -> None:
    model, x = attention().eval(), images()
    with torch.inference_mode():
        report = convert_(model, Plan(), x)
    assert [row.macs for row in report] == [4 * 36, 4 * 4 * 6, 4 * 4 * 6, 24]


def test_what_is_written_into_parts_of_a_tensor_sees_the_image() -> None:
    def heads(model: Any, x: Tensor) -> Tensor:
        y = torch.zeros(x.shape[0], 2, 6)
        y[:, 0] = torch.relu(model.first(x))
        y[:, 1].copy_(x)
        return model.head(y.flatten(1))

    report = convert_(Net(heads, first=nn.Linear(6, 6), head=nn.Linear(12, 3)), Plan(), torch.randn(4, 6))
    assert [(row.name, row.macs) for row in report.on_macro] == [("first", 36), ("head", 36)]
    assert report["head"].input.startswith("signed")


def test_a_linear_patch_embedding_is_a_stem() -> None:
    x = torch.randn(2, 16, 12)
    for stem, kept in (("published", "patch embedding"), ("float", "plan.stem"), ("macro", "")):
        report = convert_(nn.Sequential(nn.Linear(12, 8), nn.ReLU(), nn.Linear(8, 3)), Plan(stem=stem), x)
        assert (report["0"].kind, report["0"].why_kept) == ("stem", kept)
    with pytest.raises(ValueError, match=r"^Layer `0`: `plan.stem` must be .* if the first layer is a Linear"):
        convert_(nn.Sequential(nn.Linear(12, 8), nn.Linear(8, 3)), Plan(stem="quantized"), x)


def test_a_forward_may_write_into_its_input_and_draw_numbers() -> None:
    for before in (lambda x: x.mul_(2.0), lambda x: x + torch.rand_like(x)):
        model = attention(before).eval()
        convert_(model, Plan(), images())
        assert isinstance(model.qk, CimMatmul)


@pytest.mark.parametrize("uses_head", [True, False])
def test_a_tied_weight_goes_to_the_layer_that_has_it(uses_head: bool) -> None:
    def forward(model: Any, x: Tensor) -> Tensor:
        x = model.first(x)
        return model.head(x) if uses_head else F.linear(x, model.embedding.weight)

    model = Net(forward, first=nn.Linear(4, 4), embedding=nn.Embedding(3, 4), head=nn.Linear(4, 3, bias=False))
    model.head.weight = model.embedding.weight
    assert distance(model, torch.randn(2, 4))[0] < 1e-2
    assert isinstance(model.head, CimLinear)


def test_modes_of_parts_stay_as_they_were() -> None:
    model = timm.create_model("vit_tiny_patch16_224", **VIT).train()
    model.blocks[0].attn.attn_drop.eval()
    convert_(model, Plan())
    assert not model.blocks[0].attn.attn_drop.training
    assert model.blocks[0].attn.training
    assert model.blocks[0].attn.qk.training


def test_talking_heads_in_the_network_itself_and_a_gate() -> None:
    def talking(model: Any, x: Tensor) -> Tensor:
        x = model.first(x)
        heads = x.unflatten(-1, (2, 3)).transpose(1, 2)
        scores = model.talk((heads @ heads.transpose(-1, -2)).movedim(1, -1)).movedim(-1, 1).softmax(-1)
        y = (scores @ heads).transpose(1, 2).flatten(2)
        y = y * model.gate(x).softmax(-1)
        return y @ y.transpose(1, 2)

    model = Net(talking, first=nn.Linear(6, 6), talk=nn.Linear(2, 2), gate=nn.Linear(6, 6))
    report = convert_(model, Plan(), torch.randn(2, 4, 6))
    assert {row.name: row.kind for row in report if "product" in row.before} == {
        "qk": "qk", "av": "av", "matmul": "matmul",
    }  # fmt: skip


def test_a_number_beside_nan_is_a_relative_difference() -> None:
    x = torch.tensor([1.0, 2.0, torch.inf])
    assert relative_difference(x, x) == 0.0
    for other in (torch.tensor([torch.nan, 2.0, torch.inf]), torch.tensor([1.0, 2.0, 3.0]), x[:2]):
        assert relative_difference(other, x) == relative_difference(x, other) == torch.inf
