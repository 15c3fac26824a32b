"""Accuracy under noise of the macro, while training."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from matplotlib.figure import Figure

from asim_lightning.callbacks.noise_levels import FIELDS, NoiseLevel, checked_levels, level_name, levels_on, rows_of
from asim_lightning.callbacks.output import (
    is_due,
    log_equal,
    output_folder,
    show_figure,
    tensorboard_loggers,
    write_layout,
)
from asim_lightning.callbacks.simulated_accuracy import MacroAccuracy
from asim_lightning.checks import check_choice, check_whole
from asim_lightning.classifier.network import evaluated
from asim_lightning.evaluation.condition import Condition, is_noisy, under
from asim_lightning.evaluation.results import Result, axis_text
from asim_lightning.report.accuracy import accuracy_picture, epoch_rows
from asim_lightning.report.draw import figure_of
from asim_lightning.report.tensorboard_curves import Charts, add_curve, charts_of, scalar_steps
from asim_lightning.surgery import macro_layers
from asim_lightning.table import Rows
from asim_lightning.whole_file import write_lines

SPLITS = ("val", "test")


class NoiseSweep(MacroAccuracy):
    """Measures, after validations of a fit, the accuracy at several noise levels, simulated bit by bit.

    Logs ``noise/acc@LEVEL``, ``noise/acc_mean`` (over the levels: the area under the curve) and ``noise/acc_worst``,
    0..1, or means of another outcome as `Measure.plain` gives them; a ModelCheckpoint can monitor them. The curve with
    its 95 % interval is a figure and, when the fit ends, a margin chart of TensorBoard; noise_sweep.csv has every
    number. With the axis nonlinear_noise, all these names begin with ``nonlinear_noise`` instead of ``noise``.

    A sweep runs in epochs 0, k, 2k, ..., in the first validation of a fit and in the last epoch. In between, the
    metrics stay at their last value, so a ModelCheckpoint, which wants a better one, does not save.

    Args:
        levels: Noise levels: percent of full scale, or with a unit (0.5 lsb, 1.2 mV).
        axis: Which noise of the macro: random_noise or nonlinear_noise.
        images: Images, spread evenly over the data set, always the same; all if there are fewer.
        trials: Reads of the chip at each noisy level: 1..65535.
        every_n_epochs: k: 1 or more.
        split: Data set of the images: val or test.

    Examples:
        >>> from asim_lightning.callbacks import NoiseSweep
        >>> # asim fit ... --trainer.callbacks+=NoiseSweep --trainer.callbacks.levels '[0, 0.05, 0.3 lsb]'
        >>> NoiseSweep([0, 0.05, "0.3 lsb"], images=100).levels
        (0, 0.05, '0.3 lsb')
    """

    def __init__(
        self,
        levels: list[float | str],
        axis: str = "random_noise",
        images: int = 200,
        trials: int = 1,
        every_n_epochs: int = 1,
        split: str = "val",
    ) -> None:
        self.levels = checked_levels(levels, axis)
        check_whole("`images` of NoiseSweep", images, 1)
        check_whole("`trials` of NoiseSweep", trials, 1, 65535)
        check_whole("`every_n_epochs` of NoiseSweep", every_n_epochs, 1)
        check_choice("`split` of NoiseSweep", split, SPLITS)
        self.axis, self.images, self.trials = axis, images, trials
        self.every_n_epochs, self.split = every_n_epochs, split
        self.prefix = "noise" if axis == "random_noise" else axis
        self._on_network: list[NoiseLevel] = []
        self.load_state_dict({})

    @property
    def state_key(self) -> str:
        """A key with the axis, so that Lightning refuses two sweeps of one axis; they would log the same metrics."""
        return f"{type(self).__qualname__} of {self.axis}"

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Forget an earlier fit; Lightning then loads the state of a fit that continues."""
        if stage == "fit":
            self.load_state_dict({})

    def state_dict(self) -> dict[str, Any]:
        """The rows of the file, and the metrics of the last sweep, for a continued fit."""
        return {"levels": self.levels, "rows": self._rows, "metrics": self.last}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Take the rows of the stopped fit, and its metrics if it had the same levels."""
        has_metrics = state_dict.get("levels") == self.levels
        self.results: dict[int, list[Result]] = {}
        """Results of each epoch of this fit that had a sweep, in the order of the levels on the network."""
        self._rows: Rows = list(state_dict.get("rows", []))
        self.last: dict[str, float] = dict(state_dict["metrics"]) if has_metrics else {}
        """Metrics of the last sweep by name, without the prefix: at each level on the network, mean and worst."""
        self._is_restored = bool(self.last)

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Check that the sweep can run, and write the layout of TensorBoard's charts."""
        super().on_fit_start(trainer, pl_module)
        self._on_network = self._levels_of(pl_module)
        for checkpoint in trainer.checkpoint_callbacks if self.every_n_epochs > 1 else []:
            monitor = getattr(checkpoint, "monitor", None) or ""
            # with several, a ModelCheckpoint would also save epochs that were not measured
            several = isinstance(checkpoint, ModelCheckpoint) and checkpoint.save_top_k not in (0, 1)
            if several and monitor.startswith(f"{self.prefix}/"):
                raise ValueError(
                    f"`save_top_k` of a ModelCheckpoint with monitor {monitor} must be 1 if `every_n_epochs` of "
                    "NoiseSweep is above 1"
                )
        write_layout(trainer)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Check again, because ranges of ADCs that are learnt have a start now, and may decide the noise."""
        self._on_network = self._levels_of(pl_module)

    def on_validation_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Give a ModelCheckpoint the metrics of a stopped fit; its files have them already."""
        if trainer.state.fn == "fit" and self._is_restored and not is_due(trainer, self.every_n_epochs):
            for name, value in self.last.items():
                log_equal(pl_module, f"{self.prefix}/{name}", value, logger=False)
        self._is_restored = False

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Measure, if it is due."""
        if trainer.state.fn != "fit" or trainer.sanity_checking:
            return
        if self.last and not is_due(trainer, self.every_n_epochs):
            return
        results = self.results[trainer.current_epoch] = self.measure(trainer, pl_module)
        accuracies, measure = [row.plain[0] for row in results], results[0].measure
        names = (f"acc@{level_name(level.value)}" for level in self._on_network)
        self.last = dict(zip(names, accuracies, strict=True))
        mean, worst = sum(row.accuracy for row in results) / len(results), min(results, key=lambda row: row.merit)
        self.last |= {"acc_mean": measure.plain(mean), "acc_worst": worst.plain[0]}
        for name, value in self.last.items():
            log_equal(pl_module, f"{self.prefix}/{name}", value)
        self._rows += rows_of(trainer.current_epoch, trainer.global_step, self._on_network, results)
        folder = output_folder(trainer)
        if not trainer.is_global_zero:
            return
        if folder is not None:
            write_lines(folder / f"{self.prefix}_sweep.csv", [FIELDS, *self._rows])
        show_figure(trainer, f"{self.prefix}/accuracy_vs_{self.axis}", self.figure(pl_module))

    def measure(self, trainer: Trainer, module: LightningModule) -> list[Result]:
        """Accuracy at each level, now; on every process, with the same result on each."""
        self._on_network = self._levels_of(module)
        model, points = evaluated(module), []
        for level in self._on_network:
            condition = Condition(macro={self.axis: level.value})
            with under(model, condition):
                count = self.trials if is_noisy(model) else 1
            reads = [replace(condition, trial=(model.trial + number) & 0xFFFF) for number in range(count)]
            points.append(({self.axis: level.place}, reads))
        return self.results_at(trainer, model, points)

    def charts(self) -> Charts:
        """The margin chart of the curve."""
        return charts_of([self._curve_steps()[0]]) if self._on_network else {}

    def figure(self, module: LightningModule) -> Figure:
        """Accuracy against noise: the last sweep, the first one, and the one with the best mean."""
        macros = [layer.macro for layer in macro_layers(module).values()]
        # a weight-parallel cycle has signed codes and so another LSB
        bits = {None if macro.weight_parallel else macro.adc_bits for macro in macros}
        classes: Any = getattr(module, "num_classes", None)
        adc_bits = bits.pop() if len(bits) == 1 else None
        rows, title = epoch_rows(self.results, self.split)
        return figure_of(accuracy_picture(rows, self.axis, title, classes, adc_bits))

    def _levels_of(self, module: LightningModule) -> list[NoiseLevel]:
        return levels_on((layer.assignment for layer in macro_layers(module).values()), self.axis, self.levels)

    def _curve_steps(self) -> tuple[str, dict[str, int]]:
        """Tag of the curve, as in `asim sweep`, and the step of each level by its text."""
        return scalar_steps(self.axis, [level.place for level in self._on_network])

    def on_fit_end(self, trainer: Trainer, *_: Any) -> None:
        """Write the curve of the last sweep."""
        if not (self.results and trainer.is_global_zero):
            return
        from torch.utils.tensorboard import SummaryWriter  # takes time to import, and most commands do without

        tag, steps = self._curve_steps()
        results, suffix = list(self.results.values())[-1], f".{self.axis}"
        for folder in (logger.log_dir for logger in tensorboard_loggers(trainer)):
            # A separate file, written once: steps are noise levels, so a second curve with the same tag, such as
            # after a continued fit, would be drawn as a zigzag with the first.
            for stale in Path(folder).glob(f"events.out.tfevents.*{suffix}"):
                stale.unlink()
            with SummaryWriter(folder, filename_suffix=suffix) as writer:
                add_curve(writer, tag, [(steps[axis_text(row.axes[self.axis])], row) for row in results])
