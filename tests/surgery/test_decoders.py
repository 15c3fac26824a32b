"""Decoders of tokens convert without a setting: every product is on a macro, alone and in a batch to the same bit."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from asim_lightning import MacroConfig, Plan, calibrate_, convert_
from asim_lightning.engine import noise_context
from tests.surgery.networks import Net

TOKENS, WIDTH, LENGTH = 20, 16, 10


class Transposed(nn.Module):
    """GPT-2's linear layer, whose weight is (inputs, outputs)."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.randn(inputs, outputs) * 0.2), nn.Parameter(torch.zeros(outputs))

    def forward(self, x: Tensor) -> Tensor:
        return torch.addmm(self.bias, x.reshape(-1, x.shape[-1]), self.weight).view(*x.shape[:-1], -1)


def linear(inputs: int, outputs: int) -> nn.Linear:
    return nn.Linear(inputs, outputs, bias=False)


def heads(x: Tensor, number: int) -> Tensor:
    """(batch, tokens, width) as (batch, heads, tokens, width of a head)."""
    return x.unflatten(-1, (number, -1)).transpose(1, 2)


def gpt() -> Net:
    """A block of GPT-2, with a causal mask and a mask of padding, which is token 0."""
    causal = torch.ones(LENGTH, LENGTH).triu(1).bool()

    def forward(model: Any, tokens: Tensor) -> Tensor:
        length = tokens.shape[1]
        x = model.wte(tokens) + model.wpe(torch.arange(length))
        q, k, v = (heads(each, 2) for each in model.c_attn(model.ln1(x)).chunk(3, -1))
        hidden = causal[:length, :length] | (tokens == 0)[:, None, None, :]
        scores = (q @ k.transpose(-2, -1) * q.shape[-1] ** -0.5).masked_fill(hidden, -1e9).softmax(-1)
        x = x + model.c_proj((scores @ v).transpose(1, 2).flatten(2))
        x = x + model.c_out(F.gelu(model.c_fc(model.ln2(x))))
        return model.lm_head(model.ln3(x))

    return Net(
        forward, wte=nn.Embedding(TOKENS, WIDTH), wpe=nn.Embedding(LENGTH, WIDTH),
        **{name: nn.LayerNorm(WIDTH) for name in ("ln1", "ln2", "ln3")},
        c_attn=Transposed(WIDTH, 3 * WIDTH), c_proj=Transposed(WIDTH, WIDTH),
        c_fc=Transposed(WIDTH, 2 * WIDTH), c_out=Transposed(2 * WIDTH, WIDTH), lm_head=linear(WIDTH, TOKENS),
    )  # fmt: skip


def rope(x: Tensor) -> Tensor:
    length, width = x.shape[-2:]
    angles = torch.arange(length)[:, None] * 100.0 ** (-torch.arange(0, width, 2) / width)
    low, high = x.chunk(2, -1)
    return x * angles.cos().repeat(1, 2) + torch.cat([-high, low], -1) * angles.sin().repeat(1, 2)


def llama() -> Net:
    """A block of LLaMA: four heads in two groups, rope, a gate, and attention as torch fuses it."""

    def forward(model: Any, tokens: Tensor) -> Tensor:
        x = model.embed(tokens)
        y = model.n1(x)
        q, k = rope(heads(model.q_proj(y), 4)), rope(heads(model.k_proj(y), 2))
        k, v = (each.repeat_interleave(2, 1) for each in (k, heads(model.v_proj(y), 2)))
        found = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + model.o_proj(found.transpose(1, 2).flatten(2))
        y = model.n2(x)
        return model.lm_head(model.n3(x + model.down(F.silu(model.gate(y)) * model.up(y))))

    few = WIDTH // 2
    return Net(
        forward, embed=nn.Embedding(TOKENS, WIDTH), **{name: nn.RMSNorm(WIDTH) for name in ("n1", "n2", "n3")},
        q_proj=linear(WIDTH, WIDTH), k_proj=linear(WIDTH, few), v_proj=linear(WIDTH, few), o_proj=linear(WIDTH, WIDTH),
        gate=linear(WIDTH, 2 * WIDTH), up=linear(WIDTH, 2 * WIDTH), down=linear(2 * WIDTH, WIDTH),
        lm_head=linear(WIDTH, TOKENS),
    )  # fmt: skip


@pytest.mark.parametrize("make", [gpt, llama])
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


def test_tokens_that_come_before_samples_have_noise_of_their_own() -> None:
    def forward(model: Any, tokens: Tensor) -> Tensor:
        x = model.embed(tokens).transpose(0, 1)  # tokens first
        return model.head(model.lin(x)[-1])

    model = Net(forward, embed=nn.Embedding(8, 4), lin=nn.Linear(4, 4), head=nn.Linear(4, 2)).eval()
    tokens = torch.randint(8, (3, 16))
    report = convert_(model, Plan(MacroConfig(random_noise=1.0)), tokens)
    assert [row.name for row in report.on_macro] == ["lin", "head"]
    assert (model.lin.by_row, model.head.by_row) == (True, False)
    calibrate_(model, [tokens])
    with torch.no_grad(), noise_context(sample_ids=[4, 5, 6]):
        together = model(tokens)
    with torch.no_grad(), noise_context(sample_ids=[5]):
        assert torch.equal(model(tokens[1:2]), together[1:2])
