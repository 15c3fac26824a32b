"""Mistakes: which are counted and listed, and where tables and pictures are written."""

import csv
from collections import Counter
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


def answers(model: Any, data: Any) -> dict[str, tuple[int, int, float]]:
    """Label, prediction and confidence of each image, by index."""
    found = {}
    with torch.no_grad():
        for images, labels, ids in data.val_dataloader():
            confidence, predictions = model.eval()(images).softmax(1).max(1)
            rows = zip(labels.tolist(), predictions.tolist(), confidence.tolist(), strict=True)
            found.update(zip(map(str, ids.tolist()), rows, strict=True))
    return found


def check_files(folder: Path, stage: str, expected: dict[str, tuple[int, int, float]]) -> None:
    """The CSV files have the counts, and the mistakes, most confident first."""
    head, *rows = csv.reader((folder / f"confusion_{stage}.csv").read_text().splitlines())
    assert head == ["true \\ predicted", *(row[0] for row in rows)] == ["true \\ predicted", *NAMES]
    counts = Counter({(y, x): int(cell) for y, row in enumerate(rows) for x, cell in enumerate(row[1:])})
    assert +counts == Counter(answer[:2] for answer in expected.values())
    mistakes = rows_of(folder / f"misclassified_{stage}.csv")
    assert {row["index"] for row in mistakes} == {index for index, (y, x, _) in expected.items() if y != x}
    for row in mistakes:
        label, prediction, confidence = expected[row["index"]]
        assert (int(row["label"]), int(row["prediction"])) == (label, prediction)
        assert (row["label_name"], row["prediction_name"]) == (NAMES[label], NAMES[prediction])
        assert float(row["confidence"]) == pytest.approx(confidence, abs=1e-5)
    confidences = [float(row["confidence"]) for row in mistakes]
    assert confidences == sorted(confidences, reverse=True)
    assert imread(folder / f"confusion_{stage}.png").shape[:2] == (780, 900)
    assert (folder / f"misclassified_{stage}.png").exists()


@pytest.mark.parametrize("run", ["validate", "test"])
def test_files_have_the_answers_of_the_network(run: str, tmp_path: Path) -> None:
    model, data, new = make_model(), make_data(), tmp_path / "new"
    callbacks = ConfusionMatrix(folder=str(new)), Misclassified(4, folder=str(new))
    getattr(quiet_trainer(tmp_path, *callbacks, logger=False), run)(model, datamodule=data, verbose=False)
    check_files(new, "val" if run == "validate" else "test", answers(model, data))


def test_of_a_fit_the_log_folder_has_the_last_and_the_logger_all_matrices(tmp_path: Path) -> None:
    model, data, callbacks = make_model(), make_data(), (ConfusionMatrix(every_n_epochs=3), Misclassified())
    trainer = quiet_trainer(tmp_path, *callbacks, max_epochs=3, num_sanity_val_steps=1)
    trainer.fit(model, datamodule=data)
    check_files(Path(trainer.log_dir), "val", answers(model, data))
    events = read_events(trainer.log_dir)
    assert [image.step for image in events.Images("val/confusion")] == [2, 6]
    assert [image.step for image in events.Images("val/misclassified")] == [6]


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
