"""A recipe names a user's network, data and weights, or a LightningModule, and commands take it."""

import re
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import LightningDataModule, LightningModule
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from asim_lightning import MacroConfig, Plan, convert_
from tests.callbacks.conftest import read_events
from tests.cli.conftest import Asim
from tests.conftest import rows_of
from tests.exploration.own_network import OwnNetwork, own_images

GUIDE = Path(__file__).parents[2] / "notebooks" / "guide" / "own_network.md"
MINE = """
from tests.cli.test_own_network import Data
from tests.exploration.own_network import OwnNetwork as Net
"""


class Data(LightningDataModule):
    """Images that do not say how many classes they have."""

    def loader(self, count: int) -> DataLoader[Any]:
        return DataLoader(TensorDataset(*self.samples(count)), 16)

    def samples(self, count: int) -> tuple[Tensor, Tensor]:
        return own_images(count)

    def train_dataloader(self) -> DataLoader[Any]:
        return self.loader(160)

    def val_dataloader(self) -> DataLoader[Any]:
        return self.loader(8)

    test_dataloader = predict_dataloader = val_dataloader


@pytest.fixture
def recipe(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.syspath_prepend(folder)
    (folder / "my_net.py").write_text(MINE)
    (text,) = re.findall(r'```yaml title="own.yaml"\n(.*?)```', GUIDE.read_text(), re.S)
    assert text.count("\n") <= 15
    (folder / "own.yaml").write_text(f"{text}trainer: {{max_epochs: 1}}\n")
    torch.manual_seed(0)
    torch.save(OwnNetwork().state_dict(), folder / "net.pt")
    return folder


def test_every_command_takes_a_network_of_the_users(asim: Asim, recipe: Path) -> None:
    for command, said in (
        (["sweep", "--axes.random_noise", "[0.1]", "--trials", "1"], "weights  net.pt: 18 tensors"),
        (["search"], "front"),
        (["validate"], "of 8 images"),
        (["fit", "--model.plan.fold_batchnorm", "false"], "weights  runs/own/version_0"),
    ):
        answer = asim(command[0], "-c", "own.yaml", *command[1:])
        assert said in answer.out
    answer = asim("report", "runs/own")
    assert answer.code == 0, answer.err
    assert "my_net.Net" in (recipe / "runs/own/report.html").read_text()
    # a checkpoint may not name code that the user does not name
    path = next(recipe.glob("runs/own/version_0/checkpoints/best.ckpt"))
    answer = asim("validate", "--ckpt_path", path, "--data", "my_net.Data")
    assert answer.code != 0
    assert "names the class my_net.Net for `model.backbone.network`" in answer.err


class Many(Data):
    """More test images."""

    def test_dataloader(self) -> DataLoader[Any]:
        return self.loader(48)


class Changing(Many):
    """Images that a hook changes on the device."""

    def on_after_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
        return [batch[0] / 2, *batch[1:]]


def test_a_doctor_takes_the_users_data_unless_a_hook_changes_its_batches(asim: Asim, recipe: Path) -> None:
    words = ["doctor", "-c", "own.yaml", "--target", "accuracy 60 % of quantized", "--images", "24", "--chips", "2"]
    answer = asim(*words, "--data", f"{__name__}.Many")
    assert answer.code == 0, answer.err
    assert "24 images for map and choice of plans, 24 for the proof" in answer.out
    assert "a Changing with on_after_batch_transfer" in asim(*words, "--data", f"{__name__}.Changing").error


class Sentences(Data):
    def samples(self, count: int) -> tuple[Tensor, Tensor]:
        tokens = torch.randint(20, (count, 10), generator=torch.Generator().manual_seed(count))
        return tokens, tokens


DECODER = """
data: tests.cli.test_own_network.Sentences
model:
  backbone: {network: tests.surgery.test_decoders.llama, input_shape: [10], input_values: 20}
  outcome: next_token
  plan: {macro: {rows: 8}, per_channel: true}
trainer: {max_epochs: 1}
"""


def test_a_decoder_is_rotated_by_a_flag_with_weights_from_before_and_after(asim: Asim, folder: Path) -> None:
    (folder / "lm.yaml").write_text(DECODER)
    flag = "--model.plan.rotate=hadamard"
    for words, said in (
        (["fit"], "runs/lm/version_0"),
        (["validate", "--ckpt_path", "last", flag], "next token"),
        (["fit", "--ckpt_path", "last", flag], "at epoch 0 of 1; `--model.plan.rotate null` continues at its epoch"),
        (["fit", "--ckpt_path", "last", "--trainer.max_epochs=2", flag], "resumes at epoch 1 of 2"),
        (["cost", "--ckpt_path", "last"], "2,240 digital additions transform inputs"),
    ):
        answer = asim(words[0], "-c", "lm.yaml", *words[1:])
        assert answer.code == 0, answer.err
        assert said in answer.out
    words = ("validate", "-c", "lm.yaml", "--ckpt_path", "last", "--model.plan.rotate=null")
    assert "does not fit: " in asim(*words).error


class Segmentation(nn.Sequential):
    def __init__(self, num_classes: int, width: int = 4) -> None:
        up = nn.ConvTranspose2d(8, width, 2, 2)
        last = nn.Conv2d(width, num_classes, 3, padding=1)
        super().__init__(nn.Conv2d(1, 8, 3, 2, 1), nn.ReLU(), up, nn.ReLU(), last)


class Stripes(Data):
    num_classes = 2

    def samples(self, count: int) -> tuple[Tensor, Tensor]:
        draw = torch.Generator().manual_seed(count)
        targets = torch.randint(2, (count, 1, 4), generator=draw).repeat_interleave(4, 2).expand(-1, 16, -1)
        return targets[:, None] + 0.2 * torch.randn(count, 1, 16, 16, generator=draw), targets


SEGMENTATION = """
data: tests.cli.test_own_network.Stripes
model:
  num_classes: 2
  backbone: {network: {class_path: tests.cli.test_own_network.Segmentation, init_args: {width: 8}}}
  outcome: segmentation
  optimizer: {name: adamw, lr: 0.02}
  plan: {macro: {weight_bits: 4, input_bits: 4, rows: 64}}
axes: {random_noise: [0.1, 5.0]}
trials: 1
search: {space: {adc_bits: [8]}, constraints: [mean IoU 40 %]}
trainer: {max_epochs: 4}
"""


def test_a_segmentation_trains_and_is_swept_by_its_mean_iou(asim: Asim, folder: Path) -> None:
    (folder / "stripes.yaml").write_text(SEGMENTATION)
    answer = asim("fit", "-c", "stripes.yaml")
    assert answer.code == 0, answer.err
    best = folder / "runs/stripes/version_0/checkpoints/best.ckpt"
    given = ("-c", "stripes.yaml", "--ckpt_path", best)
    said = asim("validate", *given, "--compare", "[quantized]").out
    (quantized,) = re.findall(r"mean IoU ([\d.]+) % \[.*\] \(.*8 images\)", said)
    assert 60 < float(quantized) <= 100
    said = asim("sweep", *given).out
    quiet, noisy = re.findall(r"simulated +\S+ +([\d.]+) +\[", said)
    assert float(noisy) < float(quiet)
    assert "accuracy" not in said.partition("numbers")[0]
    assert "mean IoU 40 %: " in asim("search", *given).out


class Decoder(nn.Sequential):
    """Predicts each token from itself."""

    def __init__(self, num_classes: int) -> None:
        super().__init__(nn.Embedding(num_classes, 16), nn.Linear(16, 32), nn.ReLU(), nn.Linear(32, num_classes))


class Tokens(Data):
    def samples(self, count: int) -> tuple[Tensor, Tensor]:
        tokens = torch.randint(9, (count, 6), generator=torch.Generator().manual_seed(count))
        return tokens, tokens


TOKENS = """
data: tests.cli.test_own_network.Tokens
model:
  num_classes: 9
  backbone: {network: tests.cli.test_own_network.Decoder}
  outcome: loss
  optimizer: {name: adamw, lr: 0.02}
  plan: {macro: {weight_bits: 4, input_bits: 4}}
axes: {adc_bits: [8]}
trials: 1
trainer: {max_epochs: 4}
"""


def test_a_loss_of_tokens_is_trained_and_its_texts_have_samples(asim: Asim, folder: Path) -> None:
    (folder / "tokens.yaml").write_text(TOKENS)
    assert asim("fit", "-c", "tokens.yaml").code == 0
    losses = [float(row["val/loss"]) for row in rows_of("runs/tokens/version_0/metrics.csv") if row["val/loss"]]
    assert losses[-1] < 0.7 * losses[0]
    given = ("-c", "tokens.yaml", "--ckpt_path", "last")
    said = [asim(command, *given).out for command in ("validate", "sweep", "cost")]
    assert f"loss {losses[-1]:.4g} [" in asim("validate", *given, "--model.fidelity", "quantized").out
    assert ["samples" in text for text in said] == [True, True, False]
    assert not [text for text in said if re.search(r"(?<!-)\bimages?\b", text)]


# a user's LightningModule with converted layers, under the callbacks of this package


class Mine(LightningModule):
    def __init__(self, width: int = 16) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Flatten(), nn.Linear(768, width), nn.ReLU(), nn.Linear(width, 4))
        convert_(self.net, Plan(MacroConfig(weight_bits=4, input_bits=4, rows=16)), own_images(2)[0])

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x)  # type: ignore[no-any-return]

    def training_step(self, batch: list[Tensor], number: int) -> Tensor:
        return nn.functional.cross_entropy(self(batch[0]), batch[1])

    def validation_step(self, batch: list[Tensor], number: int) -> None:
        self.log("val/acc", (self(batch[0]).argmax(1) == batch[1]).float().mean())

    test_step = validation_step

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.parameters(), 0.02)


MODULE = """
data: tests.cli.test_own_network.Data
model: {class_path: tests.cli.test_own_network.Mine, init_args: {width: 12}}
axes: {random_noise: [0.1]}
trainer:
  max_epochs: 1
  enable_progress_bar: false
  log_every_n_steps: 1
  callbacks:
  - {class_path: NoiseRamp, init_args: {end: 5}}
  - {class_path: RangeCalibration, init_args: {images: 64}}
  - {class_path: NoiseSweep, init_args: {levels: [0.1, 8.0], images: 8}}
  - SimulatedAccuracy
  - HparamsTable
"""


def test_a_module_of_the_users_trains_and_goes_on(asim: Asim, folder: Path) -> None:
    (folder / "own.yaml").write_text(MODULE)
    answer = asim("fit", "-c", "own.yaml")
    assert "2 of 2 layers on a macro" in answer.out
    run = folder / "runs/own/version_0"
    state = torch.load(run / "checkpoints/last.ckpt", weights_only=True)
    assert float(state["state_dict"]["net.3.input_max"]) > 0  # by RangeCalibration
    answer = asim("fit", "-c", "own.yaml", "--ckpt_path", "last", "--trainer.max_epochs", "2")
    assert answer.code == 0, answer.err
    assert not (folder / "runs/own/version_1").exists()
    quiet, noisy = [float(row["accuracy"]) for row in rows_of(run / "noise_sweep.csv")][2:]
    assert quiet > noisy
    events = read_events(run)
    assert {"cim/train_noise", "val/acc_simulated", "noise/acc_mean"} <= set(events.Tags()["scalars"])
    assert max(each.value for each in events.Scalars("cim/train_noise")) > 0
    answer = asim("test", "-c", "own.yaml", "--ckpt_path", "last")
    assert answer.code == 0, answer.err
    assert [path.name for path in (folder / "runs").iterdir()] == ["own"]  # a test logs nothing
    assert "asim sweep takes no `model.class_path`" in asim("sweep", "-c", "own.yaml").error
    assert "nearest: model.width" in asim("fit", "-c", "own.yaml", "--model.init_args.widt", "3").error


class Steps(Mine):
    """A module whose batches are dictionaries, that has no `forward`, and that logs a loss."""

    forward = LightningModule.forward

    def training_step(self, batch: dict[str, Tensor], number: int) -> Tensor:
        return nn.functional.cross_entropy(self.net(batch["x"]), batch["y"])

    def validation_step(self, batch: dict[str, Tensor], number: int) -> None:
        self.log("val_loss", self.training_step(batch, number))


class Named(Data):
    def loader(self, count: int) -> DataLoader[Any]:
        samples = [{"x": x, "y": y} for x, y in zip(*self.samples(count), strict=True)]
        return DataLoader(samples, 16)  # type: ignore[arg-type]

    def train_dataloader(self) -> DataLoader[Any]:
        return self.loader(160)

    def val_dataloader(self) -> DataLoader[Any]:
        return self.loader(8)


@pytest.mark.parametrize(
    ("names", "metric", "mode"), [(("Mine", "Data"), "val/acc", "max"), (("Steps", "Named"), "val_loss", "min")]
)
def test_a_fit_of_a_module_ends_with_input_ranges_and_its_best_epoch(
    names: tuple[str, str], metric: str, mode: str, asim: Asim, folder: Path
) -> None:
    model, data = (f"tests.cli.test_own_network.{name}" for name in names)
    trainer = "{max_epochs: 2, enable_progress_bar: false}"
    (folder / "own.yaml").write_text(f"data: {data}\nmodel: {{class_path: {model}}}\ntrainer: {trainer}\n")
    assert "\nweights  runs/own/version_0/checkpoints/best.ckpt\n" in asim("fit", "-c", "own.yaml").out
    assert asim("fit", "-c", "own.yaml", "--ckpt_path", "last", "--trainer.max_epochs", "4").code == 0
    kept = {name: torch.load(folder / f"runs/own/version_0/checkpoints/{name}.ckpt") for name in ("best", "last")}
    assert all(float(each["state_dict"]["net.1.input_max"]) > 0 for each in kept.values())
    chosen = kept["last"]["callbacks"]["OwnBest"]
    rows = [float(row[metric]) for path in folder.rglob("metrics.csv") for row in rows_of(path) if row.get(metric)]
    assert len(rows) == 4
    assert chosen["monitor"] == metric
    assert float(chosen["best_model_score"]) == pytest.approx({"max": max, "min": min}[mode](rows))


class Rivals(Mine):
    """Two optimizers, which both step in each batch."""

    def __init__(self) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.other = nn.Sequential(nn.Flatten(), nn.Linear(768, 4))

    def training_step(self, batch: list[Tensor], number: int) -> None:  # type: ignore[override]
        for optimizer, network in zip(self.optimizers(), (self.net, self.other), strict=True):  # type: ignore[arg-type]
            loss = nn.functional.cross_entropy(network(batch[0]), batch[1])
            optimizer.zero_grad()
            self.manual_backward(loss)
            optimizer.step()

    def configure_optimizers(self) -> list[torch.optim.Optimizer]:  # type: ignore[override]
        return [torch.optim.Adam(each.parameters()) for each in (self.net, self.other)]


def test_steps_of_two_optimizers_are_logged_once_in_a_continued_fit(asim: Asim, folder: Path) -> None:
    name = "tests.cli.test_own_network"
    (folder / "own.yaml").write_text(f"data: {name}.Data\nmodel: {{class_path: {name}.Rivals}}\n")
    trainer = ("--trainer.enable_progress_bar", "false", "--trainer.max_epochs")
    assert asim("fit", "-c", "own.yaml", *trainer, "2").code == 0
    last = folder / "runs/own/version_0/checkpoints/last.ckpt"
    state = torch.load(last)
    # as killed after the second epoch's metrics, before its save
    assert asim("fit", "-c", "own.yaml", *trainer, "1", "--trainer.default_root_dir", "first").code == 0
    last.write_bytes((folder / "first/own/version_0/checkpoints/last.ckpt").read_bytes())
    assert torch.load(last)["global_step"] == state["global_step"] // 2 == 20
    assert asim("fit", "-c", "own.yaml", *trainer, "2", "--ckpt_path", "last").code == 0
    rows = rows_of(folder / "runs/own/version_0/metrics.csv")
    assert [row["step"] for row in rows if row["val/acc"]] == ["9", "19"]
