"""Networks that do more than they seem to: converted for real, kept float with a reason, or refused by name."""

import threading
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
from tests.conftest import relative
from tests.surgery.networks import IDEAL

COARSE = MacroConfig(3, 3, adc_bits=3)


class Attend(nn.Module):
    """Attention by functions, with whatever a test puts before its products."""

    def __init__(self, before: Any = lambda x: x, inner: bool = False) -> None:
        super().__init__()
        self.first, self.head = nn.Linear(6, 6), nn.Linear(6, 4)
        self.p = nn.Parameter(torch.randn(6, 6))
        self.before, self.inner = before, inner

    def forward(self, x: Tensor) -> Tensor:
        x = self.before(self.first(x.flatten(2).transpose(1, 2)))
        if self.inner:
            x = checkpoint(lambda y: y @ self.p, x, use_reentrant=False)
        return self.head(((x @ x.transpose(1, 2)).softmax(-1) @ x).mean(1))


def images() -> Tensor:
    return torch.randn(3, 6, 2, 2)


def converted(model: nn.Module, x: Tensor, **plan: Any) -> float:
    """How far a network is from its float output on ideal macros."""
    model.eval()
    with torch.no_grad():
        expected = model(x)
        convert_(model, Plan(IDEAL, **plan), x)
        calibrate_(model, [x])
        return relative(model(x), expected)


@pytest.mark.parametrize("stop", [KeyboardInterrupt, SystemExit, RuntimeError])
@pytest.mark.parametrize("inside", [False, True])
def test_whatever_stops_a_forward_leaves_nothing_on(stop: type[BaseException], inside: bool) -> None:
    stops: list[bool] = []

    def before(x: Tensor) -> Tensor:
        if stops:
            raise stop
        return x

    model, x = Attend(before), images()
    assert converted(model, x) < 1e-2
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
    model, x = Attend().eval(), images()
    convert_(model, Plan(MacroConfig()), x)
    calibrate_(model, [x])
    with torch.no_grad():
        expected, wrong = model(x), []

        def run() -> None:
            for _ in range(10):
                with torch.no_grad():
                    try:
                        if not torch.equal(model(x), expected):
                            wrong.append("differs")
                    except ValueError as error:
                        wrong.append(str(error))

        threads = [threading.Thread(target=run) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert not wrong


@pytest.mark.parametrize("what", ["hook", "pre-hook", "forward"])
def test_an_attention_with_hooks_or_another_forward_computes_what_it_did(what: str) -> None:
    torch.manual_seed(0)
    attention = Attention(8, num_heads=2)
    if what == "hook":
        attention.register_forward_hook(lambda module, inputs, output: 3 * output)
    if what == "pre-hook":
        attention.register_forward_pre_hook(lambda module, inputs: (3 * inputs[0],))
    if what == "forward":
        own = attention.forward
        attention.forward = lambda x: 3 * own(x)
    model, x = nn.Sequential(nn.Linear(8, 8), attention, nn.Linear(8, 3)), torch.randn(2, 5, 8)
    assert converted(model, x) < 1e-2
    assert type(model[1]) is not CimAttention
    assert isinstance(model[1].qk, CimMatmul)


def test_torchs_attention_with_hooks_is_refused() -> None:
    model = nn.TransformerEncoderLayer(16, 2, batch_first=True)
    model.self_attn.register_forward_hook(lambda module, inputs, output: output)
    with pytest.raises(ValueError, match="`self_attn` has forward hooks or a forward of its own"):
        convert_(nn.Sequential(nn.Linear(16, 16), model)[1], Plan(), torch.randn(1, 3, 16))


def test_a_subclass_that_is_called_in_its_own_way_is_refused() -> None:
    class Gate(nn.Linear):
        def __call__(self, x: Tensor) -> Tensor:
            return 3 * super().__call__(x)

    with pytest.raises(ValueError, match="`1` is a Gate, which surgery does not know"):
        convert_(nn.Sequential(nn.Linear(4, 4), Gate(4, 4)), Plan())


class Experts(nn.Module):
    """Linear layers used by functions, in an order that the data decides."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(4, 4)
        self.experts = nn.ModuleList(nn.Linear(4, 4) for _ in range(2))

    def forward(self, x: Tensor) -> Tensor:
        y = self.first(x)
        for expert in self.experts if float(x.sum()) > 0 else reversed(self.experts):
            y = F.linear(y, expert.weight, expert.bias).tanh()
        return y


def test_products_in_an_order_that_the_data_decides_are_refused() -> None:
    with pytest.raises(ValueError, match="`the network` does not make the same products in every call"):
        convert_(Experts(), Plan(), torch.rand(2, 4))


class Aliased(nn.Module):
    """A layer that is called under a name that no module has."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(4, 4), nn.Linear(4, 4)
        self.others = [self.second]

    def forward(self, x: Tensor) -> Tensor:
        return self.second(self.first(x)) + self.others[0](x)


def test_a_layer_that_is_also_called_past_its_name_is_refused() -> None:
    model = Aliased()
    with pytest.raises(ValueError, match=r"`second` was called 2 times before its conversion and is called 1 times"):
        convert_(model, Plan(), torch.randn(2, 4))
    assert type(model.second) is nn.Linear


class LooksAtClasses(nn.Module):
    """A network that calls a layer of another class once more, for nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(4, 4), nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        if type(self.second) is not nn.Linear:
            self.second(x)
        return self.second(x)


def test_a_layer_that_is_called_once_more_when_it_is_converted_is_refused() -> None:
    model = LooksAtClasses()
    with pytest.raises(ValueError, match=r"`second` was called 1 times before its conversion and is called 2 times"):
        convert_(model, Plan(), torch.randn(2, 4))
    assert type(model.second) is nn.Linear


class ScalesWhatIsConverted(LooksAtClasses):
    """A network that answers a few percent more where a layer is of another class."""

    def forward(self, x: Tensor) -> Tensor:
        return self.second(self.first(x)) * (1.0 if type(self.second) is nn.Linear else 1.03)


def test_a_network_that_answers_something_else_converted_is_refused() -> None:
    model = ScalesWhatIsConverted()
    with pytest.raises(ValueError, match=r"computes something else in float \(relative difference 0\.03\)"):
        convert_(model, Plan(), torch.randn(2, 4))
    assert type(model.second) is nn.Linear


def test_products_of_a_checkpointed_function_are_refused_in_training() -> None:
    model, x = Attend(inner=True), images()
    convert_(model, Plan(COARSE), x)
    model.train()
    with pytest.raises(ValueError, match="makes products in a function that checkpoints activations"):
        model(x.requires_grad_())


def test_a_network_in_parts_keeps_its_later_layers_on_macros() -> None:
    model, x = (
        nn.Sequential(nn.Sequential(nn.Linear(4, 4), nn.ReLU()), nn.Linear(4, 4), nn.Linear(4, 3)),
        torch.randn(2, 4),
    )
    convert_(model[0], Plan(COARSE), x)
    report = convert_(model, Plan(COARSE), x)
    assert [row.name for row in report.on_macro] == ["1", "2"]
    assert report["0.0"].why_kept == "converted before"
    assert model[0][0].fidelity == "simulated"


def test_statistics_of_the_batch_do_not_take_layers_off_their_macros() -> None:
    norm = nn.BatchNorm2d(8, track_running_stats=False)
    model = nn.Sequential(nn.Conv2d(3, 8, 3), norm, nn.ReLU(), nn.Conv2d(8, 8, 3), nn.Flatten(), nn.Linear(128, 3))
    report = convert_(model, Plan(), torch.randn(2, 3, 8, 8))
    assert [row.name for row in report.on_macro] == ["3", "5"]


def test_multiplications_are_counted_in_inference_mode() -> None:
    model, x = Attend().eval(), images()
    with torch.inference_mode():
        report = convert_(model, Plan(), x)
    assert [row.macs for row in report] == [4 * 36, 4 * 4 * 6, 4 * 4 * 6, 24]


class Heads(nn.Module):
    """Heads that are written into one tensor."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.head = nn.Linear(6, 6), nn.Linear(12, 3)

    def forward(self, x: Tensor) -> Tensor:
        y = torch.zeros(x.shape[0], 2, 6)
        y[:, 0] = torch.relu(self.first(x))
        y[:, 1].copy_(x)
        return self.head(y.flatten(1))


def test_what_is_written_into_parts_of_a_tensor_sees_the_image() -> None:
    report = convert_(Heads(), Plan(), torch.randn(4, 6))
    assert [(row.name, row.macs) for row in report] == [("first", 36), ("head", 36)]
    assert report["head"].input.startswith("signed")
    assert len(report.on_macro) == 2


def test_a_linear_patch_embedding_is_a_stem() -> None:
    for stem, kept in (("published", "patch embedding"), ("float", "plan.stem"), ("macro", "")):
        model = nn.Sequential(nn.Linear(12, 8), nn.ReLU(), nn.Linear(8, 3))
        report = convert_(model, Plan(stem=stem), torch.randn(2, 16, 12))
        assert (report["0"].kind, report["0"].why_kept) == ("stem", kept)
    with pytest.raises(
        ValueError, match=r"Layer `0`: `plan.stem` must be published, float or macro where the first layer is a Linear"
    ):
        convert_(nn.Sequential(nn.Linear(12, 8), nn.Linear(8, 3)), Plan(stem="quantized"), torch.randn(2, 16, 12))


def test_a_forward_may_write_into_its_input_and_draw_numbers() -> None:
    for before in (lambda x: x.mul_(2.0), lambda x: x + torch.rand_like(x)):
        model = Attend(before).eval()
        convert_(model, Plan(), images())
        assert isinstance(model.qk, CimMatmul)


class Tied(nn.Module):
    """An embedding whose weight a layer has too."""

    def __init__(self, uses_head: bool) -> None:
        super().__init__()
        self.first, self.embedding, self.head = nn.Linear(4, 4), nn.Embedding(3, 4), nn.Linear(4, 3, bias=False)
        self.head.weight = self.embedding.weight
        self.uses_head = uses_head

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        return self.head(x) if self.uses_head else F.linear(x, self.embedding.weight)


@pytest.mark.parametrize("uses_head", [True, False])
def test_a_tied_weight_goes_to_the_layer_that_has_it(uses_head: bool) -> None:
    model, x = Tied(uses_head), torch.randn(2, 4)
    assert converted(model, x) < 1e-2
    assert isinstance(model.head, CimLinear)


def test_a_weight_of_a_layer_elsewhere_is_refused_unless_kept() -> None:
    class Decoder(nn.Module):
        def __init__(self, encoder: nn.Linear) -> None:
            super().__init__()
            self.encoder = [encoder]

        def forward(self, x: Tensor) -> Tensor:
            return F.linear(x, self.encoder[0].weight)

    encoder = nn.Linear(4, 4)
    with pytest.raises(ValueError, match="`1` uses the weight of `0`, which is no part of it"):
        convert_(nn.Sequential(encoder, Decoder(encoder), nn.Linear(4, 2)), Plan(), torch.randn(2, 4))
    model = nn.Sequential(encoder, Decoder(encoder), nn.Linear(4, 2))
    assert converted(model, torch.randn(2, 4), keep=["0"]) < 1e-2


def test_a_loop_over_images_is_refused_unless_kept() -> None:
    class Loop(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.p = nn.Linear(4, 4), nn.Parameter(torch.randn(4, 2))

        def forward(self, x: Tensor) -> Tensor:
            return torch.stack([each @ self.p for each in self.first(x)])

    with pytest.raises(ValueError, match="does not make the same products in every call and for every batch"):
        convert_(Loop(), Plan(), torch.randn(3, 5, 4))
    assert converted(Loop(), torch.randn(3, 5, 4), keep=["p_product*"], stem="macro") < 1e-2


def test_an_input_as_a_keyword_is_refused_by_name() -> None:
    class Keyword(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a = nn.Linear(4, 4)

        def forward(self, x: Tensor) -> Tensor:
            return self.a(input=x)

    with pytest.raises(ValueError, match="`a` is called with its input as a keyword"):
        convert_(Keyword(), Plan(), torch.randn(2, 4))


def test_modes_of_parts_stay_as_they_were() -> None:
    model = timm.create_model("vit_tiny_patch16_224", img_size=32, depth=1).train()
    model.blocks[0].attn.attn_drop.eval()
    convert_(model, Plan())
    assert not model.blocks[0].attn.attn_drop.training
    assert model.blocks[0].attn.training
    assert model.blocks[0].attn.qk.training


def test_talking_heads_in_the_network_itself_and_a_gate() -> None:
    class Talking(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.talk, self.gate = nn.Linear(6, 6), nn.Linear(2, 2), nn.Linear(6, 6)

        def forward(self, x: Tensor) -> Tensor:
            x = self.first(x)
            heads = x.unflatten(-1, (2, 3)).transpose(1, 2)
            scores = self.talk((heads @ heads.transpose(-1, -2)).movedim(1, -1)).movedim(-1, 1).softmax(-1)
            y = (scores @ heads).transpose(1, 2).flatten(2)
            y = y * self.gate(x).softmax(-1)
            return y @ y.transpose(1, 2)

    report = convert_(Talking(), Plan(), torch.randn(2, 4, 6))
    assert {row.name: row.kind for row in report if "product" in row.before} == {
        "qk": "qk", "av": "av", "matmul": "matmul",
    }  # fmt: skip


def test_a_number_beside_nan_is_arelative_difference() -> None:
    x = torch.tensor([1.0, 2.0, torch.inf])
    assert relative_difference(x, x) == 0.0
    for other in (torch.tensor([torch.nan, 2.0, torch.inf]), torch.tensor([1.0, 2.0, 3.0]), x[:2]):
        assert relative_difference(other, x) == relative_difference(x, other) == torch.inf
