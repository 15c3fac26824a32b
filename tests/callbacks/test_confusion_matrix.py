"""Confusion matrices: what is counted, and where it is written."""

import csv
from pathlib import Path

import pytest
import torch
from matplotlib.image import imread

from asim_lightning.callbacks import ConfusionMatrix
from tests.callbacks.conftest import quiet_trainer, read_events
from tests.classifier.conftest import make_data, make_model


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
    trainer = quiet_trainer(tmp_path, ConfusionMatrix(every_n_epochs=2), max_epochs=4, num_sanity_val_steps=1)
    trainer.fit(make_model(), datamodule=make_data())
    _, counts = counts_of(Path(trainer.log_dir) / "confusion_val.csv")
    assert int(counts.sum()) == 25
    assert float(counts.trace() / counts.sum()) == pytest.approx(float(trainer.callback_metrics["val/acc"]))
    assert [image.step for image in read_events(trainer.log_dir).Images("val/confusion")] == [2, 6, 8]
