"""Whole networks agree with the published simulator, quantised and on a lossless macro."""

import math
from typing import Any

import numpy as np
import pytest
import timm
import torch
from torch import Tensor, nn

from asim_lightning import MacroConfig, Plan, convert_
from asim_lightning.classifier import BackboneConfig, build_backbone
from asim_lightning.nn import PACT, CimAttention
from asim_lightning.surgery import set_fidelity_
from tests.golden_cases import FOLDER, cases

MODELS, KEYS = cases("models"), cases("model_keys")


def reference_state(case: str, seed: int) -> dict[str, Tensor]:
    """The seeded weights of the published network, by its own keys (golden/README.md of the reference outputs)."""
    state = {}
    for number, (key, shape) in enumerate(KEYS[case].items()):
        draw = np.random.default_rng(seed + number)
        if key.endswith("num_batches_tracked"):
            value = np.zeros(shape)
        elif key.endswith("alpha"):
            value = np.full(shape, 3.0)
        elif key.endswith("running_var"):
            value = draw.uniform(0.5, 1.5, shape)
        elif key.endswith("running_mean"):
            value = 0.1 * draw.standard_normal(shape)
        elif len(shape) == 4:
            value = draw.standard_normal(shape) * math.sqrt(2 / (shape[0] * shape[2] * shape[3]))
        elif len(shape) == 2:
            value = draw.standard_normal(shape) * math.sqrt(1 / shape[1])
        elif len(shape) == 1 and key.endswith("weight"):
            value = draw.uniform(0.5, 1.5, shape)
        elif len(shape) == 1:
            value = 0.1 * draw.standard_normal(shape)
        else:
            value = 0.02 * draw.standard_normal(shape)
        state[key] = torch.tensor(np.asarray(value, dtype=np.float32))
    return state


def resnet(settings: dict[str, Any], state: dict[str, Tensor], plan: dict[str, Any]) -> nn.Module:
    small = settings["image_size"] < 100
    name = settings["reference_model"].removesuffix("_asim")
    model = build_backbone(BackboneConfig(name, small=small), settings["num_classes"])
    convert_(model, Plan(pact=True, **plan))
    stem = state.pop("conv1.weight" if small else "conv2.weight")
    state.pop("conv2.weight" if small else "conv1.weight")
    mapped = {"conv1.weight": stem}
    for key, value in state.items():
        if key.endswith("relu.alpha"):
            acts = [n for n, m in model.named_modules() if isinstance(m, PACT)]
            prefix = key.removesuffix("relu.alpha")
            mapped |= {n + ".alpha": value for n in acts if n.rpartition(".")[0] == prefix.rstrip(".")}
        else:
            mapped[key] = value
    model.load_state_dict(mapped)
    return model


def vgg(settings: dict[str, Any], state: dict[str, Tensor], plan: dict[str, Any]) -> nn.Module:
    model = timm.create_model("vgg16_bn", num_classes=settings["num_classes"])
    convert_(model, Plan(pact=True, **plan))
    alphas = {k: v for k, v in state.items() if k.endswith("alpha")}
    names = {"classifier.0": "pre_logits.fc1", "classifier.3": "pre_logits.fc2", "classifier.6": "head.fc"}
    mapped = {}
    for key, value in state.items():
        layer, _, leaf = key.rpartition(".")
        if leaf != "alpha":
            name = names.get(layer, layer) + "." + leaf
            mapped[name] = value.view(dict(model.state_dict())[name].shape)
    for name, module in model.named_modules():
        if isinstance(module, PACT):  # one shared clip, but a plain ReLU after the first convolution
            mapped[name + ".alpha"] = torch.tensor(1e30) if name == "features.2" else next(iter(alphas.values()))
    model.load_state_dict(mapped)
    return model


VIT_NAMES = {
    "encoder.pos_embedding": "pos_embed", "patch_embedding.conv_proj": "patch_embed.proj", "encoder.layers": "blocks",
    "ln_1": "norm1", "ln_2": "norm2", "self_attention": "attn", "mlp.mlp1": "mlp.fc1", "mlp.mlp2": "mlp.fc2",
    "encoder.ln": "norm", "heads": "head",
}  # fmt: skip


def vit(settings: dict[str, Any], state: dict[str, Tensor], plan: dict[str, Any]) -> nn.Module:
    model = timm.create_model("vit_base_patch32_224", num_classes=settings["num_classes"])
    convert_(model, Plan(**plan))
    mapped = {}
    for key, value in state.items():
        for old, new in VIT_NAMES.items():
            key = key.replace(old, new)
        mapped[key] = value
    model.load_state_dict(mapped)
    for module in model.modules():
        if isinstance(module, CimAttention):
            module.scale = 768**-0.5
        if isinstance(module, nn.LayerNorm):
            module.eps = 1e-5
    return model


@pytest.mark.parametrize("case", list(MODELS))
def test_logits_match(case: str) -> None:
    settings = MODELS[case]
    macro = MacroConfig(
        settings["weight_bits"], settings["input_bits"], rows=settings["rows"], adc_bits=settings["adc_bits"]
    )
    name = settings["reference_model"]
    build = resnet if name.startswith("resnet") else vgg if name.startswith("vgg") else vit
    state = reference_state(case, settings["weight_seed"])
    model = build(settings, state, {"macro": macro, "input_range": "batch"}).eval()
    set_fidelity_(model, settings["fidelity"])
    shape = (settings["batch"], 3, settings["image_size"], settings["image_size"])
    x = torch.tensor(np.random.default_rng(settings["input_seed"]).standard_normal(shape).astype(np.float32))
    with torch.no_grad():
        logits = model(x)
    with np.load(FOLDER / "models.npz") as stored:
        expected = torch.from_numpy(stored[case])
    difference = float((logits - expected).abs().max() / expected.abs().max())
    print(case, difference, settings["moved_by_2e_6"])
    assert difference < 5 * settings["moved_by_2e_6"]
