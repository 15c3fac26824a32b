"""Networks of timm: ideal macros keep the output, every layer on a macro counts, and multiplications are true."""

import pytest
import timm
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from asim_lightning import Plan, calibrate_, convert_
from asim_lightning.engine import noise_context
from asim_lightning.surgery import ConversionReport
from tests.conftest import relative
from tests.surgery.networks import ALL, FAST, IDEAL, Network, built, logits, silent_layers


def counted_macs(model: nn.Module, x: torch.Tensor) -> int:
    """Multiplications of one sample by torch's own count, with attention that it can count."""
    for module in model.modules():
        if hasattr(module, "fused_attn"):
            module.fused_attn = False
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    with FlopCounterMode(display=False) as counter:
        model(x[:1])
    for parameter in model.parameters():
        parameter.requires_grad_(True)
    return int(counter.get_total_flops()) // 2


def check(network: Network) -> None:
    model, x = built(network)
    keys = set(model.state_dict())
    macs = counted_macs(model, x)
    expected, moved = logits(model, x), logits(model, x * (1 + 1e-5 * torch.randn_like(x)))
    report = convert_(model, Plan(IDEAL), x)
    calibrate_(model, [x])
    with noise_context(seed=1, sample_ids=[5, 9]):
        error = relative(logits(model, x), expected)
    # 16 bits are about as coarse as a change of 1e-5 in a layer: what that moves far is chaotic in float
    assert error < 1e-2 or error < 50 * relative(moved, expected), f"differs by {error}"
    assert keys <= set(model.state_dict())
    assert abs(total_macs(report) - macs) <= 0.01 * macs
    assert all(row.macro is not None or row.why_kept for row in report)
    assert not silent_layers(model, x[:1])


def total_macs(report: ConversionReport) -> int:
    return sum(row.macs or 0 for row in report)


@pytest.mark.parametrize("network", FAST, ids=str)
def test_network(network: Network) -> None:
    check(network)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("name", ALL)
def test_any_network(name: str) -> None:
    if name not in timm.list_models():
        pytest.skip(f"this version of timm has no {name}")
    size, is_argument = ALL[name]
    check(Network(name, size, {"img_size": size} if is_argument else {}))
