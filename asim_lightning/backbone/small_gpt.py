"""A small language model: a pre-norm GPT over bytes or other tokens, for recipes and tests without a package."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class SmallGPT(nn.Module):
    """Next-token logits of a decoder: learned positions, LayerNorm before attention and MLP, GELU.

    (Radford et al., "Language Models are Unsupervised Multitask Learners", 2019.)

    Args:
        vocabulary: Number of tokens, such as 256 bytes.
        window: Most tokens of an input.
        width: Channels of the residual stream, a multiple of `heads`.
        depth: Blocks.
        heads: Heads of each attention.
    """

    def __init__(
        self, vocabulary: int = 256, window: int = 128, width: int = 96, depth: int = 4, heads: int = 4
    ) -> None:
        super().__init__()
        if width % heads:
            raise ValueError(f"`width` must be a multiple of `heads`, got {width} and {heads}")
        self.window = window
        self.tokens = nn.Embedding(vocabulary, width)
        self.positions = nn.Embedding(window, width)
        self.blocks = nn.ModuleList(_Block(width, heads) for _ in range(depth))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, vocabulary, bias=False)
        for module in self.modules():
            if isinstance(module, (nn.Linear, nn.Embedding)):
                nn.init.normal_(module.weight, std=0.02)
        for name, parameter in self.named_parameters():
            if name.endswith(("proj.weight", "down.weight")):  # sums of 2 depth of them go into the stream
                nn.init.normal_(parameter, std=0.02 / (2 * depth) ** 0.5)

    def forward(self, tokens: Tensor) -> Tensor:
        """Logits of the next token after each. # (batch, tokens) to (batch, tokens, vocabulary)"""
        count = tokens.shape[1]
        if count > self.window:
            raise ValueError(f"the network takes windows of at most {self.window} tokens, got {count}")
        x = self.tokens(tokens) + self.positions(torch.arange(count, device=tokens.device))
        for block in self.blocks:
            x = block(x)
        return self.head(self.norm(x))  # type: ignore[no-any-return]


class _Block(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.proj = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        # (3, batch, heads, tokens, channels of a head)
        q, k, v = self.qkv(self.norm1(x)).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        attended = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.proj(attended.transpose(1, 2).flatten(2))
        return x + self.down(F.gelu(self.up(self.norm2(x))))  # type: ignore[no-any-return]
