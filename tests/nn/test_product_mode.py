"""Products made by functions: each is caught, and written in terms of one product computes the same."""

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from asim_lightning.nn import MultiheadAttention
from asim_lightning.nn.floating import of_groups
from asim_lightning.nn.product_mode import ProductMode


class Counting(ProductMode):
    """Computes products as torch does, and counts them."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def product(self, a: Tensor, b: Tensor) -> Tensor:
        assert b.dim() == 2 or a.shape[:-2] == b.shape[:-2]
        self.count += 1
        return torch.matmul(a, b)

    def linear(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        self.count += 1
        return F.linear(x, weight, bias)

    def grouped(self, x: Tensor, w: Tensor, ends: Tensor) -> Tensor:
        self.count += 1
        return of_groups(lambda group, rows: rows @ w[group], x, ends)


r = torch.randn
qkv = (2, 6, 4, 5)
CASES: dict[str, tuple[Callable[[], Tensor], int]] = {
    "matmul": (lambda: r(2, 3, 4, 5) @ r(5, 6), 1),
    "matmul of a list": (lambda: torch.matmul(r(3, 4, 5), r(3, 5, 6)), 1),
    "mm": (lambda: torch.mm(r(3, 4), r(4, 5)), 1),
    "bmm": (lambda: r(2, 3, 4).bmm(r(2, 4, 5)), 1),
    "broadcast": (lambda: r(2, 1, 3, 4) @ r(3, 4, 5), 1),
    "first without batch": (lambda: r(3, 4) @ r(2, 4, 5), 1),
    "matrix and vector": (lambda: torch.mv(r(3, 4), r(4)), 1),
    "vector and matrices": (lambda: r(4) @ r(2, 4, 5), 1),
    "scalar product": (lambda: r(4) @ r(4), 0),
    "baddbmm": (lambda: torch.baddbmm(r(2, 1, 5), r(2, 3, 4), r(2, 4, 5), beta=0.5, alpha=2), 1),
    "addmm": (lambda: torch.addmm(r(5), r(3, 4), r(4, 5)), 1),
    "addmm without addend": (lambda: torch.addmm(r(5).fill_(torch.nan), r(3, 4), r(4, 5), beta=0), 1),
    "linear": (lambda: F.linear(r(2, 3, 4), r(5, 4), r(5)), 1),
    "attention": (lambda: F.scaled_dot_product_attention(r(qkv), r(2, 6, 7, 5), r(2, 6, 7, 3)), 2),
    "attention with a mask": (lambda: F.scaled_dot_product_attention(r(qkv), r(qkv), r(qkv), attn_mask=r(4, 4)), 2),
    "attention with a boolean mask": (
        lambda: F.scaled_dot_product_attention(r(qkv), r(qkv), r(qkv), attn_mask=torch.eye(4).bool()), 2,
    ),
    "causal attention": (lambda: F.scaled_dot_product_attention(r(qkv), r(qkv), r(qkv), is_causal=True), 2),
    "grouped queries": (
        lambda: F.scaled_dot_product_attention(r(qkv), r(2, 3, 4, 5), r(2, 3, 4, 7), enable_gqa=True, scale=0.3), 2,
    ),
    "bhid,bhjd->bhij": (lambda: torch.einsum("bhid,bhjd->bhij", r(2, 3, 4, 5), r(2, 3, 6, 5)), 1),
    "bhij,bhjd->bihd": (lambda: torch.einsum("bhij,bhjd->bihd", r(2, 3, 4, 6), r(2, 3, 6, 5)), 1),
    "bnhd,hdk->bnhk": (lambda: torch.einsum("bnhd,hdk->bnhk", r(2, 3, 4, 5), r(4, 5, 6)), 1),
    "bnk,kd->bnd": (lambda: torch.einsum("b n k, k d -> b n d", r(2, 3, 4), r(4, 5)), 1),
    "bk,bk->b": (lambda: torch.einsum("bk,bk->b", r(2, 3), r(2, 3)), 1),
    "ij,jk": (lambda: torch.einsum("ij,jk", r(3, 4), r(4, 5)), 1),
    "operands in a list": (lambda: torch.einsum("bij,bjk->bik", [r(2, 3, 4), r(2, 4, 5)]), 1),
    "lm,bmd->bld": (lambda: torch.einsum("lm,bmd->bld", r(3, 4), r(2, 4, 5)), 1),
    "trace": (lambda: torch.einsum("bii,bij->bj", r(2, 3, 3), r(2, 3, 4)), 0),
    "outer": (lambda: torch.einsum("bi,bj->bij", r(2, 3), r(2, 4)), 0),
    "three operands": (lambda: torch.einsum("bi,ij,jk->bk", r(2, 3), r(3, 4), r(4, 5)), 0),
    "ellipsis": (lambda: torch.einsum("...ij,...jk->...ik", r(2, 3, 4), r(2, 4, 5)), 0),
    "groups of rows": (lambda: F.grouped_mm(r(6, 8), r(3, 8, 4), offs=torch.tensor([2, 2, 6], dtype=torch.int32)), 1),
    "groups of columns": (
        lambda: F.grouped_mm(r(4, 8), r(8, 4), offs=torch.tensor([4, 8], dtype=torch.int32)), 0,
    ),
    "vmap": (lambda: torch.vmap(torch.matmul)(r(3, 2, 8), r(3, 8, 4)), 0),
    "integers": (lambda: (torch.ones(2, 2).long() @ torch.ones(2, 2).long()).float(), 0),
}  # fmt: skip


@pytest.mark.parametrize("name", list(CASES))
def test_function_computes_the_same_through_products(name: str) -> None:
    function, count = CASES[name]
    torch.manual_seed(0)
    expected = function()
    torch.manual_seed(0)
    with Counting() as mode:
        got = function()
    torch.testing.assert_close(got, expected)
    assert mode.count == count


def test_nothing_is_caught_while_paused_or_outside() -> None:
    with Counting() as mode:
        mode.paused += 1
        r(2, 3) @ r(3, 4)
        mode.paused -= 1
    r(2, 3) @ r(3, 4)
    assert mode.count == 0


@pytest.mark.parametrize("batch_first", [True, False])
@pytest.mark.parametrize("settings", [{}, {"bias": False}, {"kdim": 10, "vdim": 12}])
def test_multihead_attention_computes_what_torch_does(batch_first: bool, settings: dict[str, int]) -> None:
    theirs = nn.MultiheadAttention(24, 3, batch_first=batch_first, **settings).eval()  # type: ignore[arg-type]
    ours = MultiheadAttention(theirs)
    assert set(ours.state_dict()) == set(theirs.state_dict())

    def tokens(count: int, channels: int) -> Tensor:
        return r(2, count, channels) if batch_first else r(count, 2, channels)

    query, key, value = tokens(5, 24), tokens(7, settings.get("kdim", 24)), tokens(7, settings.get("vdim", 24))
    padding = torch.zeros(2, 7, dtype=torch.bool)
    padding[1, 3:] = True
    for given in ({}, {"key_padding_mask": padding}, {"attn_mask": r(5, 7)}, {"attn_mask": r(6, 5, 7) > 1},
                  {"average_attn_weights": False}, {"need_weights": False}):  # fmt: skip
        with torch.no_grad():
            got, expected = ours(query, key, value, **given), theirs(query, key, value, **given)
        torch.testing.assert_close(got[0], expected[0])
        torch.testing.assert_close(got[1], expected[1])  # None for None alone
        assert (expected[1] is None) == ("need_weights" in given)


def test_multihead_attention_without_batch_on_itself_and_with_learned_biases() -> None:
    theirs = nn.MultiheadAttention(24, 3).eval()
    ours, x = MultiheadAttention(theirs), r(5, 24)
    for got, expected in zip(ours(x, x, x), theirs(x, x, x), strict=True):
        torch.testing.assert_close(got, expected)
    with pytest.raises(ValueError, match="without `add_bias_kv` and `add_zero_attn`"):
        MultiheadAttention(nn.MultiheadAttention(8, 2, add_bias_kv=True))
