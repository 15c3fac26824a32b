"""Mistakes: which are counted and listed, and where tables and pictures are written."""

import csv
from pathlib import Path
from typing import Any

import pytest
import torch
from matplotlib.image import imread

from asim_lightning.callbacks import ConfusionMatrix, Misclassified
from asim_lightning.callbacks.mistakes import _shown
from tests.callbacks.conftest import quiet_trainer, read_events
from tests.classifier.conftest import make_data, make_model
from tests.conftest import rows_of

NAMES = make_data().class_names


def counts_of(path: Path) -> tuple[list[str], torch.Tensor]:
    with path.open() as file:
        rows = list(csv.reader(file))
    assert rows[0][0] == "true \\ predicted"
    assert [row[0] for row in rows[1:]] == rows[0][1:]
    return rows[0][1:], torch.tensor([[int(cell) for cell in row[1:]] for row in rows[1:]])


@pytest.mark.parametrize("run", ["validate", "test"])
def test_counts_are_those_of_the_network(run: str, tmp_path: Path) -> None:
    model, data, stage = make_model(), make_data(), "val" if run == "validate" else "test"
    trainer = quiet_trainer(tmp_path, ConfusionMatrix(folder=str(tmp_path / "new")), logger=False)
    getattr(trainer, run)(model, datamodule=data, verbose=False)
    names, counts = counts_of(tmp_path / "new" / f"confusion_{stage}.csv")
    assert names == list(data.class_names)
    expected = torch.zeros(10, 10, dtype=torch.int64)
    with torch.no_grad():
        for images, labels, _ in data.val_dataloader():
            for label, found in zip(labels, model.eval()(images).argmax(1), strict=True):
                expected[label, found] += 1
    assert torch.equal(counts, expected)
    assert imread(tmp_path / "new" / f"confusion_{stage}.png").shape[:2] == (780, 900)


def test_of_a_fit_the_log_folder_has_the_last_and_the_logger_all(tmp_path: Path) -> None:
    trainer = quiet_trainer(tmp_path, ConfusionMatrix(every_n_epochs=3), max_epochs=3, num_sanity_val_steps=1)
    trainer.fit(make_model(), datamodule=make_data())
    _, counts = counts_of(Path(trainer.log_dir) / "confusion_val.csv")
    assert int(counts.sum()) == 25
    assert float(counts.trace() / counts.sum()) == pytest.approx(float(trainer.callback_metrics["val/acc"]))
    assert [image.step for image in read_events(trainer.log_dir).Images("val/confusion")] == [2, 6]


def mistakes(model: Any, data: Any) -> dict[str, tuple[int, int, float]]:
    """Label, prediction and confidence of each wrong answer, by index."""
    found = {}
    with torch.no_grad():
        for images, labels, ids in data.val_dataloader():
            confidence, predictions = model.eval()(images).softmax(1).max(1)
            for index, *answer in zip(
                ids.tolist(), labels.tolist(), predictions.tolist(), confidence.tolist(), strict=True
            ):
                if answer[0] != answer[1]:
                    found[str(index)] = tuple(answer)
    return found


@pytest.mark.parametrize("run", ["validate", "test"])
def test_the_list_has_every_mistake_most_confident_first(run: str, tmp_path: Path) -> None:
    model, data, stage = make_model(), make_data(), "val" if run == "validate" else "test"
    callback = Misclassified(4, folder=str(tmp_path / "new"))
    getattr(quiet_trainer(tmp_path, callback, logger=False), run)(model, datamodule=data, verbose=False)
    rows = rows_of(tmp_path / "new" / f"misclassified_{stage}.csv")
    expected = mistakes(model, data)
    assert {row["index"] for row in rows} == set(expected)
    for row in rows:
        label, prediction, confidence = expected[row["index"]]
        assert (int(row["label"]), int(row["prediction"])) == (label, prediction)
        assert (row["label_name"], row["prediction_name"]) == (NAMES[label], NAMES[prediction])
        assert float(row["confidence"]) == pytest.approx(confidence, abs=1e-5)
    confidences = [float(row["confidence"]) for row in rows]
    assert confidences == sorted(confidences, reverse=True)
    assert (tmp_path / "new" / f"misclassified_{stage}.png").exists()


def test_of_a_fit_the_last_validation_is_shown_once(tmp_path: Path) -> None:
    model, data = make_model(), make_data()
    trainer = quiet_trainer(tmp_path, Misclassified(), max_epochs=2, num_sanity_val_steps=1)
    trainer.fit(model, datamodule=data)
    assert {row["index"] for row in rows_of(Path(trainer.log_dir) / "misclassified_val.csv")} == set(
        mistakes(model, data)
    )
    assert [image.step for image in read_events(trainer.log_dir).Images("val/misclassified")] == [4]


def test_without_mistakes_there_is_an_empty_list_and_no_picture(tmp_path: Path) -> None:
    callback, model = Misclassified(folder=str(tmp_path)), make_model()
    trainer = quiet_trainer(tmp_path, callback, logger=False)
    (tmp_path / "misclassified_test.png").write_text("of a run before")
    outputs = {name: torch.tensor([1, 2]) for name in ("index", "label", "prediction", "confidence")}
    trainer.testing = True
    callback.on_test_epoch_start(trainer, model)
    callback.on_test_batch_end(trainer, model, outputs, [torch.zeros(2, 1, 4, 4)], 0)
    callback.on_test_end(trainer, model)
    assert (tmp_path / "misclassified_test.csv").read_text().split() == [
        "index,label,prediction,confidence,label_name,prediction_name"
    ]
    assert not (tmp_path / "misclassified_test.png").exists()


def test_images_are_shown_as_they_were_before_normalisation() -> None:
    image = torch.rand(3, 4, 4, generator=torch.Generator().manual_seed(0))

    class Data:
        mean, deviation = (0.1, 0.2, 0.3), (0.4, 0.5, 0.6)

    normalised = (image - torch.tensor(Data.mean)[:, None, None]) / torch.tensor(Data.deviation)[:, None, None]
    assert torch.allclose(_shown(normalised, Data()), image, atol=1e-6)
    stretched = _shown(normalised[:1], None)
    assert (float(stretched.min()), float(stretched.max())) == (0.0, 1.0)
    assert torch.equal(_shown(torch.ones(1, 2, 2), None), torch.zeros(1, 2, 2))
