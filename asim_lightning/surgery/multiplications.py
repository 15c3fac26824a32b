"""How often an operator of torch's dispatcher multiplies, also an operator that nobody has described."""

from collections.abc import Callable
from itertools import combinations
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
    # rows of experts with a weight for each expert: (rows, k), (experts, k, n)
    torch.ops.aten._grouped_mm: lambda a, b, *_, **__: a.numel() * b.shape[-1] if a.dim() == 2 else _batched(a, b),
}
"""Multiplications of operators that torch's own counter leaves out."""
_NO_PRODUCT = {torch.Tag.pointwise, torch.Tag.reduction, torch.Tag.nondeterministic_seeded}
"""Tags of operators that multiply no two tensors, or draw random numbers."""


def multiplications(func: Any, args: Any, kwargs: Any, result: Any) -> int | None:
    """Multiplications of a call of an operator: 0 if it is no product of tensors, None if nobody knows.

    torch's flop counter knows the usual products, and users may register the formula of an operator there
    (`torch.utils.flop_counter.register_flop_formula`). Other operators are tried, see `_tried`.
    """
    packet = func._overloadpacket
    if (flops := flop_registry.get(packet)) is not None:
        return int(flops(*args, **kwargs, out_val=result)) // 2
    if (formula := _FORMULAS.get(packet)) is not None:
        return formula(*args, **kwargs)
    if func.is_view or _NO_PRODUCT & set(func.tags) or "norm" in packet.__name__:
        return 0
    if (count := _tried(func, args, kwargs)) or func.namespace in ("aten", "prims"):
        return count
    floats = [x for x in tree_leaves((args, kwargs)) if isinstance(x, Tensor) and x.is_floating_point()]
    return None if sum(x.dim() > 1 for x in floats) > 1 else 0


def _tried(func: Any, args: Any, kwargs: Any) -> int:
    """Multiplications of an operator that is linear in each of two tensors; 0 if it is not.

    Of such an operator, an output is a sum of products of an element of each. If all elements are 1, the sum of all
    outputs is the number of products. All other tensors are 0, so that a bias adds nothing.
    """
    leaves, form = tree_flatten((args, kwargs))
    own = [id(x) for x in (*args, *kwargs.values()) if isinstance(x, Tensor)]  # not of lists, as of a concatenation
    places = [n for n, x in enumerate(leaves) if isinstance(x, Tensor) and x.is_floating_point() and id(x) in own]

    def total(values: dict[int, int]) -> float:
        filled = [torch.full_like(x, values.get(n, 0)) if n in places else x for n, x in enumerate(leaves)]
        given, named = tree_unflatten(filled, form)
        return sum(float(y.double().sum()) for y in tree_leaves(func(*given, **named)) if isinstance(y, Tensor))

    for a, b in combinations(places, 2):
        try:
            count = total({a: 1, b: 1})
            if count > 0 and count % 1 == 0 and total({a: 2, b: 1}) == total({a: 1, b: 2}) == 2 * count:
                return int(count)
        except (RuntimeError, ValueError, TypeError, NotImplementedError):
            continue  # such values may be outside of what an operator takes
    return 0


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
