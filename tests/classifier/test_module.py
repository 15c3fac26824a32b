"""Training moves weights to a lower loss; evaluation calibrates what is missing and measures what it says."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from lightning.pytorch import LightningDataModule
from torch.utils.data import DataLoader, TensorDataset

from asim_lightning import CimClassifier
from asim_lightning.classifier import BackboneConfig
from asim_lightning.classifier.batches import unpack
from asim_lightning.data import Text
from asim_lightning.nn.calibration import needs_calibration, quantized_layers
from asim_lightning.surgery import report_of
from tests.classifier.conftest import KWARGS, MakeTrainer, make_data, make_model, ranges
from tests.data.language_model import write_language_model


def test_training_lowers_the_loss(make_trainer: MakeTrainer) -> None:
    model = make_model()
    images, labels, ids = next(iter(make_data(augment=False).train_dataloader()))
    before = _loss(model, images, labels)
    loader = DataLoader(TensorDataset(images, labels, ids), batch_size=20)
    weights = {name: value.clone() for name, value in model.backbone.named_parameters()}
    make_trainer(max_epochs=12).fit(model, loader)
    assert not [name for name, value in model.backbone.named_parameters() if torch.equal(value, weights[name])]
    assert _loss(model, images, labels) < 0.7 * before


def _loss(model: CimClassifier, images: torch.Tensor, labels: torch.Tensor) -> float:
    """Loss of a batch in training mode, where batch norm needs no running statistics."""
    with torch.no_grad():
        return float(F.cross_entropy(model.train()(images), labels))


@pytest.mark.parametrize("stage", ["val", "test"])
def test_metrics_are_those_of_the_whole_set(stage: str, make_trainer: MakeTrainer) -> None:
    model, data, trainer = make_model(), make_data(), make_trainer()
    run = trainer.validate if stage == "val" else trainer.test
    measured = run(model, datamodule=data, verbose=False)[0]  # batches of 10, 10 and 5 images
    with torch.no_grad():
        batches = [(model.eval()(images), labels) for images, labels, _ in data.test_dataloader()]
    logits, labels = (torch.cat(parts) for parts in zip(*batches, strict=True))
    order = logits.argsort(dim=1, descending=True)
    assert measured[f"{stage}/acc"] == pytest.approx(float((order[:, 0] == labels).float().mean()))
    assert measured[f"{stage}/acc5"] == pytest.approx(float((order[:, :5] == labels[:, None]).any(1).float().mean()))
    assert measured[f"{stage}/loss"] == pytest.approx(float(F.cross_entropy(logits, labels)), rel=1e-5)
    assert set(measured) == {f"{stage}/acc", f"{stage}/acc5", f"{stage}/loss"}


@pytest.mark.parametrize(
    ("classes", "logged"), [(5, {"val/acc", "val/loss"}), (6, {"val/acc", "val/acc5", "val/loss"})]
)
def test_the_five_likeliest_of_at_most_five_classes_are_not_logged(
    classes: int, logged: set[str], make_trainer: MakeTrainer
) -> None:
    samples = TensorDataset(torch.rand(8, 1, 28, 28), torch.arange(8) % classes, torch.arange(8))
    data = LightningDataModule.from_datasets(samples, samples, batch_size=4)
    (measured,) = make_trainer().validate(make_model(num_classes=classes), datamodule=data, verbose=False)
    assert measured.keys() == logged


def test_missing_ranges_are_fitted_to_images_without_augmentation_and_stored(
    make_trainer: MakeTrainer, tmp_path: Path
) -> None:
    model, data = make_model(), make_data()
    assert needs_calibration(model.backbone)
    trainer = make_trainer()
    trainer.validate(model, datamodule=data, verbose=False)
    assert not needs_calibration(model.backbone)
    fitted, other = ranges(model), make_model()
    other.calibrate(batch[0] for batch in data.calibration_dataloader(20))
    assert fitted == ranges(other)
    assert all(value > 0 for value in fitted.values())
    trainer.save_checkpoint(tmp_path / "x.ckpt")
    state = torch.load(tmp_path / "x.ckpt", weights_only=True)["state_dict"]
    assert {name: float(state[f"backbone.{name}.input_max"]) for name in fitted} == fitted
    again = CimClassifier.load_from_checkpoint(tmp_path / "x.ckpt", weights_only=True)
    assert ranges(again) == fitted


@pytest.mark.parametrize("run", ["validate", "test", "predict", "fit"])
def test_stored_ranges_are_kept_but_training_fits_them_anew(run: str, make_trainer: MakeTrainer) -> None:
    model = make_model()
    for layer in quantized_layers(model.backbone).values():
        layer.store_range(3.0)
    getattr(make_trainer(), run)(model, datamodule=make_data())
    found = [value == 3.0 for value in ranges(model).values()]
    assert not any(found) if run == "fit" else all(found)


class Pairs(LightningDataModule):
    """A data module of a user's own, without indices or the number of classes."""

    def train_dataloader(self) -> DataLoader[tuple[torch.Tensor, ...]]:
        images, ids = torch.randn(6, 1, 28, 28, generator=torch.Generator().manual_seed(0)), torch.arange(6)
        return DataLoader(TensorDataset(images, ids, ids), batch_size=4)

    def val_dataloader(self) -> DataLoader[tuple[torch.Tensor, ...]]:
        return self.train_dataloader()


def test_a_data_module_of_ones_own_and_loaders_without_one(make_trainer: MakeTrainer) -> None:
    loaders = {"train_dataloaders": Pairs().train_dataloader(), "val_dataloaders": Pairs().val_dataloader()}
    given: list[dict[str, Any]] = [{"datamodule": Pairs()}, loaders]
    for each in given:
        trainer = make_trainer()
        trainer.fit(make_model(), **each)
        assert trainer.global_step == 2  # both batches
        assert "val/acc" in trainer.callback_metrics


def test_batches_that_are_refused() -> None:
    images, labels = torch.zeros(3, 1), torch.tensor([1, 11, 12])
    for batch, said in (
        ((images, labels), r"Batches must be \(images, labels, indices\).*IndexedDataset.*got 2 values"),
        (images, "got a Tensor"),
        ((images, labels, labels), r"Labels must be 0\.\.9, as `model\.num_classes` says, got 1\.\.12"),
    ):
        with pytest.raises(ValueError, match=said):
            unpack(batch, 10)


def test_other_number_of_classes_than_the_data(make_trainer: MakeTrainer) -> None:
    with pytest.raises(ValueError, match=r"`model\.num_classes` must be 10, as in the data, got 7"):
        make_trainer().validate(make_model(num_classes=7), datamodule=make_data(), verbose=False)


def test_no_training_images_to_calibrate_with(make_trainer: MakeTrainer) -> None:
    with pytest.raises(ValueError, match="Input ranges are fitted to training images, and the data has none"):
        make_trainer().validate(make_model(), Pairs().val_dataloader(), verbose=False)


def test_evaluation_repeats_and_depends_on_seed_trial_and_chip_alone(make_trainer: MakeTrainer) -> None:
    def confidences(**options: int) -> list[float]:
        model = make_model(fidelity="simulated", **options)
        found = make_trainer().predict(model, datamodule=make_data(test_images=3))
        return [value for batch in found or [] for value in batch["confidence"].tolist()]  # type: ignore[index,call-overload]

    first = confidences()
    assert confidences() == first
    assert confidences(trial=1) != first
    assert confidences(noise_seed=1) != first
    assert confidences(chip=1) == first  # this macro's cells do not vary


def test_multiplications_are_of_the_datas_images() -> None:
    def built(size: int | None) -> CimClassifier:
        return CimClassifier(BackboneConfig("resnet10t", KWARGS, image_size=size), num_classes=10)

    found, data = built(None), SimpleNamespace(example=torch.zeros(1, 1, 32, 32))
    found.check_data(data)
    assert found.report.rows == built(32).report.rows == report_of(found.backbone).rows
    found.check_data(SimpleNamespace(image_size=28))
    assert found.report.rows == built(28).report.rows
    with pytest.raises(ValueError, match=r"`model.backbone.image_size` must be the size of the images, 32, got 28"):
        built(28).check_data(data)


def test_attributes_of_other_data_may_be_called_as_those_of_a_text() -> None:
    network = BackboneConfig(
        network="asim_lightning.backbone.small_gpt.SmallGPT", kwargs={"vocabulary": 32, "window": 16, "width": 8},
        input_shape=[8], input_values=32,
    )  # fmt: skip
    model = CimClassifier(network, outcome="next_token")
    model.check_data(SimpleNamespace(window=24, vocabulary=["a", "b", "c"]))
    with pytest.raises(ValueError, match=r"the window of the data must be 8, as in `model.\S+`, got 16"):
        model.check_data(Text("pydoc_data.topics:topics", window=16))


def test_data_may_have_fewer_tokens_than_a_network_and_a_text_its_tokenizer(tmp_path: Path) -> None:
    folder = write_language_model(tmp_path / "small")
    kwargs = {"pretrained_model_name_or_path": folder, "dtype": "float32", "use_cache": False}

    def model_of(values: int) -> CimClassifier:
        network = "transformers.AutoModelForCausalLM.from_pretrained"
        config = BackboneConfig(network=network, kwargs=kwargs, input_shape=[8], input_values=values)
        return CimClassifier(config, outcome="perplexity")

    model_of(100).check_data(SimpleNamespace())
    with pytest.raises(ValueError, match=r"must have at most the 256 tokens of LlamaForCausalLM, got 257"):
        model_of(257)
    model_of(256).check_data(Text("pydoc_data.topics:topics", "bytes", window=8))
    few = Text("pydoc_data.topics:topics", window=8)
    with pytest.raises(ValueError, match=rf"must have the 256 tokens of LlamaForCausalLM, got {few.vocabulary}, so it"):
        model_of(few.vocabulary).check_data(few)
