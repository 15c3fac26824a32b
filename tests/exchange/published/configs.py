"""Texts in the format of the published config.py, written anew, and other values for each of its settings."""

from collections.abc import Mapping
from typing import Any

from asim_lightning.exchange.published.names import KNOWN

CHANNELS = {
    "CIFAR-10": ((0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)),
    "CIFAR-100": ((0.5071, 0.4867, 0.4408), (0.2675, 0.2565, 0.2761)),
    "ImageNet": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
}
_JITTERS = "[T.ColorJitter(brightness=0.5), T.ColorJitter(contrast=0.5), T.ColorJitter(saturation=0.5), "
_JITTERS += "T.ColorJitter(hue=0.3)]"
_TURN = "T.RandomHorizontalFlip(), T.RandomRotation(15)"
PIPELINES = {
    "transforms_train": f"T.Compose([T.RandomChoice({_JITTERS}), T.Resize((first, first)), T.CenterCrop(first), "
    f"T.RandomCrop(size, padding=4), {_TURN}, T.ToTensor(), T.Normalize(mean, std)])",
    "transforms_valid": "T.Compose([T.Resize((size, size)), T.ToTensor(), T.Normalize(mean, std)])",
    "transforms_test": "T.Compose([T.Resize((size, size)), T.ToTensor(), T.Normalize(mean, std)])",
}

VIT: Mapping[str, Any] = {
    "model_name": "ViT-B-32",
    "image_size": 224,
    **{f"asim_vit_{part}_mode": "Simulation" for part in ("attn", "mlp", "fc")},
    "asim_vit_attn_qk_kbit": 9,
    "asim_vit_attn_proj_xbit": 9,
}
VGG: Mapping[str, Any] = {"task": "CIFAR-100", "model_name": "VGG16-BN", "cls_num": 100}


def config_text(**changes: Any) -> str:
    """A config with all settings: published values, but those that are given; None of a pipeline leaves it out."""
    values = {**KNOWN, "milestones": None, **changes}
    size = values["image_size"]
    lines = [
        '"""Settings."""',
        "import matplotlib.pyplot as plt",
        "import torchvision.transforms as transforms",
        "from easydict import EasyDict",
        "",
        "cfg = EasyDict()  # all settings",
        f"size = {size}",
        f"first = {round(size * 8 / 7) if values['task'] == 'ImageNet' else size}",
    ]
    for name, value in values.items():
        if name == "transforms_train":
            lines += ["assert cfg.task in ['CIFAR-10', 'CIFAR-100', 'ImageNet'], 'no such task'"]
            for task, (mean, std) in CHANNELS.items():
                lines += [f"if cfg.task == {task!r}:", f"    mean = {list(mean)}", f"    std = {list(std)}"]
        if name.startswith("transforms"):
            lines.append(f"cfg.{name} = {(value or PIPELINES[name]).replace('T.', 'transforms.')}")
        elif name == "milestones" and value is None:
            lines.append("cfg.milestones = [int(cfg.max_epoch * 0.6), int(cfg.max_epoch * 0.9)]")
        elif name == "large_model" and "large_model" not in changes:
            lines += ["if size > 100:", "    cfg.large_model = True", "else:", "    cfg.large_model = False"]
        else:
            lines.append(f"cfg.{name} = {value!r}  # {name.replace('_', ' ')}")
    lines += ["", "if __name__ == '__main__':", "    for image in open(cfg.train_dir):", "        plt.imshow(image)"]
    return "\n".join(lines) + "\n"
