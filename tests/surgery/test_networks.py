"""Networks of timm: ideal macros keep the output, every layer on a macro counts, and multiplications are true."""

import pytest
import timm
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from asim_lightning import Plan, calibrate_, convert_
from asim_lightning.engine import noise_context
from asim_lightning.surgery import recount_
from tests.conftest import relative
from tests.surgery.networks import ALL, FAST, IDEAL, ILL_CONDITIONED, Network, built, logits, without_gradient


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


@torch.no_grad()
def check(network: Network) -> None:
    model, x = built(network)
    keys = set(model.state_dict())
    macs = counted_macs(model, x)
    expected, moved = logits(model, x), logits(model, x * (1 + 1e-5 * torch.randn_like(x)))
    report = convert_(model, Plan(IDEAL), x)
    assert [row.macs for row in recount_(model, x[:1])] == [row.macs for row in report]
    calibrate_(model, [x])
    with noise_context(seed=1, sample_ids=[5, 9]):
        error = relative(logits(model, x), expected)
    # 16 bits are about as coarse as a change of 1e-5 in a layer: what that moves far is chaotic in float
    assert error < 1e-2 or error < 50 * relative(moved, expected), f"differs by {error}"
    assert keys <= set(model.state_dict())
    assert abs(sum(row.macs or 0 for row in report) - macs) <= 0.01 * macs
    assert all(row.macro is not None or row.why_kept for row in report)
    with torch.enable_grad():
        assert not without_gradient(model, x[:1])


@torch.no_grad()
def check_on_other_images(network: Network) -> None:
    """A network that is converted on normal images takes others: normal, positive and negative ones."""
    model, x = built(network)
    torch.manual_seed(3)
    images = [torch.randn(x.shape), torch.rand(x.shape), -torch.rand(x.shape)]
    torch.manual_seed(4)
    expected = [logits(model, each) for each in images]
    moved = [logits(model, each * (1 + 1e-4 * torch.randn(x.shape))) for each in images]
    convert_(model, Plan(IDEAL), x)
    for each, right, near in zip(images, expected, moved, strict=True):
        calibrate_(model, [each])
        with noise_context(seed=1, sample_ids=[5, 9]):
            error = relative(logits(model, each), right)
        if network.name not in ILL_CONDITIONED:
            # 16 bits move a network about as far as a change of its input by 1e-4 does
            assert error < max(1e-2, 10 * relative(near, right)), f"differs by {error}"


@pytest.mark.parametrize("network", FAST, ids=str)
def test_network(network: Network) -> None:
    check(network)


def test_a_network_on_other_images() -> None:
    small = {"img_size": 64, "depths": (1, 1), "embed_dim": (32, 32)}
    check_on_other_images(Network("maxvit_pico_rw_256", 64, small))  # means of SiLUs are positive for some images only


@pytest.mark.slow
def test_a_network_with_silent_layers_on_other_images() -> None:
    check_on_other_images(Network("csatv2", 64))  # its LayerNorms of one channel give 0, which layers multiply


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("name", ALL)
def test_any_network(name: str) -> None:
    if name not in timm.list_models():
        pytest.skip(f"this version of timm has no {name}")
    size, is_argument = ALL[name]
    network = Network(name, size, {"img_size": size} if is_argument else {})
    check(network)
    check_on_other_images(network)
