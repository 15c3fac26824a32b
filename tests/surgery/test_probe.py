"""What one run of a network shows: inputs of layers that run more than once, and multiplications."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from asim_lightning import MacroConfig, Plan, convert_
from asim_lightning.surgery.flow import Flow
from asim_lightning.surgery.probe import Operand, on_example
from tests.surgery.networks import Net

BOTH = {"num_layers": 2, "bidirectional": True, "batch_first": True}


def test_what_holds_for_two_calls() -> None:
    everything, nothing = Operand("relu", True, True, True), Operand(None, False, False, False)
    for both in (everything.and_(nothing), nothing.and_(everything)):
        assert both == Operand(None, sees_image=True, is_score=False, repeats=True)
    for same in (everything, nothing):
        assert same.and_(same) == same


def test_a_size_on_which_a_network_does_not_run_is_named() -> None:
    def fails(x: Tensor) -> None:
        raise ValueError(f"not {tuple(x.shape)}")

    model = nn.Sequential(nn.Linear(8, 4))
    with pytest.raises(ValueError, match=r"ran on no common input size; .*\(not \(1, 1, 8\)\)"):
        on_example(model, None, fails)
    convert_(model, Plan(), torch.randn(2, 8))
    with pytest.raises(ValueError, match=r"^not \(1, 8\)$"):
        on_example(model, None, fails)


def test_an_lstm_and_a_bilinear_layer_have_their_multiplications_in_the_report() -> None:
    def forward(model: Any, x: Tensor) -> Tensor:
        y, _ = model.lstm(x)
        return model.head(model.pair(y[:, -1], x[:, -1]))

    model = Net(forward, lstm=nn.LSTM(8, 16, **BOTH), pair=nn.Bilinear(32, 8, 4), head=nn.Linear(4, 3)).eval()
    report = convert_(model, Plan(macro=MacroConfig()), torch.randn(2, 5, 8))
    macs = {row.name: row.macs for row in report.rows}
    weights = 2 * 64 * (8 + 16) + 2 * 64 * (32 + 16)  # of two directions: 4 gates of 16, from the input and the state
    assert macs == {"lstm": 5 * weights, "pair": 4 * 32 * 8, "head": 12}


@pytest.mark.parametrize(
    ("layer", "mode"),
    [
        (nn.LSTM(8, 16, **BOTH), 2),
        (nn.LSTM(8, 16, proj_size=4, **BOTH), 2),
        (nn.GRU(8, 16, **BOTH), 3),
        (nn.RNN(8, 16, **BOTH), 1),
    ],
)
def test_a_recurrent_layer_has_the_same_multiplications_on_cuda(layer: nn.RNNBase, mode: int) -> None:
    """cuDNN computes the whole layer in one operation; a tensor without data stands for one on CUDA."""
    x = torch.randn(2, 5, 8)
    with torch.no_grad(), Flow(x, lambda: "layer") as on_cpu:
        layer.eval()(x)
    weights: list[Tensor] = [each.detach().to("meta") for each in layer._flat_weights]
    state = torch.zeros(4, 2, layer.proj_size or 16, device="meta")
    cell = torch.zeros(4, 2, 16, device="meta") if mode == 2 else None
    with Flow(x, lambda: "layer") as on_cuda:
        torch.ops.aten._cudnn_rnn(
            x.to("meta"), weights, 4 + bool(layer.proj_size), None, state, cell, mode, 16, layer.proj_size, 2, True,
            0.0, False, True, [], None,
        )  # fmt: skip
    assert on_cuda.macs == on_cpu.macs
