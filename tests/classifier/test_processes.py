"""Input ranges that processes fitted to different images, as each of them gets them."""

from collections.abc import Mapping

import pytest
import torch

from asim_lightning import MacroConfig
from asim_lightning.classifier.processes import common_ranges, fitted_ranges, store_ranges, synchronize_ranges
from asim_lightning.nn import CimMatmul
from tests.classifier.conftest import make_model


def test_one_process_changes_nothing() -> None:
    model = make_model()
    model.calibrate([torch.randn(4, 1, 28, 28)])
    before = fitted_ranges(model.backbone)
    for method in ("max", "mse"):
        synchronize_ranges(model, method)
    assert fitted_ranges(model.backbone) == before


@pytest.mark.parametrize(
    ("method", "others", "expected"),
    [
        ("max", {"a.input_max": 3.0, "a.weight_max": 4.0}, {"a.input_max": 3.0, "a.weight_max": 5.0}),
        ("mse", {"a.input_max": 3.0, "a.weight_max": 4.0}, {"a.input_max": 2.0, "a.weight_max": 5.0}),
        ("max", {}, {"a.input_max": 2.0, "a.weight_max": 5.0}),  # has reached no layer
        ("mse", {"b.input_max": 1.0}, {"a.input_max": 2.0, "a.weight_max": 5.0, "b.input_max": 1.0}),
    ],
)
def test_both_operands_of_products_are_shared(
    method: str, others: Mapping[str, float], expected: Mapping[str, float]
) -> None:
    network = torch.nn.ModuleDict({name: CimMatmul(MacroConfig(), input_range="calibrated") for name in "ab"})
    network["a"].store_range(2.0)
    network["a"].store_range(5.0, "weight_max")
    store_ranges(network, common_ranges([fitted_ranges(network), others], method))
    assert fitted_ranges(network) == expected
    assert network["b"].has_range == ("b.input_max" in expected)
