"""Hadamard transforms of operands: the matrix, its blocks, the additions, and layers that transform their inputs."""

import copy
import pickle

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.linalg import hadamard as sylvester
from torch import Tensor, nn

from asim_lightning import MacroConfig
from asim_lightning.nn import CimLinear, CimMatmul, verify
from asim_lightning.nn.hadamard import Hadamard, hadamard, input_transform, largest_block, transform_inputs_


@given(st.sampled_from([(1, 1), (6, 2), (12, 4), (16, 16), (576, 64), (1536, 512)]), st.integers(0, 2**16))
def test_blocks_are_multiplied_by_the_matrix_of_sylvester(sizes: tuple[int, int], seed: int) -> None:
    width, block = sizes
    assert largest_block(width) == block
    x = torch.randn(3, width, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    expected = torch.block_diag(*[torch.tensor(sylvester(block), dtype=torch.float64)] * (width // block)) / block**0.5
    assert torch.allclose(hadamard(x, block), x @ expected, atol=1e-12)
    assert torch.allclose(hadamard(hadamard(x, block), block), x, atol=1e-12)
    assert Hadamard.additions(x) == 3 * width * (block.bit_length() - 1)


def test_a_vector_has_one_result_alone_in_a_batch_and_with_any_number_of_threads() -> None:
    x, threads = torch.randn(64, 1536), torch.get_num_threads()
    together = Hadamard()(x)
    try:
        torch.set_num_threads(1 + threads % 2)
        assert torch.equal(torch.stack([Hadamard()(each) for each in x]), together)
    finally:
        torch.set_num_threads(threads)


def product() -> tuple[nn.Module, tuple[Tensor, ...], Tensor]:
    x, w = torch.randn(2, 3, 8), torch.randn(2, 5, 8)
    return CimMatmul(MacroConfig(rows=4), name="qk"), (x, w), x @ w.transpose(-1, -2)


def linear() -> tuple[nn.Module, tuple[Tensor, ...], Tensor]:
    float_layer, x = nn.Linear(8, 5), torch.randn(2, 3, 8)
    expected = float_layer(x).detach()
    float_layer.weight.data = hadamard(float_layer.weight.data, 8)
    return CimLinear.from_float(float_layer, MacroConfig(rows=4), True, "batch", True, "down"), (x,), expected


@pytest.mark.parametrize("make", [product, linear])
def test_a_product_of_transformed_operands_is_the_same_product(make) -> None:  # type: ignore[no-untyped-def]
    torch.manual_seed(0)
    layer, inputs, expected = make()
    undo = transform_inputs_(layer)
    layer.eval().fidelity = "float"
    with torch.no_grad():
        assert torch.allclose(layer(*inputs), expected, atol=1e-5)
        layer.fidelity = "simulated"
        y = layer(*inputs)
        assert 0 < float((y - expected).abs().max()) < 0.05 * float(expected.abs().max())
        assert torch.equal(copy.deepcopy(layer)(*inputs), y)
        assert torch.equal(pickle.loads(pickle.dumps(layer))(*inputs), y)
        assert all(check.ok for check in verify(layer, *inputs).comparisons)
    undo()
    assert input_transform(layer) is None
    assert not layer._forward_pre_hooks
