"""How often an operator of torch's dispatcher multiplies, also an operator that nobody has described."""

from collections.abc import Callable, Hashable, Mapping, Sequence
from itertools import combinations
from math import isfinite
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_flatten, tree_leaves, tree_unflatten
from torch.utils.flop_counter import flop_registry


def _rnn(x: Tensor, *weights: Tensor) -> int:
    """Multiplications of a recurrent layer, which uses its weight matrices in each step."""
    return x.shape[:-1].numel() * sum(w.numel() for w in weights if w.dim() == 2)


def _attention(q: Tensor, k: Tensor, v: Tensor, *_: Any, **__: Any) -> int:
    """# (..., queries, width), (..., keys, width), (..., keys, value width)"""
    return q.shape[:-1].numel() * k.shape[-2] * (q.shape[-1] + v.shape[-1])


def _distances(a: Tensor, b: Tensor, *_: Any, **__: Any) -> int:
    """# (..., m, k), (..., n, k)"""
    leading = torch.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    return leading.numel() * a.shape[-2] * b.shape[-2] * a.shape[-1]


_FORMULAS: dict[Any, Callable[..., int]] = {
    torch.ops.aten.mkldnn_rnn_layer: lambda x, w, u, *_, **__: _rnn(x, w, u),  # LSTM on a CPU
    torch.ops.aten._cudnn_rnn: lambda x, weights, *_, **__: _rnn(x, *weights),  # RNN, LSTM, GRU on CUDA
    torch.ops.aten._trilinear: lambda x, w, *_, **__: len(x) * w.numel(),  # Bilinear
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu: _attention,
    torch.ops.aten._cdist_forward: _distances,
    torch.ops.aten._euclidean_dist: _distances,
    torch.ops.aten._int_mm: lambda a, b, *_, **__: a.numel() * b.shape[-1],
    # rows of experts with a weight for each expert: (rows, k), (experts, k, n)
    torch.ops.aten._grouped_mm: lambda a, b, *_, **__: a.numel() * b.shape[-1] if a.dim() == 2 else _batched(a, b),
}
"""Multiplications of operators that torch's own counter leaves out."""
_NO_PRODUCT = {torch.Tag.pointwise, torch.Tag.reduction, torch.Tag.nondeterministic_seeded}
"""Tags of torch's operators that are no products of matrices, or draw random numbers."""
_OF_TORCH = ("aten", "prims")
"""Namespaces of torch's own operators."""
_ALGORITHMS = ("_fft_", "_linalg_", "linalg_", "cholesky", "triangular_solve", "lu_", "ormqr")
"""First letters of torch's operators that multiply in steps of an algorithm."""


class OperatorCounts:
    """Multiplications of calls of operators.

    An operator without a formula is tried on tensors like its own. Calls with tensors of the same shapes are tried
    once. An operator of another package runs at most twice for this.
    """

    def __init__(self) -> None:
        self._tried: dict[Hashable, float] = {}

    def of_products(self, func: Any, args: Any, kwargs: Any, result: Any) -> int | None:
        """Multiplications of a call of an operator: 0 if it is no product of tensors, None if nobody knows.

        torch's flop counter knows the usual products, and users may register the formula of an operator there
        (`torch.utils.flop_counter.register_flop_formula`). Other operators are tried, see `_products`.
        """
        packet, is_torchs = func._overloadpacket, func.namespace in _OF_TORCH
        if (flops := flop_registry.get(packet)) is not None:
            return int(flops(*args, **kwargs, out_val=result)) // 2
        if (formula := _FORMULAS.get(packet)) is not None:
            return formula(*args, **kwargs)
        if func.is_view or not any(map(_is_float, tree_leaves((args, kwargs)))):
            return 0
        if is_torchs and (_NO_PRODUCT & set(func.tags) or "norm" in packet.__name__):
            return 0
        total = self._total(func, args, kwargs, False)
        if total > 0 and total % 1 == 0:
            return int(total)
        return 0 if is_torchs and not packet.__name__.startswith(_ALGORITHMS) else None

    def of_elements(self, func: Any, args: Any, kwargs: Any, result: Any) -> int:
        """Multiplications of a call of an operator that multiplies elements of two tensors, or the elements of a tensor
        by themselves; 0 if it does not. A product of complex numbers counts as four."""
        if torch.Tag.pointwise not in func.tags or func.namespace not in _OF_TORCH or not isinstance(result, Tensor):
            return 0
        is_product = self._total(func, args, kwargs, True) != 0
        return is_product * result.numel() * (4 if result.is_complex() else 1)

    def _total(self, func: Any, args: Any, kwargs: Any, by_element: bool) -> float:
        """`_products` of an operator on tensors of the shapes that it got, or on single elements."""
        leaves, form = tree_flatten((args, kwargs))
        key = (func, by_element, *kwargs, *(_description(x, by_element) for x in leaves))
        if key in self._tried:
            return self._tried[key]
        own = [id(x) for x in (*args, *kwargs.values())]  # not of lists, as of a concatenation
        is_factor = _is_number if by_element else _is_float
        places = [n for n, x in enumerate(leaves) if id(x) in own and is_factor(x)]
        pairs: list[tuple[int, ...]] = list(combinations(places, 2))
        if func.namespace not in _OF_TORCH:  # it may be slow
            pairs = [tuple(sorted(places, key=lambda n: leaves[n].dim() < 2)[:2])][: len(pairs)]

        def run(values: Mapping[int, int]) -> list[Tensor]:
            """Outputs for copies of the tensors, filled with a value each."""
            filled = [_copy(x, values.get(n, 0) if n in places else None, by_element) for n, x in enumerate(leaves)]
            given, named = tree_unflatten(filled, form)
            outputs = [y for y in tree_leaves(func(*given, **named)) if isinstance(y, Tensor)]
            return [(y.real if y.is_complex() else y.to_dense()).double() for y in outputs]

        devices = {x.device for x in leaves if isinstance(x, Tensor) and x.is_cuda}
        with torch.random.fork_rng(list(devices)):  # an operator may draw random numbers
            self._tried[key] = _products(run, [*pairs, *((n,) for n in places if by_element)])
        return self._tried[key]


def _products(run: Callable[[Mapping[int, int]], list[Tensor]], places: Sequence[tuple[int, ...]]) -> float:
    """Number of products in all outputs of an operator that is linear in each of two tensors, or a square; 0 if it is
    neither.

    If it is linear in each of two tensors, an output is a sum of products of an element of each. If all elements are 1,
    the sum of all outputs is the number of products. All other tensors are 0, so that a bias adds nothing. If the
    elements are 3 and 2, outputs are 6 times as large, and for a square of 3 they are 9 times as large. The outputs of
    ``x + w`` and ``maximum(x, w)`` are not.
    """
    for place in places:
        more = dict(zip(place, (3, 2), strict=False))
        factor = 6 if len(place) == 2 else 9
        try:
            ones = run(dict.fromkeys(place, 1))
            total = sum(float(y.sum()) for y in ones)
            if total == 0 or not isfinite(total):
                continue
            if all(torch.allclose(factor * y, z) for y, z in zip(ones, run(more), strict=True)):
                return total
        except Exception:  # an operator of another package may raise anything for values that it does not take
            continue
    return 0.0


def _is_float(x: Any) -> bool:
    """Whether a value is a tensor of floating-point numbers."""
    return isinstance(x, Tensor) and (x.is_floating_point() or x.is_complex())


def _is_number(x: Any) -> bool:
    """Whether a value is a tensor of numbers."""
    return isinstance(x, Tensor) and x.dtype != torch.bool


def _description(x: Any, by_element: bool) -> Hashable:
    """Facts about an argument that decide how often an operator multiplies."""
    if isinstance(x, Tensor):
        return (x.dim() if by_element else x.shape, x.dtype, x.layout, x.device)
    return repr(x)


def _copy(x: Any, value: int | None, by_element: bool) -> Any:
    """A copy of a tensor, with one value in all elements if it is given; by element, a tensor with one element."""
    if not isinstance(x, Tensor):
        return x
    if by_element:
        return torch.full((1,) * x.dim(), 1 if value is None else value, dtype=x.dtype, device=x.device)
    if value is None or x.layout != torch.strided:
        x = x.clone()
        if value is not None:
            (x._values() if x.layout == torch.sparse_coo else x.values()).fill_(value)
        return x
    return torch.full_like(x, value)


def _batched(a: Tensor, b: Tensor) -> int:
    """# (batch, m, k), (batch, k, n) or (k, n)"""
    return a.numel() * b.shape[-1]


def name_of(func: Any, args: Any) -> str:
    """The users' name of an operator, such as conv2d or mylib::multiply."""
    name = str(func._overloadpacket).removeprefix("aten.").replace(".", "::")
    if name != "convolution":
        return name
    _, weight, _, _, _, _, is_transposed, *_ = args
    return f"conv{'_transpose' * is_transposed}{weight.dim() - 2}d"
