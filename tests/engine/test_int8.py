"""Products of bytes: exact at the extremes or not used, whatever the machine can do."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from asim_lightning.engine import Conv2dProduct, MatmulProduct, Product, int8
from tests.engine.products import exact_sums, in_bytes, in_integers

GEOMETRIES: dict[str, tuple[Conv2dProduct, tuple[int, ...]]] = {
    "plain": (Conv2dProduct((1, 1), (1, 1), (1, 1), 1), (6, 16, 3, 3)),
    "stem": (Conv2dProduct((2, 2), (3, 3), (1, 1), 1), (8, 3, 7, 7)),
    "pointwise": (Conv2dProduct((1, 1), (0, 0), (1, 1), 1), (5, 32, 1, 1)),
    "strided": (Conv2dProduct((2, 1), (1, 0), (1, 1), 1), (4, 9, 3, 2)),
    "dilated": (Conv2dProduct((1, 1), (2, 2), (2, 2), 1), (4, 8, 3, 3)),
    "grouped": (Conv2dProduct((1, 1), (1, 1), (1, 1), 4), (8, 4, 3, 3)),
    "depthwise": (Conv2dProduct((1, 1), (1, 1), (1, 1), 24), (24, 1, 3, 3)),
    "wide": (Conv2dProduct((1, 1), (1, 1), (1, 1), 1), (3, 512, 3, 3)),
}
SIGNS = pytest.mark.parametrize("signed", [False, True])


def operands(shape: tuple[int, ...], inputs: tuple[int, ...], bits: int, signed: bool) -> list[tuple[Tensor, Tensor]]:
    top_x, top_w = 2 ** (bits - signed) - 1, 2 ** (bits - 1) - 1
    x = torch.randint(-top_x if signed else 0, top_x + 1, inputs).float()
    w = torch.randint(-top_w, top_w + 1, shape).float()
    largest, full = torch.full_like(x, top_x), torch.full_like(w, top_w)
    return [(x, w), (largest, full), (largest, -full), (-largest if signed else x, full), (largest, w)]


@pytest.mark.parametrize("bits", [8, 3, 12, 16])
@pytest.mark.parametrize("kind", GEOMETRIES)
@SIGNS
def test_convolutions_equal_whole_number_arithmetic(kind: str, bits: int, signed: bool) -> None:
    torch.manual_seed(0)
    product, shape = GEOMETRIES[kind]
    for x, w in operands(shape, (2, shape[1] * product.groups, 7, 8), bits, signed):
        got = exact_sums(product, x, w, bits, bits, signed)
        assert torch.equal(got.long(), in_integers(product, x, w))
        assert got.is_contiguous()
        turned = exact_sums(product, x.to(memory_format=torch.channels_last), w, bits, bits, signed)
        assert torch.equal(turned.long(), got.long())
        assert torch.equal(exact_sums(product, x[1:], w, bits, bits, signed).long(), got[1:].long())


@pytest.mark.parametrize("bits", [8, 3, 12, 16])
@pytest.mark.parametrize("leading", [(2,), (2, 3), (1, 2, 3)])
@SIGNS
def test_matrix_products_equal_whole_number_arithmetic(leading: tuple[int, ...], bits: int, signed: bool) -> None:
    torch.manual_seed(0)
    for terms in (5, 4608):
        for x, w in operands((6, terms), (*leading, terms), bits, signed):
            got = exact_sums(MatmulProduct(), x, w, bits, bits, signed)
            assert torch.equal(got.long(), in_integers(MatmulProduct(), x, w))


def saturating(w: Tensor, bias: Tensor | None, geometry: Any) -> Callable[[Tensor], Tensor]:
    """What a processor without VNNI does: pairs of products are added in 16 bits, and cut off there."""

    def sums(x: Tensor) -> Tensor:
        if x.dim() == 2:
            rows = x.double()[:, None]  # (rows, 1, k)
        else:
            rows = F.unfold(x.double(), w.shape[2:], geometry.dilation, geometry.padding, geometry.stride).transpose(
                1, 2
            )[0][:, None]
        terms = F.pad(rows * w.double().flatten(1), [0, w[0].numel() % 2])  # (rows, outputs, k)
        total = terms.unflatten(-1, (-1, 2)).sum(-1).clamp(-(2**15), 2**15 - 1).sum(-1).float()
        if x.dim() == 2:
            return total
        like = F.conv2d(x[:1].double(), w.double(), None, geometry.stride, geometry.padding, geometry.dilation)
        return total.T.reshape(like.shape)

    return sums


def wide_adder(w: Tensor, bias: Tensor | None, geometry: Any) -> Callable[[Tensor], Tensor]:
    """A kernel that is exact, slowly."""
    if w.dim() == 2:
        return lambda x: (x.double() @ w.double().T).float()
    return lambda x: geometry.multiplied(x.double(), w.double()).float()


PROBED = (
    *(GEOMETRIES[kind] for kind in ("plain", "stem", "pointwise", "strided", "dilated", "wide")),
    *((MatmulProduct(), (5, terms)) for terms in (2, 3, 64, 4608)),
)


@pytest.mark.parametrize(("product", "shape"), PROBED)
def test_the_probe_finds_out_a_kernel_that_saturates(product: Product, shape: tuple[int, ...]) -> None:
    assert int8.is_exact(shape, product, wide_adder)
    assert not int8.is_exact(shape, product, saturating)


@pytest.mark.parametrize(("batch", "size"), [(1, (9, 1)), (3, (9, 1)), (2, (9, 2)), (2, (9, 1))])
def test_a_kernel_is_tried_on_images_of_each_shape(batch: int, size: tuple[int, int]) -> None:
    product, shape = GEOMETRIES["plain"]

    def wrong_for_some(w: Tensor, bias: Tensor | None, geometry: Any) -> Callable[[Tensor], Tensor]:
        right = wide_adder(w, bias, geometry)

        def sums(x: Tensor) -> Tensor:
            if (len(x), *x.shape[2:]) == (2, 9, 1):
                x = x.roll(1, dims=2)
            return right(x)

        return sums

    images = (batch, 16, *size)
    assert int8.conv2d_is_exact_on(shape, product, images, 1, wide_adder)
    assert int8.conv2d_is_exact_on(shape, product, images, 1, wrong_for_some) == ((batch, *size) != (2, 9, 1))


def test_a_kernel_is_tried_a_few_images_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    product, shape = GEOMETRIES["plain"]
    monkeypatch.setattr(int8, "_TRIED_AT_A_TIME", 100)
    assert int8.conv2d_is_exact_on(shape, product, (3, 16, 5, 4), 1, wide_adder)

    def wrong_at_last(*kernel: Any) -> Callable[[Tensor], Tensor]:
        return lambda x: wide_adder(*kernel)(torch.cat([x[:2], x[2:].flip(2)]))

    assert not int8.conv2d_is_exact_on(shape, product, (3, 16, 5, 4), 1, wrong_at_last)


def test_images_for_which_kernels_are_wrong_take_another_way(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    product, shape = GEOMETRIES["plain"]
    x, w = operands(shape, (2, 16, 7, 8), 8, False)[0]
    asked = []

    def exact_on(*asking: Any) -> bool:
        asked.append(asking)
        return False

    monkeypatch.setattr(int8, "is_exact", lambda shape, geometry: True)
    monkeypatch.setattr(int8, "conv2d_is_exact_on", exact_on)
    assert in_bytes(product, x.shape, w, 8, 8, False) is None
    assert asked == [(shape, product.geometry(None, w), (2, 16, 7, 8), torch.get_num_threads())]
    assert torch.equal(exact_sums(product, x, w, 8, 8, False).long(), in_integers(product, x, w))
    assert in_bytes(product, x.shape, w, 8, 8, True) is None
    inner = Conv2dProduct((1, 1), (0, 0), (1, 1), 1)
    assert asked[-1][1:3] == (inner.geometry(None, w), (2, 16, 9, 10))  # the border is there already


def test_without_exact_kernels_sums_are_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    monkeypatch.setattr(int8, "is_exact", lambda shape, geometry: False)
    for product, shape in (*GEOMETRIES.values(), (MatmulProduct(), (4, 4608))):
        inputs = (2, shape[1]) if isinstance(product, MatmulProduct) else (2, shape[1] * product.groups, 7, 8)
        for x, w in operands(shape, inputs, 8, False):
            assert in_bytes(product, x.shape, w, 8, 8, False) is None
            assert torch.equal(exact_sums(product, x, w, 8, 8, False).long(), in_integers(product, x, w))


def test_what_bytes_cannot_hold_takes_another_way() -> None:
    w = torch.ones(3, 4)
    assert in_bytes(MatmulProduct(), torch.Size((1, 4)), w, 9, 8, False) is None
    assert in_bytes(MatmulProduct(), torch.Size((1, 4)), w, 8, 9, False) is None
    assert in_bytes(MatmulProduct(True), torch.Size((1, 4)), w, 8, 8, False) is None


@pytest.mark.parametrize(
    ("shape", "product", "size"),
    [
        ((24, 1, 1, 5), Conv2dProduct((1, 2), (0, 2), (1, 1), 8), (6, 2)),
        ((3, 1, 5, 5), Conv2dProduct((1, 3), (1, 0), (1, 1), 1), (5, 7)),
        ((8, 1, 4, 5), Conv2dProduct((1, 2), (2, 0), (1, 1), 1), (8, 6)),
        ((33, 1, 4, 4), Conv2dProduct((1, 3), (3, 2), (2, 1), 1), (12, 1)),
        ((2, 11, 1, 1), Conv2dProduct((2, 2), (2, 1), (1, 2), 1), (2, 1)),
        ((16, 8, 1, 2), Conv2dProduct((1, 4), (0, 3), (1, 2), 1), (2, 1)),
        ((1, 3, 5, 2), Conv2dProduct((1, 4), (3, 3), (2, 2), 1), (22, 1)),
        ((16, 16, 3, 3), Conv2dProduct((1, 2), (1, 1), (1, 1), 1), (8, 2)),
        ((16, 2, 3, 5), Conv2dProduct((1, 2), (2, 0), (1, 2), 8), (11, 10)),
        ((3, 17, 2, 3), Conv2dProduct((3, 1), (0, 3), (1, 2), 1), (15, 10)),
        ((8, 130, 3, 5), Conv2dProduct((2, 1), (3, 1), (2, 2), 1), (1, 9)),
    ],
)
def test_geometries_that_the_processors_kernels_get_wrong(
    shape: tuple[int, ...], product: Conv2dProduct, size: tuple[int, int]
) -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.randint(0, 256, (2, shape[1] * product.groups, *size), generator=generator).float()
    w = torch.randint(-127, 128, shape, generator=generator).float()
    expected = F.conv2d(x.double(), w.double(), None, product.stride, product.padding, product.dilation, product.groups)
    # `contiguous` changes no strides where there is one channel
    for images in (x, torch.empty_like(x, memory_format=torch.channels_last).copy_(x)):
        assert torch.equal(exact_sums(product, images, w, 8, 8, False).double(), expected)
        assert torch.equal(product.integer(images, w, 255 * 127).double(), expected)
