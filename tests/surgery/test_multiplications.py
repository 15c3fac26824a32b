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
from asim_lightning.surgery import recount_
from asim_lightning.surgery.conversion_report import WHOLE
from asim_lightning.surgery.flow import Outside
from asim_lightning.surgery.multiplications import OperatorCounts
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


def unknown(name: str, function: Callable[[Tensor, Tensor], Tensor]) -> Any:
    """A custom operator of two matrices."""
    schema = "(Tensor x, Tensor w) -> Tensor"
    return torch.library.custom_op(f"asim_tests::{name}", function, mutates_args=(), schema=schema)


NO_PRODUCTS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "add": lambda x, w: x + w[: len(x)],
    "maximum": lambda x, w: torch.maximum(x, w[: len(x)]),
    "minimum": lambda x, w: torch.minimum(x, w[: len(x)]),
    "divide": lambda x, w: x / w[: len(x)],
    "angle": lambda x, w: F.cosine_similarity(x, w[: len(x)])[:, None].expand(-1, 8).clone(),
    "squares": lambda x, w: x.square() + w[: len(x)].square(),
}
"""Functions of two matrices that are no products."""
OPERATORS = {name: unknown(name, function) for name, function in NO_PRODUCTS.items()}


class Counter(TorchDispatchMode):
    """Multiplications of all operators, by element too, and names of those that nobody can count."""

    def __init__(self) -> None:
        super().__init__()
        self.counts = OperatorCounts()
        self.count, self.elements, self.unknown = 0, 0, list[str]()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        found = self.counts.of_products(func, args, kwargs or {}, result)
        self.count += found or 0
        self.elements += self.counts.of_elements(func, args, kwargs or {}, result)
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
    "a sparse matrix": (lambda: torch.sparse.mm(torch.eye(3).to_sparse(), r(3, 4)), 12),
    "bytes": (lambda: torch._int_mm(torch.ones(2, 3, dtype=torch.int8), torch.ones(3, 4, dtype=torch.int8)), 24),
}  # fmt: skip
FIRST = torch.zeros(1, 3, dtype=torch.int64)
OTHERS: dict[str, Callable[[], Any]] = {
    "cat": lambda: torch.cat([r(2, 3), r(2, 3)]),
    "norms": lambda: F.group_norm(F.layer_norm(F.batch_norm(r(2, 4), r(4), r(4).abs(), r(4), r(4)), [4]), 2),
    "gates": lambda: F.silu(r(2, 3)) * r(2, 3) + torch.lerp(r(2, 3), r(2, 3), r(2, 3)),
    "pixels between pixels": lambda: F.grid_sample(r(1, 2, 4, 4), r(1, 3, 3, 2), align_corners=False),
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


ELEMENTS: dict[str, tuple[Callable[[], Any], int]] = {
    "mul": (lambda: r(2, 1, 3) * r(4, 3), 24),
    "in place": (lambda: r(2, 3).mul_(r(3)), 6),
    "by one number": (lambda: r(2, 3) * torch.tensor(2.0), 6),
    "by integers": (lambda: r(2, 3) * torch.ones(3, dtype=torch.int8), 6),
    "addcmul": (lambda: torch.addcmul(r(2, 3), r(2, 3), r(3), value=2), 6),
    "lerp": (lambda: torch.lerp(r(2, 3), r(2, 3), r(2, 3)), 6),
    "squares": (lambda: r(2, 3).square() + r(2, 3) ** 2, 12),
    "complex": (lambda: torch.view_as_complex(r(3, 2)) * torch.view_as_complex(r(3, 2)), 12),
    "by Python's numbers": (lambda: (2 * r(2, 3)).mul_(0.5), 0),
    "by truths": (lambda: r(2, 3) * (r(2, 3) > 0), 0),
    "no products": (lambda: (r(2, 3) + r(2, 3)) / torch.maximum(r(2, 3), r(2, 3).exp() ** 3), 0),
    "activations": (lambda: F.silu(F.gelu(F.prelu(r(2, 3), r(1)))), 0),
    "norms": (lambda: F.layer_norm(F.batch_norm(r(2, 4), r(4), r(4).abs(), r(4), r(4)), [4], r(4)), 0),
}  # fmt: skip


@pytest.mark.parametrize(("function", "count"), ELEMENTS.values(), ids=ELEMENTS)
def test_multiplications_by_element_are_counted(function: Callable[[], Any], count: int) -> None:
    with torch.no_grad(), Counter() as counter:
        function()
    assert (counter.elements, counter.count, counter.unknown) == (count, 0, [])


UNKNOWN: dict[str, tuple[Callable[[], Any], list[str]]] = {
    "of several products": (lambda: mlp(r(2, 3), r(3, 4), r(4, 5)), ["asim_tests.mlp"]),
    "equations": (lambda: torch.linalg.solve(torch.eye(3), r(3, 2)), ["aten._linalg_solve_ex"]),
    "frequencies": (lambda: torch.fft.irfft(torch.fft.rfft(r(8))), ["aten._fft_r2c", "aten._fft_c2r"]),
    **{name: (lambda op=op: op(r(8, 8), r(8, 8)), [f"asim_tests.{name}"]) for name, op in OPERATORS.items()},
}  # fmt: skip


@pytest.mark.parametrize(("function", "names"), UNKNOWN.values(), ids=UNKNOWN)
def test_an_operator_that_cannot_be_counted_is_named(function: Callable[[], Any], names: list[str]) -> None:
    with torch.no_grad(), Counter() as counter:
        function()
        affine(r(2, 3), r(3, 4), r(4))
    assert (counter.count, counter.unknown) == (24, names)


TRIED: list[tuple[int, int]] = []
"""Address of the input, and value of the buffer, in each call of `watched`."""


@torch.library.custom_op("asim_tests::watched", mutates_args=("seen",))
def watched(x: Tensor, w: Tensor, bias: Tensor, seen: Tensor) -> Tensor:
    """A product that counts its calls in a buffer and draws a random number."""
    seen += 1
    TRIED.append((x.data_ptr(), int(seen)))
    return x @ w + bias + 0 * torch.rand(())


def test_a_custom_operator_is_tried_twice_on_copies_and_buffers_stay() -> None:
    def forward(model: Any, x: Tensor) -> Tensor:
        model.mine = model.mine + 1
        for _ in range(3):
            x = watched(model.first(x), model.weight, model.first.bias, model.seen)
        return model.last(x)

    model = Net(forward, first=nn.Linear(8, 8), last=nn.Linear(8, 4), weight=nn.Parameter(r(8, 8))).eval()
    for name in ("seen", "mine"):
        model.register_buffer(name, torch.ones((), dtype=torch.int64))
    buffers, runs = dict(model.named_buffers()), list[int]()
    model.register_forward_pre_hook(lambda *_: runs.append(len(TRIED)))
    TRIED.clear()
    report = convert_(model, Plan(MacroConfig(16, 16, adc_bits=None)), r(3, 8))
    assert report[WHOLE].macs == 3 * 64
    assert len(TRIED) == 3 * len(runs) + 2
    assert all(model.get_buffer(name) is each and int(each) == 1 for name, each in buffers.items())


def rows(x: Tensor, w: Tensor) -> Tensor:
    return torch.stack([(row * w).sum(-1) for row in x])


def columns(x: Tensor, w: Tensor) -> Tensor:
    y = torch.zeros(len(x), 8)
    for i in range(8):
        y = torch.addcmul(y, x[:, i : i + 1], w[:, i])
    return y


def numbers(x: Tensor, w: Tensor) -> Tensor:
    return torch.stack([sum((x[:, i] * w[j, i] for i in range(8)), torch.zeros(())) for j in range(8)], 1)


def expanded(x: Tensor, w: Tensor) -> Tensor:
    return (x[:, None].expand(-1, 8, -1) * w.expand(len(x), 8, 8)).sum(-1)


def pixels(x: Tensor, w: Tensor) -> Tensor:
    return (F.unfold(x.view(-1, 1, 8, 1), (3, 1), padding=(1, 0)) * w[0, :3, None]).sum(1)


SPELT: dict[str, tuple[Callable[[Tensor, Tensor], Tensor], Outside | None]] = {
    "mul and sum": (lambda x, w: (x.unsqueeze(1) * w.unsqueeze(0)).sum(2), Outside(64, "aten::mul", "")),
    "mul and mean of a view": (lambda x, w: (x[:, None] * w).transpose(1, 2).mean(1), Outside(64, "aten::mul", "")),
    "rows": (rows, Outside(64, "aten::mul", "")),
    "columns": (columns, Outside(64, "aten::addcmul", "")),
    "numbers": (numbers, Outside(64, "aten::mul", "")),
    "expanded": (expanded, Outside(64, "aten::mul", "")),
    "+ 0": (lambda x, w: (x[:, None] * w + 0).sum(-1), Outside(64, "aten::mul", "")),
    "double": (lambda x, w: (x[:, None] * w).double().sum(-1).float(), Outside(64, "aten::mul", "")),
    "pixels": (pixels, Outside(24, "aten::mul", "")),
    "angle": (lambda x, w: F.cosine_similarity(x[:, None], w, dim=-1), Outside(64, "aten::mul", "")),
    "distance": (lambda x, w: (x[:, None] - w).square().sum(-1), Outside(64, "aten::pow", "")),
    "frequencies": (
        lambda x, w: torch.fft.irfft(torch.fft.rfft(x) * torch.fft.rfft(w[0]), n=8), Outside(20, "aten::mul", ""),
    ),
    "of weights": (lambda x, w: F.linear(x, w * w.sigmoid()), None),
    "scaled": (lambda x, w: 0.5 * F.gelu(x), None),
}  # fmt: skip


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize(("function", "outside"), SPELT.values(), ids=SPELT)
def test_products_by_element_are_one_number_in_report_and_cost(
    function: Callable[[Tensor, Tensor], Tensor], outside: Outside | None, batch: int
) -> None:
    def forward(model: Any, x: Tensor) -> Tensor:
        return model.last(function(model.first(x), model.weight))

    model = Net(forward, first=nn.Linear(8, 8), last=nn.Linear(8, 4), weight=nn.Parameter(r(8, 8))).eval()
    report = convert_(model, Plan(MacroConfig(16, 16, adc_bits=None)), r(batch, 8))
    priced = cost(model)
    assert report.outside == priced.outside == recount_(model, r(batch, 8)).outside == outside
    if outside is not None:
        macs = sum(row.macs or 0 for row in report)
        assert outside.text(macs) in str(report).splitlines()
        assert outside.text(macs) in priced.notes


def test_gates_of_a_recurrent_layer_are_its_own() -> None:
    model = Net(lambda model, x: model.last(model.steps(x)[0]), steps=nn.GRU(4, 4), last=nn.Linear(4, 2)).eval()
    assert convert_(model, Plan(MacroConfig()), r(3, 2, 4)).outside is None


LEFT: dict[str, tuple[Callable[[Tensor, Tensor], Tensor], int | None]] = {
    "addbmm": (lambda x, w: torch.addbmm(x, x[None], w[None]), 64),
    "cdist": (torch.cdist, 64),
    "_cdist_forward": (lambda x, w: torch.cdist(x, w, p=1.0), 64),
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
