"""What one run of a network shows of the inputs of a layer that runs more than once."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from asim_lightning import MacroConfig, Plan, convert_
from asim_lightning.surgery.probe import Operand, on_example
from tests.surgery.networks import Net

RELU = "relu"


@pytest.mark.parametrize(
    ("field", "one", "other", "both"),
    [
        ("sees_image", True, False, True),
        ("sees_image", False, False, False),
        ("repeats", True, False, True),
        ("repeats", False, False, False),
        ("is_score", True, True, True),
        ("is_score", True, False, False),
        ("origin", RELU, None, None),
        ("origin", RELU, RELU, RELU),
    ],
)
def test_what_holds_for_two_calls(field: str, one: Any, other: Any, both: Any) -> None:
    first, second = Operand(**{field: one}), Operand(**{field: other})
    assert getattr(first.and_(second), field) is both
    assert getattr(second.and_(first), field) is both


def test_a_size_on_which_a_network_does_not_run_is_named() -> None:
    def fails(x: Tensor) -> None:
        raise ValueError(f"not {tuple(x.shape)}")

    model = nn.Sequential(nn.Linear(8, 4))
    with pytest.raises(ValueError, match=r"ran on no common input size; .*\(not \(1, 1, 8\)\)"):
        on_example(model, None, fails)
    convert_(model, Plan(), torch.randn(2, 8))
    with pytest.raises(ValueError, match=r"did not run on \(1, 8\), the shape of its input; .*\(not \(1, 8\)\)"):
        on_example(model, None, fails)


def test_an_lstm_and_a_bilinear_layer_have_their_multiplications_in_the_report() -> None:
    def forward(model: Any, x: Tensor) -> Tensor:
        y, _ = model.lstm(x)
        return model.head(model.pair(y[:, -1], x[:, -1]))

    lstm = nn.LSTM(8, 16, num_layers=2, bidirectional=True, batch_first=True)
    model = Net(forward, lstm=lstm, pair=nn.Bilinear(32, 8, 4), head=nn.Linear(4, 3)).eval()
    report = convert_(model, Plan(macro=MacroConfig()), torch.randn(2, 5, 8))
    macs = {row.name: row.macs for row in report.rows}
    weights = 2 * 64 * (8 + 16) + 2 * 64 * (32 + 16)  # of two directions: 4 gates of 16, from the input and the state
    assert macs == {"lstm": 5 * weights, "pair": 4 * 32 * 8, "head": 12}
