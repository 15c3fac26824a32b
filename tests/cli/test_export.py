"""asim export: a checkpoint's weights go back to the published simulator, torchvision and timm."""

from pathlib import Path
from typing import Any

import pytest
import timm
import torch
import torchvision
from safetensors.torch import load_file
from torch import Tensor, nn

from asim_lightning import CimClassifier, Plan
from asim_lightning.backbone import BackboneConfig
from tests.cli.conftest import Asim, Run

NARROW = {"depth": 2}


def checkpoint(path: Path, model: CimClassifier, **more: Any) -> Path:
    """A checkpoint as a fit writes it."""
    torch.save({"state_dict": model.state_dict(), "hyper_parameters": dict(model.hparams), **more}, path)
    return path


def transformer(**settings: Any) -> CimClassifier:
    torch.manual_seed(0)
    config = BackboneConfig("vit_base_patch32_224", NARROW, **settings)
    return CimClassifier(config, Plan(), 10, fidelity="float").eval()


def out(model: nn.Module, x: Tensor) -> Tensor:
    with torch.no_grad():
        return model(x)


@pytest.mark.parametrize(("scale", "eps"), [("head_dim", None), ("embed_dim", 1e-5)])
def test_timms_attention_gives_the_same_function_whatever_the_scale_was(
    scale: str, eps: float | None, asim: Asim, folder: Path
) -> None:
    model = transformer(attention_scale=scale, norm_eps=eps)
    nn.init.normal_(model.backbone.blocks[0].attn.qkv.weight, std=0.1)  # scores that matter
    nn.init.normal_(model.backbone.blocks[1].attn.qkv.bias)
    checkpoint(folder / "given.ckpt", model)
    said = asim("export", "given.ckpt", "--format", "timm", "--to", "back.safetensors")
    assert said.code == 0, said.err
    assert ("queries times 0.288675" in said.out) == (scale == "embed_dim")
    assert ("LayerNorm epsilon is 1e-05 here and 1e-06 there" in said.out) == (eps is not None)
    other = timm.create_model("vit_base_patch32_224", num_classes=10, **NARROW).eval()
    other.load_state_dict(load_file("back.safetensors"))
    for module in other.modules():
        if isinstance(module, nn.LayerNorm):
            module.eps = eps or 1e-6
    x = torch.randn(2, 3, 224, 224)
    expected = out(model, x)
    assert float((out(other, x) - expected).abs().max() / expected.abs().max()) < 1e-5


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


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_a_trained_checkpoint_goes_to_timm(suffix: str, run: Run, asim: Asim) -> None:
    said = asim("export", run.checkpoint, "--format", "timm", "--to", "back" + suffix)
    assert said.code == 0, said.err
    assert "0 missing, 0 unknown" in said.out
    state = load_file("back" + suffix) if suffix == ".safetensors" else torch.load("back" + suffix, weights_only=True)
    trained = torch.load(run.checkpoint, weights_only=True)["state_dict"]
    assert state
    assert all(torch.equal(value, trained["backbone." + key]) for key, value in state.items())
    assert not any(key.endswith("input_max") for key in state)


def test_a_stem_that_is_not_used_is_drawn_as_the_published_code_draws_it(asim: Asim, folder: Path) -> None:
    torch.manual_seed(0)
    model = CimClassifier(BackboneConfig("resnet18", small=True, image_size=32), Plan(pact=True), 10)
    checkpoint(folder / "given.ckpt", model)
    assert "not used; drawn at random" in asim("export", "given.ckpt", "--format", "published", "--to", "back.pkl").out
    stem = torch.load("back.pkl", weights_only=True)["model_state_dict"]["conv2.weight"]
    assert stem.shape == (64, 3, 7, 7)
    assert float(stem.std()) == pytest.approx((2 / (64 * 49)) ** 0.5, rel=0.03)
    assert asim("import", "back.pkl", "--to", "again.ckpt").code == 0


@pytest.mark.slow
def test_torchvision_takes_what_it_is_given(asim: Asim, folder: Path) -> None:
    torch.manual_seed(0)
    model = CimClassifier(BackboneConfig("vgg11", small=False, image_size=224), Plan(), 10, fidelity="float").eval()
    checkpoint(folder / "given.ckpt", model)
    assert asim("export", "given.ckpt", "--format", "torchvision", "--to", "back.pth").code == 0
    with torch.device("meta"):  # without the seconds of random weights
        other = torchvision.models.vgg11(num_classes=10).eval()
    other.load_state_dict(torch.load("back.pth", weights_only=True), assign=True)
    x = torch.randn(1, 3, 224, 224)
    assert torch.allclose(out(other, x), out(model, x), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("--format", "onnx", "--to", "x.pth"), "`--format` must be one of published, torchvision, timm, got 'onnx'"),
        (("--format", "timm", "--to", "x.pkl"), "`--to` must end in .pth or .safetensors for timm, got x.pkl"),
        (("--format", "published", "--to", "x.pth"), "`--to` must end in .pkl for published, got x.pth"),
        (("--format", "published", "--to", "x.pkl"), "The published format has the networks resnet18, resnet34, "),
    ],
)
def test_wrong_arguments(arguments: tuple[str, ...], expected: str, run: Run, asim: Asim, folder: Path) -> None:
    assert expected in asim("export", run.checkpoint, *arguments).error
    assert not list(folder.iterdir())


def test_files_that_are_no_checkpoints_of_ours(asim: Asim, folder: Path) -> None:
    options = ("--format", "timm", "--to", "x.pth")
    assert (
        "There is no file 'nosuch.ckpt'; shipped checkpoints, nearest" in asim("export", "nosuch.ckpt", *options).error
    )
    torch.save({"state_dict": {"a": torch.ones(1)}}, folder / "other.ckpt")
    assert "other.ckpt does not say which network it is of" in asim("export", "other.ckpt", *options).error
