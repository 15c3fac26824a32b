"""Layers with one conversion for all bits agree with aihwkit-lightning 2.1.0, whose outputs are golden data."""

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.conftest import relative
from tests.nn.aihwkit_cases import CASES, GOLDEN, ours


def golden(name: str) -> dict[str, Tensor | None]:
    with np.load(GOLDEN) as data:
        return {key: torch.tensor(data[f"{name}/{key}"]).float() if f"{name}/{key}" in data else None
                for key in ("weight", "bias", "x", "y")}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_outputs_are_those_of_aihwkit_lightning(name: str) -> None:
    data = golden(name)
    layer = ours(CASES[name], data["weight"], data["bias"])
    with torch.no_grad():
        assert relative(layer(data["x"]), data["y"]) <= 1e-5


def test_layers_use_their_adc() -> None:
    """Otherwise the comparison would only show that both packages multiply."""
    for name in ("linear, bound 3", "conv, unsigned"):
        data, case = golden(name), CASES[name]
        layer = ours(case, data["weight"], data["bias"])
        with torch.no_grad():
            simulated = layer(data["x"])
            layer.fidelity = "quantized"
            assert relative(simulated, layer(data["x"])) > 0.01
