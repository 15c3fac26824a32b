"""Multiplications that are counted while a network runs."""

import pytest
import torch
from torch import Tensor, nn

from asim_lightning.surgery.flow import Flow

BOTH = {"num_layers": 2, "bidirectional": True, "batch_first": True}


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
