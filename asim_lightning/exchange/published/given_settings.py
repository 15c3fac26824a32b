"""The settings of a published config.py: every known one with its published value, and a file's, taken one by one."""

from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any, TypeAlias

from asim_lightning.checks import check_choice
from asim_lightning.exchange.layouts import PUBLISHED_VITS, RESNETS, VGGS
from asim_lightning.exchange.published.assignments import read_assignments

Names: TypeAlias = dict[str, str]
"""Published names of a macro's fields."""

NETWORKS = {
    **{f"ResNet-{name.removeprefix('resnet')}": name for name in RESNETS[:5]},
    **{name.upper().replace("_", "-"): name for name in VGGS},
    **dict(zip(("ViT-B-16", "ViT-B-32", "ViT-L-16", "ViT-L-32", "ViT-H-14"), PUBLISHED_VITS, strict=True)),
}
"""timm's name of each published network."""

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


class Given:
    """The settings of a file, and notes on those without counterpart. Methods take the NAME of a cfg.NAME."""

    def __init__(self, file: Path) -> None:
        self.file, self.settings = file, read_assignments(file)
        self._notes: dict[str, str] = {}

    def value(self, name: str) -> Any:
        """The value of a setting, or the published value if the file does not set it."""
        return self.settings[name].value if name in self.settings else KNOWN[name]

    def choice(self, name: str, allowed: Sequence[str]) -> str:
        """An allowed text; refuses any other."""
        value = self.value(name)
        check_choice(self._place(name), value, allowed)
        return str(value)

    def shown(self, name: str) -> str:
        """The source of a value; the published value if the file does not set it."""
        return self.settings[name].text if name in self.settings else repr(KNOWN[name])

    def error(self, name: str, what: str) -> ValueError:
        """An error with file and line, and the sentence about a setting."""
        return ValueError(f"{self._place(name)} {what}")

    def _place(self, name: str) -> str:
        line = f", line {self.settings[name].line}" if name in self.settings else ""
        return f"{self.file}{line}: cfg.{name}"

    def note(self, name: str, what: str) -> None:
        """Say how to replace a setting without counterpart; `notes` leaves out settings that the file does not set."""
        self._notes[name] = what

    def notes(self, network: str) -> tuple[str, ...]:
        """All notes in the order of the file, then a note on missing settings."""
        for name in self.settings.keys() - KNOWN.keys():
            near = get_close_matches(name, KNOWN, n=1, cutoff=0.7)
            nearest = f"; nearest: cfg.{near[0]}" if near else ""
            self.note(name, f"the published config.py has no such setting, and the recipe does not either{nearest}")
        found = [
            f"cfg.{name} = {self.shown(name)}: {self._notes[name]}" for name in self.settings if name in self._notes
        ]
        needed = {**COMMON, **(VIT if network.startswith("ViT") else CNN)}
        taken = {name: value for name, value in needed.items() if name not in self.settings and value is not None}
        if taken:
            shown = ", ".join(f"{name} ({value})" for name, value in taken.items())
            found.append(f"not in the file, published values taken: {shown}")
        return tuple(found)
