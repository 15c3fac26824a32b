"""What callbacks count and write of predictions."""

from pathlib import Path

import pytest
import torch

from asim_lightning.callbacks import ImageValues, PredictionWriter
from tests.callbacks.conftest import quiet_trainer
from tests.classifier.conftest import make_data, make_model
from tests.conftest import rows_of


def test_predictions_are_those_of_the_network_in_the_order_of_the_index(tmp_path: Path) -> None:
    path, model, data = tmp_path / "new" / "predictions.csv", make_model(), make_data()
    quiet_trainer(tmp_path, PredictionWriter(path), logger=False).predict(model, datamodule=data)
    rows = rows_of(path)
    with torch.no_grad():
        batches = [(labels, model.eval()(images).softmax(1).max(1)) for images, labels, _ in data.test_dataloader()]
    assert [row["index"] for row in rows] == [str(number) for number in range(25)]
    assert [int(row["label"]) for row in rows] == torch.cat([labels for labels, _ in batches]).tolist()
    assert [int(row["prediction"]) for row in rows] == torch.cat([found.indices for _, found in batches]).tolist()
    confidence = torch.cat([found.values for _, found in batches])
    assert torch.allclose(torch.tensor([float(row["confidence"]) for row in rows]), confidence, atol=1e-6)


def test_an_image_that_two_processes_saw_is_written_once(tmp_path: Path) -> None:
    writer = PredictionWriter(tmp_path / "predictions.csv")
    batch = {
        "index": torch.tensor([3, 1, 3]),
        "label": torch.tensor([0, 1, 0]),
        "prediction": torch.tensor([5, 6, 5]),
        "confidence": torch.tensor([0.25, 0.5, 0.25]),
    }
    writer.write_on_epoch_end(quiet_trainer(tmp_path, logger=False), make_model(), [batch], [])
    assert writer.path.read_text().split() == [
        "index,label,prediction,confidence",
        "1,1,6,0.500000",
        "3,0,5,0.250000",
    ]


def test_images_are_counted_anew_in_each_evaluation(tmp_path: Path) -> None:
    collected, model, data = ImageValues(), make_model(), make_data()
    trainer = quiet_trainer(tmp_path, collected, logger=False)
    trainer.validate(model, datamodule=data, verbose=False)
    values = trainer.callback_metrics[collected.METRIC]
    assert len(values) == 25
    assert values.mean() == pytest.approx(float(trainer.callback_metrics["val/acc"]))
    trainer.test(model, datamodule=data, verbose=False)
    assert len(trainer.callback_metrics[collected.METRIC]) == 25


def test_an_image_that_a_sampler_gives_to_two_processes_counts_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    collected, trainer = ImageValues(), quiet_trainer(tmp_path, logger=False)
    for index, value in ([3, 1], [1.0, 0.0]), ([1], [1.0]):
        collected.take({"index": torch.tensor(index), "value": torch.tensor(value)}, torch.zeros(0))
    monkeypatch.setattr(
        "asim_lightning.callbacks.predictions.gather", lambda mine: [mine, {3: [(1.0, 1)], 2: [(0.0, 1)]}]
    )
    collected.finish(trainer, None)
    assert trainer.callback_metrics[collected.METRIC].tolist() == [0.0, 1.0, 0.0, 1.0]
