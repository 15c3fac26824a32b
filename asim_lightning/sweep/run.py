"""One checkpoint over a grid of macros: float, quantised and simulated accuracy with error bars."""

import hashlib
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import LightningDataModule, Trainer
from lightning.pytorch.utilities.exceptions import SIGTERMException
from torch import nn

from asim_lightning import __version__
from asim_lightning.classifier import CimClassifier
from asim_lightning.engine import choose
from asim_lightning.engine.noise import STREAM_VERSION
from asim_lightning.surgery import apply_point, kept_assignments, macro_layers
from asim_lightning.sweep.axes import SweepAxes
from asim_lightning.sweep.record import SweepRecord, sweep_folder
from asim_lightning.sweep.recorder import OutcomeRecorder
from asim_lightning.sweep.result import AxisValue, Kind, PointResult

Task = tuple[dict[str, AxisValue], Kind, int]
"""Axis values of a point, its kind, and its number of trials."""


class Sweep:
    """Evaluates every point of a grid, and keeps each finished trial on disk.

    Args:
        trainer: Lightning trainer that runs the test loop.
        model: Converted classifier with its trained weights.
        data: Data module; the images of its test loader are evaluated.
        axes: The grid.
        trials: Reads of the chip for each noisy point.
        folder: Folder below which the sweep's own is made.
        progress: Whether a progress bar with the time left is shown.

    Raises:
        ValueError: No layer is on a macro, there is no trial, or a point is not allowed.
    """

    def __init__(
        self,
        trainer: Trainer,
        model: CimClassifier,
        data: LightningDataModule,
        axes: SweepAxes,
        trials: int,
        folder: str | Path,
        progress: bool = True,
    ) -> None:
        self.layers = macro_layers(model.backbone)
        if not self.layers:
            raise ValueError("A sweep needs a network with layers on a macro, got one without; set `model.plan`")
        if trials < 1 or trials > 65535:
            raise ValueError(f"`trials` must be 1..65535, got {trials}")
        self.trainer, self.model, self.data, self.progress = trainer, model, data, progress
        axes.check(model.backbone)
        self.tasks = self._tasks(axes, trials)
        names = list(next(iter(axes.points())))
        # a folder for each set of axes, or one sweep's results.csv would replace another's
        settings = {**fingerprint(model, data, trainer), "axes": sorted(names)}
        self.record = SweepRecord(sweep_folder(folder, settings), settings, names)

    @property
    def folder(self) -> Path:
        """Folder of the sweep's files."""
        return self.record.folder

    def run(self) -> tuple[PointResult, ...]:
        """Evaluate what is not finished yet.

        Returns:
            One result a point, float and quantised first, then in the order of the grid; in the first process alone.
        """
        todo = [sorted(set(range(trials)) - self._done(axes, kind)) for axes, kind, trials in self.tasks]
        first = self.trainer.is_global_zero  # the process that keeps the record; what is to do is the same in all
        bar = _Bar(sum(map(len, todo)) * len(self.data.test_dataloader()), self.progress and any(todo) and first)
        recorder = OutcomeRecorder(bar.advance)
        self.trainer.callbacks.append(recorder)  # type: ignore[attr-defined]
        results, before = [], (self.model.fidelity, self.model.trial)
        try:
            for (axes, kind, trials), missing in zip(self.tasks, todo, strict=True):
                for trial in missing:
                    bar.describe(axes, kind, trial)
                    self._evaluate(axes, kind, trial, recorder)
                    if self.trainer.received_sigterm:  # came with the last batch, after which Lightning goes on
                        raise SIGTERMException
                if first:
                    results.append(self.record.finish(axes, kind, trials))
        finally:
            bar.close()
            self.trainer.callbacks.remove(recorder)  # type: ignore[attr-defined]
            self.model.fidelity, self.model.trial = before
        return tuple(results)

    def _tasks(self, axes: SweepAxes, trials: int) -> list[Task]:
        tasks: list[Task] = [({}, "float", 1), ({}, "quantized", 1)]
        for point in axes.points():
            with kept_assignments(self.model.backbone):
                apply_point(self.model.backbone, point)
                noisy = any(any(layer.transfer.noisy) for layer in self.layers.values())
            tasks.append((point, "simulated", trials if noisy else 1))
        return tasks

    def _done(self, axes: Mapping[str, AxisValue], kind: Kind) -> set[int]:
        return set(self.record.trials(axes, kind))

    def _evaluate(self, axes: dict[str, AxisValue], kind: Kind, trial: int, recorder: OutcomeRecorder) -> None:
        self.model.fidelity, self.model.trial = kind, trial
        with kept_assignments(self.model.backbone):
            apply_point(self.model.backbone, axes)
            start = time.perf_counter()
            self.trainer.test(self.model, datamodule=self.data, verbose=False)
            seconds = time.perf_counter() - start
            names = dict.fromkeys(choose(layer.transfer) for layer in self.layers.values())
        algorithm = "+".join(names) if kind == "simulated" else "torch" if kind == "float" else "exact"
        found = {name: values.numpy() for name, values in recorder.outcomes.items()}
        if self.trainer.is_global_zero:
            self.record.store(
                axes, kind, trial, found["index"], found["label"], found["prediction"], seconds, algorithm
            )


def fingerprint(model: CimClassifier, data: LightningDataModule, trainer: Trainer) -> dict[str, object]:
    """All that decides a trial's outcome beside the point: weights, plan, data, noise seed, chip, version."""
    hyperparameters = {
        k: v for k, v in model.hparams.items() if k not in ("fidelity", "trial", "optimizer", "max_elements")
    }
    public = {k: v for k, v in vars(data).items() if not k.startswith("_") and _is_plain(v)}
    return {
        "weights": _digest(model.backbone),
        "model": hyperparameters,
        "data": {"class": f"{type(data).__module__}.{type(data).__qualname__}", **public},
        "trainer": {"precision": str(trainer.precision), "limit_test_batches": repr(trainer.limit_test_batches)},
        "version": __version__,
        "noise_stream": STREAM_VERSION,
    }


def _is_plain(value: Any) -> bool:
    return value is None or isinstance(value, (bool, int, float, str))


def _digest(model: nn.Module) -> str:
    digest = hashlib.sha256()
    for name, value in model.state_dict().items():
        digest.update(name.encode())
        digest.update(value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


class _Bar:
    """Progress over all batches of all points, with the time left."""

    def __init__(self, batches: int, shown: bool) -> None:
        from tqdm import tqdm

        # a log file gets a line now and then
        interval = 0.1 if sys.stderr.isatty() else 30.0
        self.bar = tqdm(
            total=batches, disable=not shown, unit="batch", dynamic_ncols=True, leave=False, mininterval=interval
        )

    def advance(self) -> None:
        self.bar.update()

    def describe(self, axes: Mapping[str, AxisValue], kind: str, trial: int) -> None:
        point = " ".join(f"{name} {value}" for name, value in axes.items())
        self.bar.set_description(f"{kind} {point} trial {trial}" if axes else kind, refresh=False)

    def close(self) -> None:
        self.bar.close()
