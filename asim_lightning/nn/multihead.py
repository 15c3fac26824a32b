"""torch's MultiheadAttention, written so that its products can go on macros."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from asim_lightning.nn.product_mode import masked_softmax


class MultiheadAttention(nn.Module):
    """Multi-head attention: ``softmax(q k^T / sqrt(head_dim) + mask) v`` between linear layers.

    torch.nn.MultiheadAttention passes all its weights to one function and never calls its output projection. This class
    has the same parameters, state dict keys and results, and calls `out_proj`. It has no learned biases of keys and
    values, and adds no zero key.

    Examples:
        >>> import torch
        >>> from asim_lightning.nn import MultiheadAttention
        >>> torchs, x = torch.nn.MultiheadAttention(8, num_heads=2, batch_first=True), torch.rand(1, 5, 8)
        >>> torch.allclose(MultiheadAttention(torchs)(x, x, x)[0], torchs(x, x, x)[0], atol=1e-6)
        True
    """

    _qkv_same_embed_dim = False
    """Keeps torch.nn.TransformerEncoderLayer from its fused path, which uses weights without calling this module."""

    def __init__(self, attention: nn.MultiheadAttention) -> None:
        super().__init__()
        if attention.bias_k is not None or attention.bias_v is not None or attention.add_zero_attn:
            raise ValueError(
                "surgery takes a torch.nn.MultiheadAttention without `add_bias_kv` and `add_zero_attn`, got one with"
            )
        self.embed_dim, self.num_heads = attention.embed_dim, attention.num_heads
        self.dropout, self.batch_first = attention.dropout, attention.batch_first
        for name in ("in_proj_weight", "q_proj_weight", "k_proj_weight", "v_proj_weight", "in_proj_bias"):
            self.register_parameter(name, getattr(attention, name))
        # a class of torch's own, which is a Linear in all but name
        self.out_proj: nn.Module = attention.out_proj
        self.train(attention.training)

    def forward(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        key_padding_mask: Tensor | None = None,
        need_weights: bool = True,
        attn_mask: Tensor | None = None,
        average_attn_weights: bool = True,
        is_causal: bool = False,
    ) -> tuple[Tensor, Tensor | None]:
        """Attend, with the arguments and results of torch.nn.MultiheadAttention.

        Args:
            query: (batch, queries, channels); first axes exchanged unless `batch_first`; without batch: 2 axes.
            key: As the query, with as many tokens as there are keys.
            value: As the key.
            key_padding_mask: True, or -infinity, where a key is left out. # (batch, keys)
            need_weights: Whether the scores are returned too.
            attn_mask: True where a query must not attend to a key, or numbers that are added to scores.
                # (queries, keys) or (batch * heads, queries, keys)
            average_attn_weights: Whether the returned scores are averaged over heads.
            is_causal: Whether `attn_mask`, which must be given, is causal; it changes no result.
        """
        if is_causal and attn_mask is None:
            raise ValueError("MultiheadAttention needs `attn_mask` if `is_causal` is true, as torch's does, got none")
        single = query.dim() == 2
        same = key is query and value is key
        if single:
            query, key, value = (x.unsqueeze(0) for x in (query, key, value))
            key_padding_mask = None if key_padding_mask is None else key_padding_mask.unsqueeze(0)
        elif not self.batch_first:
            query, key, value = (x.transpose(0, 1) for x in (query, key, value))
        q, k, v = (self._heads(x) for x in self._projected(query, key, value, same))
        scores = q @ k.transpose(-1, -2) * q.shape[-1] ** -0.5  # (batch, heads, queries, keys)
        scores = masked_softmax(scores, self._joined(attn_mask, key_padding_mask, scores.dtype))
        y = F.dropout(scores, self.dropout, self.training) @ v  # (batch, heads, queries, head_dim)
        y = self.out_proj(y.transpose(1, 2).flatten(2))  # (batch, queries, channels)
        weights = (scores.mean(1) if average_attn_weights else scores) if need_weights else None
        if single:
            return y.squeeze(0), None if weights is None else weights.squeeze(0)
        return (y if self.batch_first else y.transpose(0, 1)), weights

    def _projected(self, query: Tensor, key: Tensor, value: Tensor, same: bool) -> tuple[Tensor, ...]:
        """Queries, keys and values before they are split into heads. # (batch, tokens, channels) each"""
        whole: Any = self.in_proj_weight
        bias: Any = self.in_proj_bias
        if whole is not None and same:
            return F.linear(query, whole, bias).chunk(3, dim=-1)
        weights: Any = (
            whole.chunk(3) if whole is not None else (self.q_proj_weight, self.k_proj_weight, self.v_proj_weight)
        )
        biases = (None, None, None) if bias is None else bias.chunk(3)
        return tuple(F.linear(x, w, b) for x, w, b in zip((query, key, value), weights, biases, strict=True))

    def _heads(self, x: Tensor) -> Tensor:
        """# (batch, tokens, channels) to (batch, heads, tokens, head_dim)"""
        return x.unflatten(-1, (self.num_heads, -1)).transpose(1, 2)

    def _joined(self, mask: Tensor | None, padding: Tensor | None, dtype: torch.dtype) -> Tensor | None:
        """Both masks as numbers that are added to scores. # broadcasts against (batch, heads, queries, keys)"""
        joined: Tensor | None = None
        for given in (mask, None if padding is None else padding[:, None, None, :]):
            if given is None:
                continue
            if given.dim() == 3:
                given = given.unflatten(0, (-1, self.num_heads))  # (batch, heads, queries, keys)
            if given.dtype == torch.bool:
                given = torch.zeros_like(given, dtype=dtype).masked_fill(given, float("-inf"))
            joined = given if joined is None else joined + given
        return joined
