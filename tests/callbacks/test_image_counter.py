"""What a callback counts of an evaluation."""

from pathlib import Path

from asim_lightning.callbacks import ImageCounter
from tests.callbacks.conftest import quiet_trainer
from tests.classifier.conftest import make_data, make_model


def test_images_are_counted_anew_in_each_evaluation(tmp_path: Path) -> None:
    counter, model, data = ImageCounter(), make_model(), make_data()
    trainer = quiet_trainer(tmp_path, counter, logger=False)
    trainer.validate(model, datamodule=data, verbose=False)
    assert counter.images == 25
    assert counter.right == round(25 * float(trainer.callback_metrics["val/acc"]))
    trainer.test(model, datamodule=data, verbose=False)
    assert counter.images == 25
