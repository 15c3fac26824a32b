"""Points of one network, evaluated where no record has them."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from lightning.pytorch import LightningDataModule, Trainer

from asim_lightning.classifier import CimClassifier
from asim_lightning.data.image_data_module import ImageDataModule
from asim_lightning.evaluation.accuracy_question import AccuracyQuestion
from asim_lightning.evaluation.canonical import digest_of
from asim_lightning.evaluation.record import SweepRecord
from asim_lightning.evaluation.results import AxisValue, Kind, axes_text
from asim_lightning.evaluation.settings_file import sweep_folder
from asim_lightning.evaluation.trial_store import TrialStore, joined
from asim_lightning.exploration.axes import condition_at, patterns_of
from asim_lightning.exploration.contents import Contents
from asim_lightning.exploration.fingerprint import fingerprint, idle_callbacks, images_are_apart
from asim_lightning.exploration.point import Points
from asim_lightning.exploration.runner import Evaluation, Steps

_ORDER = 0
"""Seed of the order of images where they may end early."""


class RecordedPoints:
    """Points of one network, whose finished trials are kept below a folder and found again by any command.

    Args:
        trainer: Lightning trainer whose processes, device and precision are used.
        model: Converted classifier with its trained weights.
        data: Data module that is set up; the images of its test loader are evaluated.
        names: Names of the axes.
        patterns: Patterns of layers in them.
        folder: Folder below which the table's own and that of all trials are made.
        what: What the table is of: sweep or search.
        until: A question that ends the images of each simulated point when it is answered.
        described: What else decides the table, and no outcome.

    Raises:
        ValueError: A pattern matches no layer, or images cannot end early with this data.
    """

    def __init__(
        self,
        trainer: Trainer,
        model: CimClassifier,
        data: LightningDataModule,
        names: Sequence[str],
        folder: str | Path,
        what: str = "sweep",
        until: AccuracyQuestion | None = None,
        described: Mapping[str, object] | None = None,
    ) -> None:
        self._trainer, self._model, self._data = trainer, model, data
        self._names, self._folder, self._what, self._until = list(names), Path(folder), what, until
        self._described = dict(described or {})
        self._columns = Contents(leave_out=folder)
        self.points = Points(model, self._columns, patterns_of(names))

    def open(self) -> None:
        """Open the records, once all points that are known were worked out.

        Raises:
            ValueError: Images cannot end early with this data.
        """
        trainer, model, data, until = self._trainer, self._model, self._data, self._until
        # what has no fingerprint decides whether anything is reused
        found = fingerprint(model, data, trainer, self._names, Contents(leave_out=self._folder), self._columns)
        images: Any = None
        if isinstance(data, ImageDataModule) and images_are_apart(model, data, trainer):
            images = data.test_indices().numpy()
        if until is not None and images is None:
            name = "`search.until`" if self._what == "search" else "`until`"
            raise ValueError(
                f"{name} '{until}' needs a data module of asim_lightning.data and all its test images, got "
                f"{type(data).__name__}"
            )
        count = 0 if images is None else len(images)
        self._order = np.arange(count) if until is None else np.random.default_rng(_ORDER).permutation(count)
        # a folder for each set of axes: its results.csv has a column for each
        settings = {**found.settings, "axes": sorted(self._names), **self._described}
        if until is not None:
            settings["until"] = str(until)
        digest = digest_of(found.shared)
        reuse = not found.unknown
        table = sweep_folder(self._folder, settings, self._what)
        old = () if table.exists() else tables_of_other_versions(table, settings)
        self.record = SweepRecord(
            table,
            settings,
            self._names,
            self.points.digest,
            reuse,
            TrialStore(self._folder / f"records-{digest[:8]}" / "trials", digest, reuse),
            None if images is None else images[self._order],
            until,
        )
        idle = [
            f"a {self._what} calls no hook of {name} for a test; asim test does" for name in idle_callbacks(trainer)
        ]
        self.notes = (*self.record.notes, *old, *idle)
        """What a user should know before the points are evaluated, a line each."""
        if found.unknown:
            why = "; ".join(found.unknown)
            self.notes = (f"no outcome of an earlier run is used, as this has no fingerprint: {why}", *self.notes)

    def trial(self, axes: dict[str, AxisValue], kind: Kind, trial: int) -> Steps:
        """Compute what no record has of a trial, and store it.

        Args:
            axes: The point.
            kind: What computes the products.
            trial: Number of the read.

        Returns:
            The trial's outcomes on the images that are asked for, the same on all processes.
        """
        condition, found = condition_at(axes, kind, trial), self.record.known(axes, kind, trial)
        name = trial_name(axes, kind, trial)
        if self._trainer.world_size > 1:  # another command may have stored it after some of them looked
            found = self._trainer.strategy.broadcast(found)
        while True:
            wanted = self.record.wanted(found, kind)
            if found is not None and wanted is not None and not wanted.size:
                return self.record.asked(found, kind)
            new = yield Evaluation(name, condition, None if wanted is None else tuple(self._order[wanted].tolist()))
            if self._trainer.is_global_zero:
                self.record.store(axes, kind, trial, new)
            found = new if found is None else joined(new, found)
            if wanted is None:
                return found

    def claim(self, axes: dict[str, AxisValue], kind: Kind, trial: int, wait: bool) -> bool:
        """Take a trial for this command until `release`; False where another command has it.

        Args:
            axes: The point.
            kind: What computes the products.
            trial: Number of the read.
            wait: Wait until no other command has it.
        """
        alone = self._trainer.world_size == 1  # processes of one command work on the same trial
        return not alone or self.record.store_of_trials.claim(self.record.key(axes, kind), trial, wait)

    def release(self, axes: dict[str, AxisValue], kind: Kind, trial: int) -> None:
        """Leave a claimed trial to other commands."""
        if self._trainer.world_size == 1:
            self.record.store_of_trials.release(self.record.key(axes, kind), trial)

    def is_finished(self, axes: dict[str, AxisValue], kind: Kind, trial: int) -> bool:
        """Whether a claimed trial is finished by now, by another command."""
        return self._trainer.world_size == 1 and self.record.look_again(axes, kind, trial)


def tables_of_other_versions(table: Path, settings: Mapping[str, object]) -> tuple[str, ...]:
    """What a user should know of an earlier table of the same that is not used: a line, or none.

    Args:
        table: Folder of the new table.
        settings: What it depends on.
    """
    what = table.name.partition("-")[0]
    for path in sorted(table.parent.glob(f"{what}-*/settings.json")):
        try:
            found = json.loads(path.read_bytes())
            there, here = found.pop("versions"), settings["versions"]
            rest = {name: value for name, value in settings.items() if name != "versions"}
            if digest_of(found) != digest_of(rest) or not isinstance(here, Mapping):
                continue
            others = [name for name in dict.fromkeys([*here, *there]) if there.get(name) != here.get(name)]
            said = [
                f"{name} {there.get(name)}, now {here.get(name)}"
                if name != "source"
                else "another source of asim_lightning"
                for name in others
            ]
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
            continue  # torn or edited, or none of a table
        return (f"{path.parent} is the same {what} by other versions ({', '.join(said)}), whose trials are not used",)
    return ()


def trial_name(axes: Mapping[str, AxisValue], kind: Kind, trial: int) -> str:
    """What people call a trial, such as "simulated random_noise 0.3 trial 1"."""
    return f"{kind} {axes_text(axes)} trial {trial}" if axes else kind
