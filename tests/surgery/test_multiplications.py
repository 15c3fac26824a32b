"""Multiplications of operators: counted by loops over shapes, also of an operator that nobody has described."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from asim_lightning import MacroConfig, Plan, convert_
from asim_lightning.cost import cost
from asim_lightning.surgery.multiplications import multiplications
from tests.surgery.networks import Net

r = torch.randn


@torch.library.custom_op("asim_tests::affine", mutates_args=())
def affine(x: Tensor, w: Tensor, bias: Tensor) -> Tensor:
    """An operator that no counter knows."""
    return x @ w + bias


@torch.library.custom_op("asim_tests::mlp", mutates_args=())
def mlp(x: Tensor, w: Tensor, v: Tensor) -> Tensor:
    """An operator that is linear in none of its tensors."""
    return (x @ w).relu() @ v


class Counter(TorchDispatchMode):
    """Multiplications of all operators, and names of those that nobody can count."""

    def __init__(self) -> None:
        super().__init__()
        self.count, self.unknown = 0, list[str]()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        found = multiplications(func, args, kwargs or {}, result)
        self.count += found or 0
        self.unknown += [] if found is not None else [str(func._overloadpacket)]
        return result


ends = torch.tensor([1, 1, 5], dtype=torch.int32)
PRODUCTS: dict[str, tuple[Callable[[], Any], int]] = {
    "mm": (lambda: r(2, 3) @ r(3, 4), 24),
    "mv": (lambda: torch.mv(r(2, 3), r(3)), 6),
    "dot": (lambda: torch.dot(r(3), r(3)), 3),
    "addbmm": (lambda: torch.addbmm(r(2, 4), r(5, 2, 3), r(5, 3, 4)), 120),
    "addmv": (lambda: torch.addmv(r(2), r(2, 3), r(3)), 6),
    "into a tensor": (lambda: torch.mm(r(2, 3), r(3, 4), out=torch.empty(2, 4)), 24),
    "cdist": (lambda: torch.cdist(r(7, 2, 3), r(4, 3)), 7 * 24),
    "cdist of many": (lambda: torch.cdist(r(30, 3), r(40, 3)), 3600),
    "grouped_mm": (lambda: F.grouped_mm(r(5, 8), r(3, 8, 4), offs=ends), 5 * 8 * 4),
    "attention": (
        lambda: F.scaled_dot_product_attention(r(2, 4, 3, 8), r(2, 4, 5, 8), r(2, 4, 5, 8)), 2 * 2 * 4 * 15 * 8,
    ),
    "attention of grouped queries": (
        lambda: F.scaled_dot_product_attention(r(2, 4, 3, 8), r(2, 2, 5, 8), r(2, 2, 5, 8), enable_gqa=True),
        2 * 2 * 4 * 15 * 8,
    ),
    "a convolution": (lambda: F.conv2d(r(1, 2, 5, 5), r(3, 2, 3, 3)), 9 * 3 * 18),
    "a transposed one in steps": (lambda: F.conv_transpose1d(r(1, 2, 4), r(2, 3, 2), stride=2), 4 * 12),
    "custom": (lambda: affine(r(2, 3), r(3, 4), r(4)), 24),
    "vmap": (lambda: torch.vmap(torch.mv)(r(5, 2, 3), r(5, 3)), 30),
}  # fmt: skip
FIRST = torch.zeros(1, 3, dtype=torch.int64)
OTHERS: dict[str, Callable[[], Any]] = {
    "cat": lambda: torch.cat([r(2, 3), r(2, 3)]),
    "norms": lambda: F.group_norm(F.layer_norm(F.batch_norm(r(2, 4), r(4), r(4).abs(), r(4), r(4)), [4]), 2),
    "gates": lambda: F.silu(r(2, 3)) * r(2, 3) + torch.lerp(r(2, 3), r(2, 3), r(2, 3)),
    "pixels between pixels": lambda: F.grid_sample(r(1, 2, 4, 4), r(1, 3, 3, 2), align_corners=False),
    "equations": lambda: torch.linalg.solve(torch.eye(3), r(3, 2)),
    "writes": lambda: r(2, 3).scatter_add(0, FIRST, r(1, 3)).index_put((FIRST[0, :1],), r(3)),
    "losses": lambda: F.mse_loss(r(2, 3), r(2, 3)) + F.kl_div(r(2, 3), r(2, 3).softmax(1), reduction="sum"),
    "random numbers": lambda: F.dropout(r(2, 3)),
}  # fmt: skip


@pytest.mark.parametrize(("function", "count"), PRODUCTS.values(), ids=PRODUCTS)
def test_products_are_counted(function: Callable[[], Any], count: int) -> None:
    with torch.no_grad(), Counter() as counter:
        function()
    assert (counter.count, counter.unknown) == (count, [])


@pytest.mark.parametrize("function", OTHERS.values(), ids=OTHERS)
def test_other_operators_count_nothing(function: Callable[[], Any]) -> None:
    with torch.no_grad(), Counter() as counter:
        function()
    assert (counter.count, counter.unknown) == (0, [])


def test_an_operator_that_cannot_be_counted_is_named() -> None:
    with torch.no_grad(), Counter() as counter:
        mlp(r(2, 3), r(3, 4), r(4, 5))
        affine(r(2, 3), r(3, 4), r(4))
    assert (counter.count, counter.unknown) == (24, ["asim_tests.mlp"])


LEFT: dict[str, tuple[Callable[[Tensor, Tensor], Tensor], int | None]] = {
    "addbmm": (lambda x, w: torch.addbmm(x, x[None], w[None]), 64),
    "cdist": (torch.cdist, 64),
    "_cdist_forward": (lambda x, w: torch.cdist(x, w, p=1.0), 64),
    "mul and sum": (lambda x, w: (x[:, None] * w).sum(-1), 64),
    "mul and sum of a view": (lambda x, w: (x[:, None] * w).transpose(1, 2).mean(1), 64),
    "mm in vmap": (lambda x, w: torch.vmap(lambda row: w @ row)(x), 64),
    "bmm in vmap": (lambda x, w: torch.vmap(torch.mv)(w.expand(len(x), 8, 8), x), 64),
    "a layer in vmap": (lambda x, w: torch.vmap(lambda row: F.linear(row, w))(x), 64),
    "asim_tests::affine": (lambda x, w: affine(x, w, w[0]), 64),
    "asim_tests::mlp": (lambda x, w: mlp(x, w, w), None),
}


@pytest.mark.parametrize(("function", "macs"), LEFT.values(), ids=LEFT)
def test_products_that_surgery_leaves_have_a_row_and_a_cost(
    function: Callable[[Tensor, Tensor], Tensor], macs: int | None
) -> None:
    def forward(model: Any, x: Tensor) -> Tensor:
        return model.last(function(model.first(x), model.weight))

    model = Net(forward, first=nn.Linear(8, 8), last=nn.Linear(8, 4), weight=nn.Parameter(r(8, 8))).eval()
    x = r(3, 8)
    wanted = model(x)
    report = convert_(model, Plan(MacroConfig(16, 16, adc_bits=None)), x)
    (kept,) = report.kept
    assert (kept.macs, kept.macro) == (macs, None)
    priced = cost(model)
    assert sum(layer.done.macs for layer in priced.layers) == 96 + (macs or 0)
    names = [text for text in (*report.notes, *priced.notes) if "asim_tests::mlp" in text]
    assert len(names) == (0 if macs else 2)
    torch.testing.assert_close(model(x), wanted, atol=1e-2, rtol=1e-2)
