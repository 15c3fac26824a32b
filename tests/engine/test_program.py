"""Programs of all engines, called as layers call them."""

from typing import Any

import pytest
import torch

from asim_lightning.circuit import MacroConfig, transfer
from asim_lightning.engine import ENGINES, Product, Quantizer, Weights
from tests.engine.products import PRODUCTS, noise_of

MACROS: dict[str, dict[str, Any]] = {
    "exact": {},
    "events": {"random_noise": 0.05},
    "native": {"random_noise": 0.2},
    "reference": {"random_noise": 0.2},
}
SHAPES = {
    "convolution": ((0, 6, 5, 4), (4, 3, 3, 2), (0, 4, 3, 6)),
    "linear": ((0, 7), (5, 7), (0, 5)),
    "attention": ((0, 2, 3, 7), (0, 2, 4, 7), (0, 2, 3, 4)),
}


class Layer:
    """A layer that takes all values."""

    def check_values(self, x: torch.Tensor) -> None:
        """Refuse nothing."""


@pytest.mark.parametrize("engine", MACROS)
@pytest.mark.parametrize(("kind", "product"), PRODUCTS.items(), ids=PRODUCTS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_an_empty_batch_has_an_empty_output(engine: str, kind: str, product: Product, dtype: torch.dtype) -> None:
    circuit = transfer(MacroConfig(**MACROS[engine]), False)
    assert ENGINES[engine].refuses(circuit) is None
    x, w, expected = SHAPES[kind]
    program = ENGINES[engine].prepare(product, circuit, Weights(torch.zeros(w)))
    quantizer = Quantizer(torch.tensor(1.0), circuit.macro.input_bits, circuit.signed_input, Layer())
    bias = torch.zeros(4 if kind == "convolution" else w[-2])
    y = program(torch.zeros(x, dtype=dtype), quantizer, torch.tensor(0.1), bias, noise_of(0))
    assert (y.shape, y.dtype) == (expected, dtype)
