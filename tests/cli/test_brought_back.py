"""What a checkpoint or a saved configuration brings back of a training, and what is written over it."""

from pathlib import Path

import pytest
import torch
import yaml

from asim_lightning import CimClassifier
from asim_lightning.classifier import OptimizerConfig
from asim_lightning.cli.command_line import read_arguments
from asim_lightning.cli.parser import AsimCLI
from asim_lightning.nn.training_noise import NOISE_MODELS
from asim_lightning.surgery import macro_layers
from tests.cli.conftest import Asim, main_in
from tests.cli.runs_to_stop import write_config


@pytest.fixture(scope="module")
def noisy(images: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a run of one epoch with noise, mixup and a cosine; its last.ckpt and best.ckpt."""
    folder = tmp_path_factory.mktemp("noisy")
    path = write_config(folder, images)
    config = yaml.safe_load(path.read_text())
    config["trainer"].update(callbacks=[], max_epochs=1)
    config["model"].update(train_noise=2.0, label_smoothing=0.1)
    config["model"]["optimizer"] = {"lr": 0.05, "schedule": "constant"}
    path.write_text(yaml.safe_dump(config))
    main_in(folder, "fit", "-c", "tiny.yaml")
    return folder / "runs" / "tiny" / "version_0"


def built(*arguments: object) -> CimClassifier:
    """The classifier that a command ends up with."""
    model = AsimCLI(read_arguments([str(argument) for argument in ("explain", *arguments)])).model
    layers = macro_layers(model.backbone).values()
    assert {layer.train_noise for layer in layers} == {model.train_noise}
    assert {type(layer.train_noise_model) for layer in layers} == {NOISE_MODELS[model.hparams["train_noise_model"]]}
    return model


@pytest.mark.parametrize("source", ["checkpoint", "last checkpoint", "configuration"])
def test_options_of_training_come_back(source: str, noisy: Path) -> None:
    arguments = {
        "checkpoint": ("--ckpt_path", noisy / "checkpoints" / "best.ckpt"),
        "last checkpoint": ("--ckpt_path", noisy / "checkpoints" / "last.ckpt"),
        "configuration": ("-c", noisy / "config.yaml"),
    }[source]
    model = built(*arguments)
    assert (model.train_noise, model.mixup, model.label_smoothing) == (2.0, 0.4, 0.1)
    assert model.hparams["train_noise_model"] == "macro"
    assert model.optimizer_config == OptimizerConfig(lr=0.05, schedule="constant")
    flags = ("--model.train_noise", "0", "--model.train_noise_model", "proportional", "--model.mixup", "0.0")
    other = built(*arguments, *flags)
    assert (other.train_noise, other.mixup, other.label_smoothing) == (0.0, 0.0, 0.1)


def test_the_saved_configuration_and_the_checkpoint_alone_agree(asim: Asim, noisy: Path) -> None:
    """Also at the quick estimate, which needs the noise of training."""
    data = yaml.safe_load((noisy / "config.yaml").read_text())["data"]["init_args"]
    images = [f"--data.init_args.{name}={data[name]}" for name in ("root", "test_images", "eval_batch_size")]
    for fidelity in ("quantized", "estimated"):
        flag = ("--model.fidelity", fidelity)
        by_config = asim("validate", "-c", noisy / "config.yaml", *flag)
        by_checkpoint = asim("validate", "--ckpt_path", noisy / "checkpoints" / "best.ckpt", *images, *flag)
        assert by_config.last == by_checkpoint.last
        assert by_config.last.endswith("20 images)")
        assert fidelity.removesuffix("d") in by_config.last


def rate(path: Path) -> float:
    return float(torch.load(path, weights_only=True)["optimizer_states"][0]["param_groups"][0]["lr"])


@pytest.mark.parametrize(
    "flags",
    [
        (),
        ("--model.optimizer.lr", "0.002"),
    ],
    ids=["without a flag", "with a flag"],
)
def test_the_learning_rate_of_a_resumed_fit(flags: tuple[str, ...], asim: Asim, noisy: Path, folder: Path) -> None:
    last = noisy / "checkpoints" / "last.ckpt"
    assert rate(last) == 0.05
    longer = ("--trainer.max_epochs", "2", *flags)
    assert asim("fit", "-c", noisy / "config.yaml", "--ckpt_path", last, *longer).code == 0
    (after,) = folder.glob("runs/*/version_*/checkpoints/last.ckpt")
    assert torch.load(after, weights_only=True)["global_step"] == 8
    assert torch.load(after, weights_only=True)["hyper_parameters"]["optimizer"]["lr"] == float(
        flags[1] if flags else 0.05
    )
    assert rate(after) == float(flags[1] if flags else 0.05)
