"""Decoders of tokens convert without a setting: every product is on a macro, alone and in a batch to the same bit."""

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import asim_lightning
from asim_lightning import MacroConfig, Plan, calibrate_, convert_
from asim_lightning.engine import noise_context

TOKENS, WIDTH, LENGTH = 20, 16, 10


class Transposed(nn.Module):
    """GPT-2's linear layer, whose weight is (inputs, outputs)."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.randn(inputs, outputs) * 0.2), nn.Parameter(torch.zeros(outputs))

    def forward(self, x: Tensor) -> Tensor:
        return torch.addmm(self.bias, x.reshape(-1, x.shape[-1]), self.weight).view(*x.shape[:-1], -1)


class GPT(nn.Module):
    """A block of GPT-2, with a causal mask and a mask of padding, which is token 0."""

    def __init__(self, heads: int = 2) -> None:
        super().__init__()
        self.wte, self.wpe, self.heads = nn.Embedding(TOKENS, WIDTH), nn.Embedding(LENGTH, WIDTH), heads
        self.ln1, self.ln2, self.ln3 = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
        self.c_attn, self.c_proj = Transposed(WIDTH, 3 * WIDTH), Transposed(WIDTH, WIDTH)
        self.c_fc, self.c_out = Transposed(WIDTH, 2 * WIDTH), Transposed(2 * WIDTH, WIDTH)
        self.lm_head = nn.Linear(WIDTH, TOKENS, bias=False)
        self.register_buffer("causal", torch.ones(LENGTH, LENGTH).triu(1).bool())

    def forward(self, tokens: Tensor) -> Tensor:
        batch, length = tokens.shape
        x = self.wte(tokens) + self.wpe(torch.arange(length, device=tokens.device))
        q, k, v = (
            each.view(batch, length, self.heads, -1).transpose(1, 2) for each in self.c_attn(self.ln1(x)).chunk(3, -1)
        )
        hidden = self.causal[:length, :length] | (tokens == 0)[:, None, None, :]
        scores = (q @ k.transpose(-2, -1) * q.shape[-1] ** -0.5).masked_fill(hidden, -1e9).softmax(-1)
        x = x + self.c_proj((scores @ v).transpose(1, 2).reshape(batch, length, -1))
        x = x + self.c_out(F.gelu(self.c_fc(self.ln2(x))))
        return self.lm_head(self.ln3(x))  # type: ignore[no-any-return]


def rope(x: Tensor) -> Tensor:
    length, width = x.shape[-2:]
    angles = torch.arange(length)[:, None] * 100.0 ** (-torch.arange(0, width, 2) / width)
    low, high = x.chunk(2, -1)
    return x * angles.cos().repeat(1, 2) + torch.cat([-high, low], -1) * angles.sin().repeat(1, 2)


class LLaMA(nn.Module):
    """A block of LLaMA: grouped heads, rope, a gate; attention as torch fuses it or by its parts."""

    def __init__(self, fused: bool, heads: int = 4, groups: int = 2) -> None:
        super().__init__()
        self.fused, self.heads, self.groups = fused, heads, groups
        self.embed, self.few = nn.Embedding(TOKENS, WIDTH), WIDTH * groups // heads
        self.n1, self.n2, self.n3 = nn.RMSNorm(WIDTH), nn.RMSNorm(WIDTH), nn.RMSNorm(WIDTH)
        self.q_proj, self.o_proj = nn.Linear(WIDTH, WIDTH, bias=False), nn.Linear(WIDTH, WIDTH, bias=False)
        self.k_proj, self.v_proj = nn.Linear(WIDTH, self.few, bias=False), nn.Linear(WIDTH, self.few, bias=False)
        self.gate, self.up = nn.Linear(WIDTH, 2 * WIDTH, bias=False), nn.Linear(WIDTH, 2 * WIDTH, bias=False)
        self.down, self.lm_head = nn.Linear(2 * WIDTH, WIDTH, bias=False), nn.Linear(WIDTH, TOKENS, bias=False)

    def forward(self, tokens: Tensor) -> Tensor:
        batch, length = tokens.shape
        x = self.embed(tokens)
        y = self.n1(x)
        q = rope(self.q_proj(y).view(batch, length, self.heads, -1).transpose(1, 2))
        k = rope(self.k_proj(y).view(batch, length, self.groups, -1).transpose(1, 2))
        v = self.v_proj(y).view(batch, length, self.groups, -1).transpose(1, 2)
        k, v = (each.repeat_interleave(self.heads // self.groups, 1) for each in (k, v))
        if self.fused:
            found = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        else:
            scores = q @ k.transpose(-2, -1) * q.shape[-1] ** -0.5
            found = (scores + torch.full((length, length), float("-inf")).triu(1)).softmax(-1) @ v
        x = x + self.o_proj(found.transpose(1, 2).reshape(batch, length, -1))
        y = self.n2(x)
        return self.lm_head(self.n3(x + self.down(F.silu(self.gate(y)) * self.up(y))))  # type: ignore[no-any-return]


@pytest.mark.parametrize("make", [GPT, lambda: LLaMA(fused=True), lambda: LLaMA(fused=False)])
def test_a_decoder_is_on_macros_alone_and_in_a_batch(make: Callable[[], nn.Module]) -> None:
    torch.manual_seed(0)
    network, tokens = make().eval(), torch.randint(TOKENS, (4, LENGTH))
    with torch.no_grad():
        before = network(tokens)
    report = convert_(network, Plan(MacroConfig(random_noise=0.3, rows=8)), tokens[:2])
    assert [row.name for row in report if row.macro is None] == []
    assert {"qk", "av", "head"} <= {row.kind for row in report}
    assert "stem" not in {row.kind for row in report}
    calibrate_(network, [(tokens, tokens)])
    with torch.no_grad(), noise_context(1, 0, torch.arange(4)):
        together = network(tokens)
    for place in range(4):
        with torch.no_grad(), noise_context(1, 0, torch.tensor([place])):
            assert torch.equal(network(tokens[place : place + 1]), together[place : place + 1])
    assert 0 < float((together - before).abs().mean()) < 0.2 * float(before.abs().mean())
    found = asim_lightning.study(network, (tokens, tokens), axes={"random_noise": [0.3]}, outcome="next token")
    hits = before[:, :-1].argmax(-1) == tokens[:, 1:]
    assert found[0].value == pytest.approx(float(hits.float().mean()))
    assert found.points[0].energy_uj


def test_a_product_that_mixes_tokens_of_samples_stays_float() -> None:
    class Mixes(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed, self.lin, self.head = nn.Embedding(8, 4), nn.Linear(4, 4), nn.Linear(4, 2)

        def forward(self, tokens: Tensor) -> Tensor:
            x = self.embed(tokens).transpose(0, 1)  # tokens first
            return self.head(self.lin(x).mean(0))  # type: ignore[no-any-return]

    torch.manual_seed(0)
    report = convert_(Mixes(), Plan(), torch.randint(8, (2, 16)))
    assert report["lin"].why_kept.startswith("first axis of its inputs is not the batch")
    assert report["head"].macro is not None
