"""The settings of the published config.py with their published values, and the fields of a macro that they are."""

from typing import Any, TypeAlias

Names: TypeAlias = dict[str, str]
"""Published names of a macro's fields."""

_PUBLISHED_MACRO = {
    "weight_bits": 8, "input_bits": 8, "adc_bits": 8, "rows": 255, "random_noise": 0.0, "nonlinear_noise": 0.0,
    "encoding_bits": None, "digital_levels": None,
}  # fmt: skip


def _names(start: str, family: str, weight: str = "wbit", inputs: str = "xbit", code: str = "act_enc") -> Names:
    ends = (weight, inputs, "adc_prec", "nrow", "rand_noise_sigma", "non_linear_sigma", code)
    names = [*(f"{start}_{end}" for end in ends), f"asim_{family}_hybrid_levels"]
    return dict(zip(_PUBLISHED_MACRO, names, strict=True))


_ATTENTION_ROWS = {"rows": "asim_vit_attn_nrow"}

CONV = {**_names("asim_conv", "cnn"), "encoding_bits": "asim_act_enc"}
LINEAR = _names("asim_linear", "cnn")  # of ResNets and VGGs
QK = {**_names("asim_vit_attn_qk", "vit", "qbit", "kbit", "k_enc"), **_ATTENTION_ROWS}  # queries are stored
AV = {**_names("asim_vit_attn_av", "vit", "vbit", "abit", "a_enc"), **_ATTENTION_ROWS}  # values are stored
PROJ = {**_names("asim_vit_attn_proj", "vit"), **_ATTENTION_ROWS}  # query, key and value, and output
MLP = _names("asim_vit_mlp", "vit")
FC = _names("asim_vit_fc", "vit")  # a transformer's classifier
"""Published names of the macro of each kind of layer."""


def _macros(*groups: Names) -> dict[str, Any]:
    return {name: _PUBLISHED_MACRO[field] for group in groups for field, name in group.items()}


COMMON: dict[str, Any] = {
    "task": "CIFAR-10", "model_name": "ResNet-18", "device": "cuda", "cls_num": 10, "image_size": 32,
    "large_model": False, "train_dir": None, "valid_dir": None, "test_dir": None, "pretrain_model_path": None,
    "train_bs": 128, "valid_bs": 128, "train_workers": 8, "test_bs": 128, "test_workers": 8,
    "max_epoch": 200, "lr_init": 0.01, "milestones": None, "mixup": False, "mixup_alpha": 1.0,
    "label_smooth": False, "label_smooth_eps": 0.01, "momentum": 0.9, "weight_decay": 1e-4, "factor": 0.1,
    "log_interval": 10, "transforms_train": None, "transforms_valid": None, "transforms_test": None,
}  # fmt: skip
"""Settings for every network; None if the task decides or there is none."""

CNN: dict[str, Any] = {
    "PACT": True, **_macros(CONV, LINEAR),
    "asim_conv_mode": "Simulation", "asim_signed_act": False, "asim_conv_trim_noise": 0.0,
    "asim_linear_mode": "Simulation", "asim_linear_signed_act": False, "asim_linear_trim_noise": 0.0,
    "asim_linear_layer": "fc", "quant_conv_mode": "Train", "quant_conv_wbit": 8, "quant_conv_xbit": 8,
}  # fmt: skip
"""Settings only for ResNets and VGGs."""

VIT: dict[str, Any] = {
    "vit_quant_conv_proj": False, **_macros(QK, AV, PROJ, MLP, FC),
    **{f"asim_vit_{part}_mode": "Train" for part in ("attn", "mlp", "fc", "quant_conv")},
    **{f"asim_vit_{part}_trim_noise": 0.0 for part in ("attn_attn", "attn_proj", "mlp", "fc")},
    "asim_vit_quant_conv_wbit": 8, "asim_vit_quant_conv_xbit": 8,
}  # fmt: skip
"""Settings only for transformers."""

KNOWN = {**COMMON, **CNN, **VIT}
"""All settings of the published config.py, with their published values."""
