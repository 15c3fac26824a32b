"""A layer quantises its weight once, and anew after every change."""

import copy
import pickle
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from asim_lightning.circuit import MacroConfig
from asim_lightning.engine import Conv2dProduct, MatmulProduct, noise_context
from asim_lightning.nn import Assignment, CimConv2d, CimLinear, CimMatmul, QuantConv2d
from asim_lightning.quant import quantize, weight_scale

EXACT = MacroConfig()
LOSSY = MacroConfig(5, 5, rows=20, adc_bits=5)
LAYERS: dict[str, Callable[[], Any]] = {
    "conv": lambda: CimConv2d(6, 8, 3, padding=1, macro=EXACT),
    "lossy conv": lambda: CimConv2d(6, 8, 3, macro=LOSSY),
    "kernel as large as its input": lambda: CimConv2d(6, 8, 5, macro=EXACT),
    "digital": lambda: QuantConv2d(6, 8, 3),
    "linear": lambda: CimLinear(6, 8, macro=EXACT),
}


def batch(layer: nn.Module) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.rand((3, 6) if isinstance(layer, CimLinear) else (3, 6, 5, 5), generator=generator)


def answer(layer: Any) -> Tensor:
    """The layer's answer, which must be that of a layer that never saw another weight."""
    fresh = copy.deepcopy(layer)
    with torch.no_grad():
        y = layer(batch(layer))
        assert torch.equal(y, fresh(batch(layer)))
    return y


@pytest.fixture(params=LAYERS)
def layer(request: Any) -> Any:
    torch.manual_seed(0)
    return LAYERS[request.param]().eval()


def test_a_layer_is_prepared_once_while_its_weight_is_unchanged(layer: Any, programs: list[Any]) -> None:
    for _ in range(3):
        layer(batch(layer))
    with torch.inference_mode():
        layer(batch(layer))
    assert len(programs) == 1
    integers = quantize(layer.weight, weight_scale(layer.weight, False), layer.weight_bits, True)
    assert torch.equal(programs[0].w.flatten(), integers.flatten())
    with torch.no_grad():
        layer.weight.add_(1.0)
    layer(batch(layer))
    assert len(programs) == 2


def test_a_network_made_in_inference_mode_is_prepared_once(programs: list[Any]) -> None:
    for make in LAYERS.values():
        with torch.inference_mode():
            layer = make().eval()
        programs.clear()
        for _ in range(2):
            layer(batch(layer))
            with torch.inference_mode():
                before = layer(batch(layer))
        assert len(programs) == 1
        with torch.inference_mode():
            layer.weight.mul_(-1.0)
            assert not torch.equal(layer(batch(layer)), before)
            layer.weight.view(-1)[7] = 50.0  # a single number, which nobody counts
            layer.refresh()
            assert torch.equal(answer(layer), layer(batch(layer)))
        assert len(programs) >= 3


def stepped(layer: Any, in_training: bool = False) -> None:
    layer.train(in_training)
    layer.weight.grad = torch.randn_like(layer.weight)
    torch.optim.Adam([layer.weight], 0.5, fused=True).step()  # which torch does not count
    layer.eval()


def load(layer: Any, assign: bool = False) -> None:
    state = {name: torch.randn_like(value) for name, value in layer.state_dict().items()}
    layer.load_state_dict(state, assign=assign)


CHANGES: dict[str, Callable[[Any], object]] = {
    "fused step": stepped,
    "step in training": lambda layer: stepped(layer, in_training=True),
    "load": load,
    "assign": lambda layer: load(layer, assign=True),
    "edit data": lambda layer: layer.weight.data.mul_(torch.randn_like(layer.weight)),
    "replace data": lambda layer: setattr(layer.weight, "data", torch.randn_like(layer.weight)),
    "new parameter": lambda layer: setattr(layer, "weight", nn.Parameter(torch.randn_like(layer.weight))),
    "one number": lambda layer: layer.weight.detach().view(-1)[7].fill_(5.0),
    "bias": lambda layer: layer.bias.data.add_(1.0),
    "range": lambda layer: layer.store_range(0.4),
    "per channel": lambda layer: setattr(layer, "per_channel", True),
    "half": lambda layer: layer.to(torch.bfloat16).to(torch.float32),
    "fewer bits": lambda layer: setattr(layer, "assignment", Assignment(EXACT, rule={"weight_bits": 3})),
}


@pytest.mark.parametrize("change", CHANGES)
def test_every_change_is_seen(layer: Any, change: str) -> None:
    before = answer(layer)
    CHANGES[change](layer)
    assert not torch.equal(answer(layer), before)


def test_copies_and_pickles_have_their_own(layer: Any) -> None:
    before = answer(layer)
    names = list(layer.state_dict())
    for other in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        assert torch.equal(answer(other), before)
        with torch.no_grad():
            other.weight.mul_(-1.0)
        assert not torch.equal(answer(other), before)
    assert torch.equal(answer(layer), before)
    assert list(layer.state_dict()) == names
    layer.train()
    assert layer._prepared._kept is None


def test_another_chip_is_seen(programs: list[Any]) -> None:
    macro = MacroConfig(column="current", column_args={"cell_sigma": 20.0})
    for layer, inputs in (
        (CimLinear(6, 8, macro=macro).eval(), (torch.rand(3, 6),)),
        (CimMatmul(macro).eval(), (torch.rand(3, 5, 6), torch.rand(3, 4, 6))),
    ):
        programs.clear()
        answers = []
        for chip in (0, 0, 1, 0):
            with noise_context(chip=chip):
                answers.append(layer(*inputs))
        assert [torch.equal(each, answers[0]) for each in answers] == [True, True, False, True]
        assert len(programs) == 3


def test_another_size_of_image_takes_a_program_of_its_own_beside_the_first(programs: list[Any]) -> None:
    layer = CimConv2d(6, 8, 5, macro=EXACT).eval()
    for size in (5, 8, 5, 8):
        layer(torch.rand(2, 6, size, size))
    assert [type(program.product) for program in programs] == [MatmulProduct, Conv2dProduct]


def test_a_weight_that_is_not_finite_is_refused_each_time(layer: Any) -> None:
    answer(layer)
    layer.weight.data[0] = float("nan")
    with torch.no_grad():
        layer.weight.mul_(1.0)
    for _ in range(2):
        with pytest.raises(ValueError, match="needs finite weights"):
            layer(batch(layer))
