"""Exact products in float32, in as few parts as the weights need."""

import pytest
import torch
from torch import Tensor

from asim_lightning.engine import Conv2dProduct, MatmulProduct, Product, float32
from asim_lightning.engine.integer import largest_sum, sum_dtype
from tests.engine.products import in_integers

CONV = Conv2dProduct((2, 1), (1, 0), (1, 2), 1)


def parts_of(product: Product, w: Tensor, signed: bool = False) -> int:
    """Number of parts, 0 where it is not computed so."""
    found = float32.float32_product(product, w, 8, signed)
    return 0 if found is None else len(found.edges) - 1


def test_what_weights_reach() -> None:
    w = torch.zeros(2, 4608)
    w[0, :2000], w[0, 2000:2600], w[1, :100] = 20.0, -30.0, 127.0
    assert (largest_sum(w, False), largest_sum(w, True)) == (40000, 58000)
    assert sum_dtype(4608, 255 * 127) is torch.int32
    assert parts_of(MatmulProduct(), w) == parts_of(MatmulProduct(), w, True) == 1


@pytest.mark.parametrize(("reached", "parts"), [(65793, 1), (65794, 2)])
def test_sums_below_the_limit_take_one_part(reached: int, parts: int) -> None:
    w = torch.full((2, 600), 100.0)
    w[1, 0] += reached - 60000
    assert (2**24 - 1) // 255 == 65793
    assert parts_of(MatmulProduct(), w) == parts
    assert parts_of(MatmulProduct(), -w) == parts


@pytest.mark.parametrize(
    ("product", "shape", "unsigned_parts", "signed_parts"),
    [
        (MatmulProduct(), (3, 2000), 4, 2),
        (MatmulProduct(), (3, 4608), 0, 5),
        (CONV, (3, 500, 2, 2), 4, 2),
        (Conv2dProduct((1, 1), (1, 1), (1, 1), 2), (4, 100, 2, 2), 1, 1),
        (Conv2dProduct((1, 1), (1, 1), (1, 1), 2), (4, 300, 2, 2), 0, 0),
    ],
)
@pytest.mark.parametrize("signed", [False, True])
def test_the_largest_products_are_exact(
    product: Product, shape: tuple[int, ...], unsigned_parts: int, signed_parts: int, signed: bool
) -> None:
    w = torch.full(shape, 127.0)
    w[1::2] = -127.0
    assert parts_of(product, w, signed) == (signed_parts if signed else unsigned_parts)
    found = float32.float32_product(product, w, 8, signed)
    if found is None:
        return
    channels = shape[1] * getattr(product, "groups", 1)
    x_shape = (5, channels) if isinstance(product, MatmulProduct) else (2, channels, 6, 5)
    x = torch.full(x_shape, 127.0 if signed else 255.0)
    x[1] = -x[1] if signed else 1.0
    for given in (x, x.contiguous(memory_format=torch.channels_last)) if x.dim() == 4 else (x,):
        sums = found.sums(given, w)
        assert sums.dtype == (torch.float32 if len(found.edges) == 2 else torch.int32)
        assert torch.equal(sums.long(), in_integers(product, x, w))


def test_products_of_two_activations_take_another_way() -> None:
    assert float32.float32_product(MatmulProduct(batched_weight=True), torch.ones(2, 3, 4), 8, False) is None


def test_batches_of_other_shapes_take_the_same_kernel_and_one_layout_is_kept() -> None:
    product, w = Conv2dProduct((1, 1), (1, 1), (1, 1), 1), torch.randint(-128, 128, (24, 40, 3, 3)).float()
    found = float32.float32_product(product, w, 8, False)
    if not found.prefers_channels_last:
        pytest.skip("this build of torch lays no weights out")
    for batch, *size in ((2, 9, 7), (2, 3, 3), (1, 32, 32), (5, 32, 32), (2, 9, 7)):
        x = torch.randint(0, 256, (batch, 40, *size)).float().contiguous(memory_format=torch.channels_last)
        sums = found.sums(x, w)
        assert torch.equal(sums.long(), in_integers(product, x, w))
        assert sums.is_contiguous(memory_format=torch.channels_last)
        assert [c._of_shape[0] for c in found.convolutions if c._of_shape] == [x.shape]


def test_a_build_of_torch_without_the_kernel_convolves_as_it_can(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(float32, "_can_prepack", lambda product, shape: False)
    for weights in (torch.ones(2, 20, 2, 2), torch.full((2, 500, 2, 2), 127.0)):
        x = torch.full((2, weights.shape[1], 6, 5), 255.0)
        found = float32.float32_product(CONV, weights, 8, False)
        assert not found.prefers_channels_last
        assert torch.equal(found.sums(x, weights).long(), in_integers(CONV, x, weights))


@pytest.mark.parametrize(("channels", "size", "stride"), [(64, 3, 2), (40, 3, 2), (16, 5, 1), (64, 1, 3), (80, 1, 1)])
@pytest.mark.parametrize("wrong", ["outputs", "samples", "rows", "channels", "missing"])
def test_a_kernel_that_is_wrong_or_not_there_is_not_used(
    channels: int, size: int, stride: int, wrong: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Wrong(float32.PrepackedConv2d):
        def __call__(self, x: Tensor, w: Tensor) -> Tensor:
            if wrong == "missing":
                raise AttributeError("no such operation")
            if wrong == "channels":
                x = x.flip(1)
            y = super().__call__(x.contiguous(memory_format=torch.channels_last), w)
            return y.flip({"samples": 0, "outputs": 1, "rows": 2}[wrong]) if wrong != "channels" else y

    product = Conv2dProduct((stride, stride), (size // 2, size // 2), (1, 1), 1)
    if not float32._can_prepack.__wrapped__(product, (6, channels, size, size)):
        pytest.skip("this build of torch lays no weights out")
    monkeypatch.setattr(float32, "PrepackedConv2d", Wrong)
    assert not float32._can_prepack.__wrapped__(product, (6, channels, size, size))
