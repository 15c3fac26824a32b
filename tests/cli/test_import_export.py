"""`asim import` and `asim export`: weights of the published simulator, torchvision and timm, and back."""

import functools
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
import torchvision
from safetensors.torch import load_file
from torch import Tensor, nn

from asim_lightning import CimClassifier, Plan
from asim_lightning.backbone import BackboneConfig
from asim_lightning.nn.calibration import quantized_layers
from tests.cli.conftest import Asim, Refused, Run
from tests.golden_cases import FOLDER, cases, reference_state
from tests.test_safe_load import Hostile

MODELS = cases("models")
LARGE = ("resnet50_224px_w8a8", "vgg16_bn_224px_w8a8", "vit_b_32_224px_w8a9")
"""Networks for large images; tests of exchange/ hold their keys, tests of nn/ attention and its scale."""


def published(path: Path, state: dict[str, Tensor], **more: Any) -> Path:
    """A checkpoint as the published code saves it."""
    whole = {"model_state_dict": state, "optimizer_state_dict": {}, "epoch": 79, "best_acc": np.float64(0.93), **more}
    torch.save(whole, path)
    return path


@functools.cache
def drawn_resnet() -> dict[str, Tensor]:
    return reference_state("resnet18_32px_w8a8", 1000)


def logits(checkpoint: Path, fidelity: str, x: Tensor) -> Tensor:
    model = CimClassifier.load_from_checkpoint(checkpoint).eval()
    model.fidelity = fidelity
    for layer in quantized_layers(model).values():
        layer.input_range = "batch"
    with torch.no_grad():
        return model(x)


@pytest.mark.parametrize(
    "case", [pytest.param(case, marks=pytest.mark.slow if case in LARGE else ()) for case in MODELS]
)
def test_a_published_checkpoint_gives_the_published_logits_and_comes_back_bit_for_bit(
    case: str, asim: Asim, folder: Path
) -> None:
    settings = MODELS[case]
    state = reference_state(case, settings["weight_seed"])
    file = published(folder / "given.pkl", state)
    said = asim("import", file, "--to", "got.ckpt")
    table = said.out.split("\n\n")[0].splitlines()[2:]
    assert sorted(line.split()[0] for line in table) == sorted(state)  # every key, once
    assert "0 missing, 0 unknown" in said.out
    shape = (settings["batch"], 3, settings["image_size"], settings["image_size"])
    x = torch.tensor(np.random.default_rng(settings["input_seed"]).standard_normal(shape).astype(np.float32))
    with np.load(FOLDER / "models.npz") as stored:
        expected = torch.from_numpy(stored[case])
    difference = (logits(folder / "got.ckpt", settings["fidelity"], x) - expected).abs().max() / expected.abs().max()
    assert float(difference) < 5 * settings["moved_by_2e_6"]
    assert asim("export", "got.ckpt", "--format", "published", "--to", "back.pkl").code == 0
    back = torch.load(folder / "back.pkl", weights_only=True)["model_state_dict"]
    assert set(back) == set(state)
    assert all(back[key].dtype == value.dtype and torch.equal(back[key], value) for key, value in state.items())


@pytest.mark.parametrize(
    ("name", "ours", "size"),
    [("resnet18", "resnet18", 64), pytest.param("vit_b_32", "vit_base_patch32_224", 224, marks=pytest.mark.slow)],
)
def test_torchvision_weights_give_torchvisions_logits(
    name: str, ours: str, size: int, asim: Asim, folder: Path
) -> None:
    torch.manual_seed(0)
    model = torchvision.models.get_model(name, num_classes=12).eval()
    for module in model.modules():  # an untrained head gives zeros, and untrained statistics hide a BatchNorm
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(module.running_var, 0.5, 2.0)
            torch.nn.init.normal_(module.running_mean, std=0.2)
        if isinstance(module, torch.nn.Linear):
            torch.nn.init.normal_(module.weight, std=0.05)
    torch.save(model.state_dict(), "given.pth")
    said = asim("import", "given.pth", "--to", "got.ckpt")
    assert f" {ours}, 12 classes" in said.out
    x = torch.randn(2, 3, size, size)
    with torch.no_grad():
        expected = model(x)
    found = logits(folder / "got.ckpt", "float", x)
    assert float((found - expected).abs().max() / expected.abs().max()) < 1e-5
    assert asim("export", "got.ckpt", "--format", "torchvision", "--to", "back.pth").code == 0
    back, given = torch.load("back.pth", weights_only=True), model.state_dict()
    assert {key: tuple(value.shape) for key, value in back.items()} == {k: tuple(v.shape) for k, v in given.items()}
    assert all(torch.equal(back[key], value) for key, value in given.items())


def test_a_key_that_is_not_accounted_for_stops_the_import_unless_asked(asim: Asim, folder: Path) -> None:
    state = {**drawn_resnet(), "extra": torch.ones(3)}
    del state["layer2.0.bn1.bias"]
    file = published(folder / "given.pkl", state)
    error = asim("import", file, "--to", "got.ckpt").error
    assert "2 of 133 tensors" in error
    assert "extra is unknown: resnet18 has no such tensor" in error
    assert "nothing was written; --force writes all others" in error
    assert not (folder / "got.ckpt").exists()
    said = asim("import", file, "--to", "got.ckpt", "--force")
    assert "1 missing, 1 unknown" in said.out
    model = CimClassifier.load_from_checkpoint(folder / "got.ckpt")
    assert torch.equal(model.backbone.layer2[0].bn1.bias, torch.zeros(128))  # as the network draws it


def test_files_that_hold_no_weights(asim: Asim, folder: Path) -> None:
    headless = {key: value for key, value in drawn_resnet().items() if key[:3] != "fc."}
    hostile = Hostile(os.system, "touch it_ran")
    for whole, message in (
        ({"model_state_dict": headless, "x": hostile}, "is refused: a checkpoint must hold tensors and plain values"),
        ({"model_state_dict": headless}, "has no classifier: fc.weight is missing"),
        ({"state_dict": {"backbone.conv1.weight": torch.ones(1)}}, "is a checkpoint of this package already"),
    ):
        torch.save(whole, "given.pkl")
        assert f"given.pkl {message}" in asim("import", "given.pkl", "--to", "got.ckpt").error
        assert [path.name for path in folder.iterdir()] == ["given.pkl"]  # nothing written, nothing run


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (
            ("import", "given.pkl", "--to", "a.yaml"),
            "`--to` must be a .ckpt for weights (a .yaml for a config.py), ",
        ),
        (("import", "given.pkl", "--to", "a.ckpt", "--network", "resnet34"), "for (layer1.2.conv1.weight is missing"),
        (("import", "config.py", "--to", "a.yaml", "--force"), "are for weights, not for a config.py"),
        (
            ("export", "own.ckpt", "--format", "onnx", "--to", "x.pth"),
            "must be one of published, torchvision, timm",
        ),
        (("export", "own.ckpt", "--format", "published", "--to", "x.pth"), "must end in .pkl for published, got x.pth"),
        (("export", "own.ckpt", "--format", "published", "--to", "x.pkl"), "The published format has the networks res"),
        (("export", "given.pkl", "--format", "timm", "--to", "x.pth"), "a state_dict, tensors by name"),
        (("export", "other.ckpt", "--format", "timm", "--to", "x.pth"), "other.ckpt does not name its network"),
    ],
)
def test_wrong_arguments(arguments: tuple[str, ...], expected: str, refused: Refused, run: Run, folder: Path) -> None:
    published(folder / "given.pkl", drawn_resnet())
    torch.save({"state_dict": {"a": torch.ones(1)}}, folder / "other.ckpt")
    refused(arguments, expected, {"own.ckpt": run.checkpoint.read_bytes()})


def test_settings_become_a_recipe_that_runs(asim: Asim, folder: Path) -> None:
    from tests.exchange.published.configs import config_text

    (folder / "config.py").write_text(config_text())
    said = asim("import", "config.py", "--to", "mine.yaml")
    assert "next     asim explain -c mine.yaml" in said.out
    assert (folder / "mine.yaml").read_text().splitlines()[1].endswith("-c mine.yaml")
    assert "layers on a macro" in asim("explain", "-c", "mine.yaml").out


def test_a_network_of_other_widths_is_named_with_its_arguments(asim: Asim, folder: Path) -> None:
    assert asim("export", "fashion_vit_qat", "--format", "timm", "--to", "given.safetensors").code == 0
    kwargs = "{in_chans: 1, img_size: 28, patch_size: 4, embed_dim: 64, depth: 4, num_heads: 4}"
    options = ("--network", "vit_tiny_patch16_224", "--kwargs", kwargs)
    said = asim("import", "given.safetensors", "--to", "got.ckpt", *options)
    assert said.last == "next     asim validate --ckpt_path got.ckpt"
    accuracy = asim("validate", "--ckpt_path", "got.ckpt", "--data.init_args.test_images", "10").accuracy
    assert accuracy == asim(
        "validate", "--ckpt_path", "fashion_vit_qat", "--data.init_args.test_images", "10",
        "--model.fidelity", "simulated",
    ).accuracy  # fmt: skip


def test_what_comes_next_names_the_pictures_of_timms_weights(asim: Asim, folder: Path) -> None:
    torch.save(timm.create_model("resnet18", num_classes=0).state_dict(), folder / "given.pth")
    assert "`model.num_classes` must be 2 or more, got 0" in asim("import", "given.pth", "--to", "got.ckpt").error
    torch.save(timm.create_model("resnet18").state_dict(), folder / "given.pth")
    said = asim("import", "given.pth", "--to", "got.ckpt")
    assert said.last.endswith("--data.init_args.normalize pretrained --data.init_args.pretrained_cfg resnet18")


# export

NARROW = {"depth": 2, "img_size": 64}
EPSILON = functools.partial(nn.LayerNorm, eps=1e-5)


def checkpoint(path: Path, model: CimClassifier, **more: Any) -> Path:
    """A checkpoint as a fit writes it."""
    torch.save({"state_dict": model.state_dict(), "hyper_parameters": dict(model.hparams), **more}, path)
    return path


def transformer(**settings: Any) -> CimClassifier:
    torch.manual_seed(0)
    config = BackboneConfig("vit_base_patch32_224", NARROW, **settings)
    return CimClassifier(config, Plan(), 10, fidelity="float").eval()


def test_timms_attention_gives_the_same_function_whatever_the_scale_was(asim: Asim, folder: Path) -> None:
    model = transformer(attention_scale="embed_dim", norm_eps=1e-5)
    nn.init.normal_(model.backbone.blocks[0].attn.qkv.weight, std=0.1)  # scores that matter
    nn.init.normal_(model.backbone.blocks[1].attn.qkv.bias)
    checkpoint(folder / "given.ckpt", model)
    said = asim("export", "given.ckpt", "--format", "timm", "--to", "back.safetensors")
    assert "queries times 0.288675" in said.out
    assert "LayerNorm epsilon is 1e-05 here and 1e-06 there" in said.out
    other = timm.create_model("vit_base_patch32_224", num_classes=10, norm_layer=EPSILON, **NARROW).eval()
    other.load_state_dict(load_file("back.safetensors"))
    x = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        expected, found = model(x), other(x)
    assert float((found - expected).abs().max() / expected.abs().max()) < 1e-5


def test_a_transformer_of_timm_goes_to_the_published_code_with_larger_queries(asim: Asim, folder: Path) -> None:
    model = transformer()
    checkpoint(folder / "given.ckpt", model)
    said = asim("export", "given.ckpt", "--format", "published", "--to", "back.pkl", "--force")
    assert "queries times 3.4641" in said.out
    back = torch.load("back.pkl", weights_only=True)["model_state_dict"]
    given = model.backbone.blocks[0].attn.qkv.weight
    found = back["encoder.layers.0.self_attention.qkv.weight"]
    assert torch.allclose(found[:768], given[:768] * 12**0.5)
    assert torch.equal(found[768:], given[768:])


def test_a_stem_that_is_not_used_is_drawn_as_the_published_code_draws_it(asim: Asim, folder: Path) -> None:
    torch.manual_seed(0)
    model = CimClassifier(BackboneConfig("resnet18", small=True, image_size=32), Plan(pact=True), 10)
    checkpoint(folder / "given.ckpt", model)
    assert "not used; drawn at random" in asim("export", "given.ckpt", "--format", "published", "--to", "back.pkl").out
    stem = torch.load("back.pkl", weights_only=True)["model_state_dict"]["conv2.weight"]
    assert stem.shape == (64, 3, 7, 7)
    assert float(stem.std()) == pytest.approx((2 / (64 * 49)) ** 0.5, rel=0.03)
