"""Matrix products that a module's forward makes by function calls, intercepted before torch computes them.

Every function that multiplies two tensors is expressed by the methods `product` and `linear`. A subclass overrides
them to observe or replace products.
"""

import math
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode


class ProductMode(TorchFunctionMode):
    """While active, matrix products are computed by `product`, `linear` and `grouped`.

    Intercepted are matmul, `@`, mm, bmm, mv, addmm, baddbmm, einsum of two operands, scaled_dot_product_attention,
    functional linear and grouped_mm of rows, of floating-point tensors. Products inside of a transform of torch.func,
    such as vmap, stay with torch. Inside of the three methods the mode is off.
    """

    paused: int = 0
    """Number of running parts of the program whose products are not intercepted."""

    def product(self, a: Tensor, b: Tensor) -> Tensor:
        """``a @ b``, b with the leading dimensions of a or none. # (..., m, k), (..., k, n) or (k, n) to (..., m, n)"""
        raise NotImplementedError

    def linear(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """``x @ weight^T + bias``. # (..., k), (n, k), (n,) to (..., n)"""
        raise NotImplementedError

    def grouped(self, x: Tensor, w: Tensor, ends: Tensor) -> Tensor:
        """Rows times the matrix of their group. Group g ends before row ``ends[g]``. Rows after the last end give 0.

        # (rows, k), (groups, k, n), (groups,) to (rows, n)
        """
        raise NotImplementedError

    @torch.compiler.disable
    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        caught = None if self.paused or kwargs.get("out") is not None else _CAUGHT.get(func)
        given = [x for x in (*args, *kwargs.values()) if isinstance(x, Tensor)]
        # a mask of an attention may be boolean
        types_fit = func in _GROUPED or all(x.is_floating_point() or x.dtype == torch.bool for x in given)
        if caught is None or not types_fit or any(map(is_in_transform, given)):
            return func(*args, **kwargs)
        answer = caught(self, *args, **kwargs)
        return func(*args, **kwargs) if answer is None else answer


def is_in_transform(x: Tensor) -> bool:
    """Whether a tensor is one of a transform of torch.func that runs, such as vmap, which hides an axis of it."""
    return bool(torch._C._functorch.is_functorch_wrapped_tensor(x))


def _named(mode: ProductMode, *operands: Tensor, **named: Tensor) -> Tensor | None:
    """A product of two operands; torch's functions call the second one other, mat2 or vec."""
    first = [named.pop("input")] if "input" in named else []
    a, b = (*first, *operands, *named.values())
    return _matmul(mode, a, b)


def _matmul(mode: ProductMode, a: Tensor, b: Tensor) -> Tensor | None:
    if a.dim() == 1 or b.dim() == 1:
        if a.dim() == b.dim():
            return None  # a scalar product
        if a.dim() == 1:
            return _transposed(mode, a[None], b).squeeze(-2)
        return mode.product(a, b[:, None]).squeeze(-1)
    if b.dim() == 2:
        return mode.product(a, b)
    if a.dim() == 2:
        return _transposed(mode, a, b)
    leading = torch.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    return mode.product(a.expand(*leading, *a.shape[-2:]), b.expand(*leading, *b.shape[-2:]))


def _transposed(mode: ProductMode, a: Tensor, b: Tensor) -> Tensor:
    """``a @ b`` if only b has leading dimensions. # (m, k), (..., k, n) to (..., m, n)"""
    return mode.product(b.transpose(-1, -2), a.transpose(-1, -2)).transpose(-1, -2).contiguous()


def _added(
    mode: ProductMode, addend: Tensor, *operands: Tensor, beta: float = 1.0, alpha: float = 1.0, **named: Tensor
) -> Tensor | None:
    y = _named(mode, *operands, **named)
    if y is None:
        return None
    y = y if alpha == 1 else y * alpha
    return y if beta == 0 else y + (addend if beta == 1 else addend * beta)


def _linear(mode: ProductMode, input: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor | None:
    return mode.linear(input, weight, bias) if weight.dim() == 2 else None


def _grouped(
    mode: ProductMode,
    x: Tensor,
    w: Tensor,
    offs: Tensor | None = None,
    bias: Tensor | None = None,
    out_dtype: torch.dtype | None = None,
) -> Tensor | None:
    if offs is None or x.dim() != 2 or w.dim() != 3 or bias is not None or out_dtype not in (None, x.dtype):
        return None
    return mode.grouped(x, w, offs)


def _attention(
    mode: ProductMode,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    *,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Tensor | None:
    """``dropout(softmax(scale * q k^T + mask)) v``."""
    if query.dim() < 3:
        return None
    if enable_gqa:
        groups = query.shape[-3] // key.shape[-3]
        key, value = key.repeat_interleave(groups, -3), value.repeat_interleave(groups, -3)
    scores = _matmul(mode, query, key.transpose(-1, -2))  # (..., queries, keys)
    if scores is None:
        return None
    scores = scores * (query.shape[-1] ** -0.5 if scale is None else scale)
    scores = masked_softmax(scores, attn_mask, is_causal)
    return _matmul(mode, F.dropout(scores, dropout_p, dropout_p > 0.0), value)


def masked_softmax(scores: Tensor, mask: Tensor | None = None, is_causal: bool = False) -> Tensor:
    """Softmax of attention scores under a mask, as scaled_dot_product_attention takes it. # (..., queries, keys)

    A mask is False where a query must not attend to a key, or has numbers that are added. Scores of a query that may
    attend to no key are 0.
    """
    if mask is None and not is_causal:
        return scores.softmax(dim=-1)
    if is_causal:
        later = torch.ones(scores.shape[-2:], dtype=torch.bool, device=scores.device).triu(1)
        scores = scores.masked_fill(later, float("-inf"))
    if mask is not None:
        scores = scores.masked_fill(~mask, float("-inf")) if mask.dtype == torch.bool else scores + mask
    blind = (scores == float("-inf")).all(dim=-1, keepdim=True)
    return scores.softmax(dim=-1).masked_fill(blind, 0.0)


def _einsum(mode: ProductMode, equation: Any, *operands: Any) -> Tensor | None:
    if len(operands) == 1 and isinstance(operands[0], (list, tuple)):
        operands = tuple(operands[0])
    labels = _labels(equation, operands)
    if labels is None:
        return None
    (first, second, out), (a, b) = labels, operands
    if out[:1] not in ("", *first) and len(second) > len(first):  # as in lm,bmd->bld, a matrix on the left of a batch
        first, second, a, b = second, first, b, a
    sizes = dict(zip(first + second, (*a.shape, *b.shape), strict=True))
    if any(sizes[label] != size for label, size in zip(first, a.shape, strict=True)):
        return None  # one operand is repeated
    summed = "".join(label for label in first if label in second and label not in out)
    shared = "".join(label for label in out if label in first and label in second)
    rows = "".join(label for label in first if label not in second)
    columns = "".join(label for label in second if label not in first)
    if not summed:
        return None  # no sum of products
    if not shared and rows and first[0] != rows[0]:
        return None  # the batch would not come first

    def joined(x: Tensor, labels: str, *groups: str) -> Tensor:
        """The tensor with one axis for each group of labels."""
        x = x.permute([labels.index(label) for label in "".join(groups)])
        return x.reshape([math.prod(sizes[label] for label in group) for group in groups])

    a = joined(a, first, *shared, *([rows] if shared else rows), summed)
    b = joined(b, second, *shared, summed, columns)
    order = shared + rows + columns
    y = mode.product(a, b).reshape([sizes[label] for label in order])
    return y.permute([order.index(label) for label in out])


def _labels(equation: Any, operands: tuple[Any, ...]) -> tuple[str, str, str] | None:
    """Axes of both operands and of the result; None if the equation is not a product of two operands."""
    if not isinstance(equation, str) or len(operands) != 2 or "." in equation:
        return None
    inputs, arrow, out = equation.replace(" ", "").partition("->")
    first, comma, second = inputs.partition(",")
    if not comma or "," in second:
        return None
    if not arrow:
        out = "".join(sorted(label for label in set(first + second) if (first + second).count(label) == 1))
    repeated = any(len(set(labels)) < len(labels) for labels in (first, second, out))
    alone = any(label not in out for label in set(first) ^ set(second))
    if repeated or alone or len(first) != operands[0].dim() or len(second) != operands[1].dim():
        return None
    return first, second, out


_GROUPED = (torch._grouped_mm,)
"""What torch.nn.functional.grouped_mm calls."""
_CAUGHT: dict[Any, Callable[..., Tensor | None]] = {
    **dict.fromkeys((torch.matmul, Tensor.matmul, Tensor.__matmul__, torch.linalg.matmul), _named),
    **dict.fromkeys((torch.mm, Tensor.mm, torch.bmm, Tensor.bmm, torch.mv, Tensor.mv), _named),
    **dict.fromkeys((torch.addmm, Tensor.addmm, torch.baddbmm, Tensor.baddbmm, torch.addmv, Tensor.addmv), _added),
    Tensor.__rmatmul__: lambda mode, b, a: _matmul(mode, a, b),
    torch.einsum: _einsum,
    F.linear: _linear,
    F.scaled_dot_product_attention: _attention,
    **dict.fromkeys(_GROUPED, _grouped),
}
