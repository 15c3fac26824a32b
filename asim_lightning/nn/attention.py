"""Multi-head self-attention with its products on macros."""

from typing import Any

from torch import Tensor, nn

from asim_lightning.circuit import MacroConfig
from asim_lightning.nn.assignment import Assignment
from asim_lightning.nn.linear import CimLinear, CimMatmul
from asim_lightning.nn.on_macro import OnMacro
from asim_lightning.nn.product_mode import masked_softmax
from asim_lightning.nn.quantized import QuantizedLayer

_PARTS = ("qkv", "q_norm", "k_norm", "attn_drop", "norm", "proj", "proj_drop")


class CimAttention(nn.Module):
    """Self-attention: ``softmax(scale * Q K^T) V`` between two linear layers.

    As published, Q K^T encodes the keys and stores the queries; A V encodes the scores (unsigned) and stores the
    values. Each product and linear layer is a module with its own macro and fidelity. State dict keys are as in timm.

    Args:
        attention: An attention with timm's parts (qkv, proj, norms, dropouts, num_heads, head_dim, scale), which this
            module shares.
        qk: Module that multiplies keys by queries: (batch, heads, keys, k), (batch, heads, queries, k).
        av: Module that multiplies scores by values: (batch, heads, queries, keys), (batch, heads, k, keys).

    Raises:
        ValueError: The attention has a gate, which this layer does not compute.

    Examples:
        >>> import timm, torch
        >>> from asim_lightning import MacroConfig
        >>> from asim_lightning.nn import CimAttention
        >>> attention = timm.layers.Attention(dim=8, num_heads=2).eval()
        >>> CimAttention.from_timm(attention, MacroConfig())(torch.rand(1, 5, 8)).shape
        torch.Size([1, 5, 8])
    """

    scale: float
    """Factor of the scores before softmax; the published simulator uses embed_dim ** -0.5."""
    qkv: nn.Module
    q_norm: nn.Module
    k_norm: nn.Module
    attn_drop: nn.Module
    norm: nn.Module
    proj: nn.Module
    proj_drop: nn.Module

    def __init__(self, attention: Any, qk: nn.Module, av: nn.Module) -> None:
        super().__init__()
        if getattr(attention, "gate", None) is not None:
            raise ValueError("CimAttention takes attention without a gate, got one with a gate")
        self.num_heads: int = attention.num_heads
        self.head_dim: int = attention.head_dim
        self.scale = float(attention.scale)
        for part in _PARTS:
            setattr(self, part, getattr(attention, part, None) or nn.Identity())
        self.qk, self.av = qk.train(attention.training), av.train(attention.training)
        self.training = attention.training  # its parts may have modes of their own

    @classmethod
    def from_timm(
        cls,
        attention: nn.Module,
        macro: MacroConfig,
        qk_macro: MacroConfig | None = None,
        av_macro: MacroConfig | None = None,
        proj_macro: MacroConfig | None = None,
        input_range: str = "batch",
        name: str = "",
        **settings: Any,
    ) -> "CimAttention":
        """Attention on macros from timm's Attention; parameters are shared.

        Args:
            attention: timm.layers.Attention.
            macro: Macro of all products without another macro; inputs are signed.
            qk_macro: Macro of Q K^T: weight_bits for queries, input_bits and encoding_bits for keys.
            av_macro: Macro of A V: weight_bits for values, input_bits and encoding_bits for scores. Default: the
                macro, with 8 input bits instead of 9.
            proj_macro: Macro of the qkv and output projections.
            input_range: "batch", "calibrated" or "token".
            name: Full name in the network.
            settings: More arguments of CimLinear.
        """
        prefix = name + "." if name else ""
        qk = CimMatmul(qk_macro or macro, True, input_range, prefix + "qk", rows_in_cells=True)
        scores = Assignment(av_macro) if av_macro else Assignment(macro, is_scores=True)
        av = CimMatmul(scores.macro, False, input_range, prefix + "av")
        av.assignment = scores
        layer = cls(attention, qk, av)
        for part in ("qkv", "proj"):
            linear, own = getattr(attention, part), proj_macro or macro
            setattr(layer, part, CimLinear.from_float(linear, own, True, input_range, name=prefix + part, **settings))
        return layer.to(next(attention.parameters()).device)

    @property
    def parts(self) -> list[QuantizedLayer]:
        """The quantised layers: linear layers and products that do not stay float."""
        return [part for part in (self.qkv, self.qk, self.av, self.proj) if isinstance(part, QuantizedLayer)]

    @property
    def fidelity(self) -> str:
        """Fidelity of all parts; "mixed" if they differ. Setting it sets all of them."""
        found = {part.fidelity for part in self.parts}
        return found.pop() if len(found) == 1 else "mixed"

    @fidelity.setter
    def fidelity(self, fidelity: str) -> None:
        for part in self.parts:
            part.fidelity = fidelity

    @property
    def train_noise(self) -> float:
        """Largest training noise of the parts on a macro, in the unit of its model. Setting it sets all of them."""
        return max((part.train_noise for part in self.parts if isinstance(part, OnMacro)), default=0.0)

    @train_noise.setter
    def train_noise(self, amount: float) -> None:
        for part in self.parts:
            if isinstance(part, OnMacro):
                part.train_noise = amount

    def forward(self, x: Tensor, attn_mask: Tensor | None = None, is_causal: bool = False) -> Tensor:
        """Attend.

        Args:
            x: Tokens. # (batch, tokens, channels)
            attn_mask: False where a query must not attend to a key, or numbers that are added to scores, digitally.
                # broadcasts against (batch, heads, queries, keys)
            is_causal: Whether a query attends to no later key.

        Returns:
            Same type and device as x. # (batch, tokens, channels)
        """
        batch, tokens, _ = x.shape
        qkv = self.qkv(x).reshape(batch, tokens, 3, self.num_heads, self.head_dim).permute(2, 0, 3, 1, 4)
        q, k, v = qkv.unbind(0)  # (batch, heads, tokens, head_dim) each
        q, k = self.q_norm(q), self.k_norm(k)
        scores = self.qk(k, q).transpose(-1, -2) * self.scale  # (batch, heads, queries, keys)
        scores = self.attn_drop(masked_softmax(scores, attn_mask, is_causal))
        y = self.av(scores, v.transpose(-1, -2))  # (batch, heads, queries, head_dim)
        y = y.transpose(1, 2).reshape(batch, tokens, self.num_heads * self.head_dim)
        return self.proj_drop(self.proj(self.norm(y)))  # type: ignore[no-any-return]
