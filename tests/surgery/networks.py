"""Networks of timm that surgery is tried on: a table, random weights that let every layer count, and what to expect."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import timm
import torch
from torch import Tensor, nn

from asim_lightning import MacroConfig, Plan, calibrate_, convert_
from asim_lightning.surgery import ConversionReport, macro_layers, set_fidelity_
from tests.conftest import relative

IDEAL = MacroConfig(weight_bits=16, input_bits=16, adc_bits=None)
NARROW = {"stem_width": 4, "channels": [8, 16, 32, 64]}
"""Arguments of a small ResNet."""
VIT = {"img_size": 32, "patch_size": 8, "embed_dim": 48, "depth": 2, "num_heads": 3, "num_classes": 10}
"""Arguments of a small ViT."""


class Net(nn.Module):
    """Named parts, and a forward pass that is a function of them and of the input."""

    def __init__(self, forward: Callable[[Any, Tensor], Any], **parts: nn.Module | nn.Parameter) -> None:
        super().__init__()
        self.function = forward
        for name, part in parts.items():
            setattr(self, name, part)

    def forward(self, x: Tensor) -> Any:
        return self.function(self, x)


class Odd(nn.Conv2d):
    """Computes something else than its base."""

    def forward(self, x: Tensor) -> Tensor:
        return -super().forward(x)


def doubled(layer: nn.Module) -> nn.Module:
    """A layer with a hook that doubles what it computes."""
    layer.register_forward_hook(lambda module, inputs, output: 2 * output)
    return layer


@dataclass(frozen=True)
class Network:
    """One of timm's networks, small enough for a test."""

    name: str
    size: int = 0
    """Height and width of an image; 0 is timm's own."""
    kwargs: dict[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        return self.name


_SMALL = {"img_size": 64, "depth": 2, "embed_dim": 48, "num_heads": 3}
_SWIN = {"depths": (2, 1), "embed_dim": 24, "num_heads": (1, 2), "img_size": 64, "window_size": 4}

FAST = [  # slower networks are in `ALL`
    Network("resnet18", 48, {"layers": (1, 1, 1, 1)}),
    Network("vgg11", 32, {"mlp_ratio": 1 / 64}),
    Network("test_vit", 160),
    Network("deit_tiny_distilled_patch16_224", 224, {"depth": 2}),
    Network("test_convnext", 160),
    Network("mobilenetv3_small_050", 48),
    Network("ghostnet_050", 48),
    Network("test_nfnet", 96),
    Network("swin_tiny_patch4_window7_224", 64, _SWIN),
    Network("swinv2_tiny_window8_256", 64, _SWIN),
    Network("swinv2_cr_tiny_224", 64, {**_SWIN, "window_size": 2}),
    Network("beit_base_patch16_224", 64, _SMALL),
    Network("eva02_tiny_patch14_224", 56, {"depth": 2, "img_size": 56}),
    Network("vit_relpos_small_patch16_224", 64, _SMALL),
    Network("xcit_nano_12_p16_224", 64, {"depth": 2}),
    Network("cait_xxs24_224", 64, {"depth": 2, "img_size": 64}),
    Network("convit_tiny", 64, {"depth": 2, "local_up_to_layer": 1, "img_size": 64}),
    Network("crossvit_tiny_240", 240, {"depth": ((1, 2, 0),), "embed_dim": (24, 48), "num_heads": (1, 1)}),
    Network("gmixer_12_224", 32, {"img_size": 32}),
]  # fmt: skip

ALL = {
    **dict.fromkeys([
        "beit_base_patch16_224", "botnet26t_256", "cait_xxs24_224", "coat_tiny", "coatnet_nano_rw_224",
        "coatnet_pico_rw_224", "coatnet_rmlp_nano_rw_224", "convit_tiny", "deit3_small_patch16_224",
        "deit_tiny_patch16_224", "eca_botnext26ts_256", "efficientformerv2_s0", "eva02_tiny_patch14_224",
        "flexivit_small", "gcvit_xxtiny", "gmixer_12_224", "gmlp_ti16_224", "hiera_tiny_224", "levit_128s",
        "maxvit_nano_rw_256", "maxvit_pico_rw_256", "maxvit_rmlp_pico_rw_256", "nest_tiny", "pit_ti_224",
        "resmlp_12_224", "swin_tiny_patch4_window7_224", "swinv2_cr_tiny_224", "swinv2_tiny_window8_256",
        "test_coatnet", "test_vit_relpos",
        "tnt_s_legacy_patch16_224", "visformer_tiny", "vit_base_patch16_rope_reg1_gap_256", "vit_base_patch32_224",
        "vit_srelpos_small_patch16_224", "vit_tiny_patch16_224", "vit_tiny_r_s16_p8_224", "vitamin_small_224",
        "volo_d1_224",
    ], (96, True)),
    **dict.fromkeys([
        "efficientformer_l1", "halonet26t", "halonet_h1",
    ], (0, False)),
    **dict.fromkeys([
        "caformer_s18", "convmixer_768_32", "convnext_zepto_rms", "convnextv2_atto", "cpubone_nano",
        "crossvit_tiny_240", "cs3darknet_focus_s", "cspnext_tiny", "cspresnext50", "darknet17", "davit_tiny",
        "densenet121", "densenet169", "densenetblur121d", "dla46_c", "dla46x_c", "dla60x_c", "dm_nfnet_f0",
        "dpn48b", "dpn68", "dpn68b", "eca_nfnet_l0", "eca_vovnet39b", "edgenext_xx_small", "efficientnet_b0",
        "efficientvim_m1", "efficientvit_b0", "efficientvit_m0", "ese_vovnet19b_slim_dw", "fasternet_t0",
        "fastvit_t8", "focalnet_tiny_srf", "gernet_s", "ghostnet_050", "ghostnetv2_100", "ghostnetv3_050",
        "hardcorenas_b", "hgnet_tiny", "hgnetv2_b0", "hieradet_small", "hrnet_w18_small", "iformer_t",
        "inception_next_atto", "inception_resnet_v2", "inception_v3", "inception_v4", "lambda_resnet26t",
        "lcnet_035", "lcnetv2_small", "legacy_seresnet18", "legacy_xception", "lowformer_b0", "mambaout_femto",
        "mnasnet_small", "mobilenetv2_035", "mobilenetv3_small_050", "mobilenetv4_conv_small_035", "mobileone_s1",
        "mobilevit_xxs", "mobilevitv2_050", "mvitv2_tiny", "nextvit_small", "nf_regnet_b0", "poolformer_s12",
        "poolformerv2_s12", "pvt_v2_b0", "rdnet_tiny", "regnetx_002", "regnety_002", "regnetz_005",
        "repghostnet_050", "repvit_m1", "res2net50_14w_8s", "res2net50d", "res2next50", "resnest14d", "resnest26d",
        "resnest50d_1s4x24d", "resnet10t", "resnet14t", "resnet50", "resnetv2_18", "resnetv2_50x1_bit",
        "rexnet_100", "rexnetr_100", "selecsls42", "selecsls42b", "selecsls60", "sequencer2d_s", "shvit_s1",
        "skresnet18", "skresnet34", "skresnet50", "starnet_s050", "swiftformer_xs", "test_byobnet", "test_convnext",
        "test_efficientnet", "test_mambaout", "test_nfnet", "test_resnet", "test_vit", "tf_efficientnetv2_b0",
        "tiny_vit_5m_224", "tresnet_m", "twins_svt_small", "vit_tiny_patch16_dinov3_qkvb", "vovnet39a",
        "xception41", "xception41p", "xception65p", "xcit_nano_12_p16_224", "xcit_nano_12_p8_224",
    ], (96, False)),
}  # fmt: skip
"""Networks of all of timm's families: size of an image, 0 for timm's own, and whether it is an argument."""
ILL_CONDITIONED = {"resnest14d", "resnest26d"}
"""Networks that round-off in any layer moves far on uniform images, which BatchNorms fitted to normal ones do not
expect: in float, 1e-5 of the largest input of each layer moves their logits by up to 0.3 % and 8 %."""


def built(network: Network) -> tuple[nn.Module, Tensor]:
    """A network with random weights of which none is zero, BatchNorms that fit, and a batch of two images."""
    torch.manual_seed(0)
    model = timm.create_model(network.name, num_classes=7, **network.kwargs)
    size = (3, network.size, network.size) if network.size else model.pretrained_cfg["input_size"]
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            # layer scales and gates of 0 or 1e-6, and layers that start as nothing, would hide what is behind them
            if "bias" not in name and float(parameter.abs().max()) < 1e-3:
                parameter.copy_(
                    torch.rand_like(parameter) * 0.5 + 0.5
                    if parameter.dim() < 2
                    else torch.randn_like(parameter) * 0.05
                )
    if batchnorms(model):
        fit_norms_(model, torch.randn(4, *size))
    return model.eval(), torch.randn(2, *size)


def distance(model: nn.Module, x: Tensor, macro: MacroConfig = IDEAL, **plan: Any) -> tuple[float, ConversionReport]:
    """How far a network is from its float output on macros, and the report of its conversion."""
    with torch.no_grad():
        expected = model.eval()(x)
        report = convert_(model, Plan(macro, **plan), x)
        calibrate_(model, [x])
        return relative(model(x), expected), report


def logits(model: nn.Module, x: Tensor) -> Tensor:
    """What a network answers, the mean of several heads."""
    y = model(x)
    return torch.stack(list(y)).mean(0) if isinstance(y, (tuple, list)) else y


def without_gradient(model: nn.Module, x: Tensor) -> list[str]:
    """Layers on macros whose output has no gradient of the logits; scores (qk) need only be connected to them."""
    set_fidelity_(model, "float")
    outputs: dict[str, list[Tensor]] = {name: [] for name in macro_layers(model)}
    hooks = [
        layer.register_forward_hook(lambda _, __, y, name=name: outputs[name].append(y))
        for name, layer in macro_layers(model).items()
    ]
    y = logits(model, x)
    for hook in hooks:
        hook.remove()
    every = [(name, output) for name, some in outputs.items() for output in some]
    gradients = torch.autograd.grad((y * torch.randn_like(y)).sum(), [output for _, output in every], allow_unused=True)
    # random weights may make scores so large that the softmax has exactly no gradient; connected scores count
    moving = {
        name
        for (name, _), each in zip(every, gradients, strict=True)
        if each is not None and (each.any() or name.endswith("qk"))
    }
    return [name for name in outputs if name not in moving]


def batchnorms(model: nn.Module) -> list[nn.modules.batchnorm._BatchNorm]:
    """BatchNorms of a network, in its order."""
    return [m for m in model.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]


@torch.no_grad()
def fit_norms_(model: nn.Module, x: Tensor) -> None:
    """Give BatchNorms the statistics of a batch."""
    for norm in batchnorms(model):
        norm.momentum = 1.0
    model.train()(x)


@torch.no_grad()
def disturb_(norm: nn.modules.batchnorm._BatchNorm) -> None:
    """Statistics of which none is neutral; a tenth of the scales negative, the first zero."""
    count = norm.num_features
    if norm.running_mean is not None and norm.running_var is not None:
        norm.running_mean.add_(0.3 * torch.randn(count) * norm.running_var.sqrt())
        norm.running_var.mul_(torch.rand(count) + 0.5)
    if norm.affine:
        norm.weight.copy_((torch.rand(count) + 0.5) * torch.where(torch.rand(count) < 0.1, -1.0, 1.0))
        norm.weight[0] = 0.0
        norm.bias.copy_(0.3 * torch.randn(count))


def fitted(model: nn.Module, x: Tensor) -> nn.Module:
    """A network in evaluation whose BatchNorms have statistics near those of a batch, and none that is neutral."""
    fit_norms_(model, x)
    for norm in batchnorms(model):
        disturb_(norm)
    return model.eval()
