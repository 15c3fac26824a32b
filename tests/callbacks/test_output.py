"""Where files go, and what the layout of TensorBoard's charts holds."""

from pathlib import Path
from typing import Any

from tensorboard.plugins.custom_scalar import layout_pb2

from asim_lightning.callbacks import NoiseSweep
from asim_lightning.callbacks.output import class_names, output_folder, write_layout
from tests.callbacks.conftest import quiet_trainer, read_events
from tests.classifier.conftest import make_data, make_model


def test_the_folder_is_the_users_the_loggers_the_one_of_runs_or_the_root(tmp_path: Path) -> None:
    trainer = quiet_trainer(tmp_path)
    assert output_folder(trainer) == tmp_path / "runs" / "version_0"
    assert output_folder(trainer, "mine") == Path("mine")
    trainer = quiet_trainer(tmp_path, logger=False)
    assert output_folder(trainer) == tmp_path
    trainer.run_folder = str(tmp_path / "name")
    assert output_folder(trainer) == tmp_path / "name"
    for logger in (True, False):
        assert output_folder(quiet_trainer(tmp_path, logger=logger, fast_dev_run=True), "mine") is None


def test_names_of_classes(tmp_path: Path) -> None:
    trainer: Any = quiet_trainer(tmp_path, logger=False)
    assert class_names(trainer, 3) == ["0", "1", "2"]
    trainer.datamodule = make_data()
    assert class_names(trainer, 10)[0] == "T-shirt/top"
    assert class_names(trainer, 3) == ["0", "1", "2"]


def charts(trainer: Any) -> list[tuple[str, list[str]]]:
    write_layout(trainer)
    for logger in trainer.loggers:
        logger.finalize("success")
    (event,) = read_events(trainer.log_dir).Tensors("custom_scalars__config__")
    layout = layout_pb2.Layout.FromString(event.tensor_proto.string_val[0])
    return [(category.title, [chart.title for chart in category.chart]) for category in layout.category]


def test_the_layout_holds_the_charts_of_all_callbacks(tmp_path: Path) -> None:
    sweeps = [NoiseSweep([0, 1]), NoiseSweep(["1 lsb", 3.0], "nonlinear_noise")]
    trainer = quiet_trainer(tmp_path, *sweeps)
    for sweep in sweeps:
        sweep.setup(trainer, make_model(), "fit")
    assert charts(trainer) == [
        (
            "Sweep",
            [
                "accuracy (x = random noise in millipercent)",
                "accuracy (x = place of nonlinear noise)",  # 1 lsb is not the same on all macros of this network
            ],
        ),
        ("Training", ["training loss and noise", "training loss"]),
    ]
