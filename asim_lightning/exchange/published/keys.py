"""Every setting of the published config.py, the family of networks that it is for, and its published value."""

from types import MappingProxyType
from typing import Any

NETWORKS = MappingProxyType(
    {
        **{f"ResNet-{depth}": f"resnet{depth}" for depth in (18, 34, 50, 101, 152)},
        **{f"VGG{depth}": f"vgg{depth}" for depth in (11, 13, 16, 19)},
        **{f"VGG{depth}-BN": f"vgg{depth}_bn" for depth in (11, 13, 16, 19)},
        "ViT-B-16": "vit_base_patch16_224",
        "ViT-B-32": "vit_base_patch32_224",
        "ViT-L-16": "vit_large_patch16_224",
        "ViT-L-32": "vit_large_patch32_224",
        "ViT-H-14": "vit_huge_patch14_224",
    }
)
"""timm's name of each published network."""

CONV = MappingProxyType(
    {
        "weight_bits": "asim_conv_wbit",
        "input_bits": "asim_conv_xbit",
        "adc_bits": "asim_conv_adc_prec",
        "rows": "asim_conv_nrow",
        "random_noise": "asim_conv_rand_noise_sigma",
        "nonlinear_noise": "asim_conv_non_linear_sigma",
        "encoding_bits": "asim_act_enc",
        "digital_levels": "asim_cnn_hybrid_levels",
    }
)
"""Published names of the macro fields of convolutions."""

LINEAR = MappingProxyType(
    {
        "weight_bits": "asim_linear_wbit",
        "input_bits": "asim_linear_xbit",
        "adc_bits": "asim_linear_adc_prec",
        "rows": "asim_linear_nrow",
        "random_noise": "asim_linear_rand_noise_sigma",
        "nonlinear_noise": "asim_linear_non_linear_sigma",
        "encoding_bits": "asim_linear_act_enc",
        "digital_levels": "asim_cnn_hybrid_levels",
    }
)
"""Of the linear layers of ResNets and VGGs."""


def _attention(part: str, weight: str, inputs: str, encoding: str) -> MappingProxyType[str, str]:
    names = {
        "weight_bits": f"asim_vit_attn_{part}_{weight}",
        "input_bits": f"asim_vit_attn_{part}_{inputs}",
        "adc_bits": f"asim_vit_attn_{part}_adc_prec",
        "rows": "asim_vit_attn_nrow",
        "random_noise": f"asim_vit_attn_{part}_rand_noise_sigma",
        "nonlinear_noise": f"asim_vit_attn_{part}_non_linear_sigma",
        "encoding_bits": f"asim_vit_attn_{part}_{encoding}",
        "digital_levels": "asim_vit_hybrid_levels",
    }
    return MappingProxyType(names)


QK = _attention("qk", "qbit", "kbit", "k_enc")
"""Of the product of queries, which are stored, and keys."""
AV = _attention("av", "vbit", "abit", "a_enc")
"""Of the product of scores and values, which are stored."""
PROJ = _attention("proj", "wbit", "xbit", "act_enc")
"""Of a transformer's projections: query, key and value, and output."""


def _linear_of_vit(part: str) -> MappingProxyType[str, str]:
    names = {field: name.replace("asim_linear", f"asim_vit_{part}") for field, name in LINEAR.items()}
    return MappingProxyType({**names, "digital_levels": "asim_vit_hybrid_levels"})


MLP = _linear_of_vit("mlp")
"""Of a transformer's MLPs."""
FC = _linear_of_vit("fc")
"""Of a transformer's classifier."""

_MACRO: dict[str, Any] = {
    "weight_bits": 8,
    "input_bits": 8,
    "adc_bits": 8,
    "rows": 255,
    "random_noise": 0.0,
    "nonlinear_noise": 0.0,
    "encoding_bits": None,
    "digital_levels": None,
}


def _published(*groups: MappingProxyType[str, str]) -> dict[str, Any]:
    return {name: _MACRO[field] for group in groups for field, name in group.items()}


COMMON = MappingProxyType(
    {
        "task": "CIFAR-10",
        "model_name": "ResNet-18",
        "device": "cuda",
        "cls_num": 10,
        "image_size": 32,
        "large_model": False,
        "train_dir": None,
        "valid_dir": None,
        "test_dir": None,
        "pretrain_model_path": None,
        "train_bs": 128,
        "valid_bs": 128,
        "train_workers": 8,
        "test_bs": 128,
        "test_workers": 8,
        "max_epoch": 200,
        "lr_init": 0.01,
        "milestones": None,
        "mixup": False,
        "mixup_alpha": 1.0,
        "label_smooth": False,
        "label_smooth_eps": 0.01,
        "momentum": 0.9,
        "weight_decay": 1e-4,
        "factor": 0.1,
        "log_interval": 10,
        "transforms_train": None,
        "transforms_valid": None,
        "transforms_test": None,
    }
)
"""Settings for every network, with their published values; None where the task decides or there is none."""

CNN = MappingProxyType(
    {
        "PACT": True,
        **_published(CONV, LINEAR),
        "asim_conv_mode": "Simulation",
        "asim_signed_act": False,
        "asim_conv_trim_noise": 0.0,
        "asim_linear_mode": "Simulation",
        "asim_linear_signed_act": False,
        "asim_linear_layer": "fc",
        "asim_linear_trim_noise": 0.0,
        "quant_conv_mode": "Train",
        "quant_conv_wbit": 8,
        "quant_conv_xbit": 8,
    }
)
"""Settings for ResNets and VGGs alone."""

VIT = MappingProxyType(
    {
        "vit_quant_conv_proj": False,
        **_published(QK, AV, PROJ, MLP, FC),
        "asim_vit_attn_mode": "Train",
        "asim_vit_attn_attn_trim_noise": 0.0,
        "asim_vit_attn_proj_trim_noise": 0.0,
        "asim_vit_mlp_mode": "Train",
        "asim_vit_mlp_trim_noise": 0.0,
        "asim_vit_fc_mode": "Train",
        "asim_vit_fc_trim_noise": 0.0,
        "asim_vit_quant_conv_mode": "Train",
        "asim_vit_quant_conv_wbit": 8,
        "asim_vit_quant_conv_xbit": 8,
    }
)
"""Settings for transformers alone."""

KNOWN = MappingProxyType({**COMMON, **CNN, **VIT})
"""All settings of the published config.py, with their published values."""
