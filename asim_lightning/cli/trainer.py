"""The trainer with this project's own commands beside Lightning's."""

import signal
import textwrap
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import LightningDataModule, LightningModule, Trainer

from asim_lightning.callbacks import RangeCalibration
from asim_lightning.circuit import Transfer, explain, transfer
from asim_lightning.classifier import CimClassifier
from asim_lightning.cli.checkpoint import load_weights
from asim_lightning.cli.comparison import Comparison, validate_each
from asim_lightning.cli.signals import kill_raises_at_once
from asim_lightning.cli.verification import verify_network
from asim_lightning.engine import choose, refusals
from asim_lightning.evaluation.results import Kind
from asim_lightning.nn.calibration import needs_calibration
from asim_lightning.surgery import macro_layers
from asim_lightning.sweep.axes import SweepAxes


class AsimTrainer(Trainer):
    """Lightning's Trainer, which also sweeps, times, explains and verifies."""

    run_folder: str = "runs/default"
    """Folder of this configuration's runs."""

    def validate(
        self,
        model: LightningModule | None = None,
        dataloaders: Any = None,
        ckpt_path: str | Path | None = None,
        verbose: bool = True,
        datamodule: LightningDataModule | None = None,
        weights_only: bool | None = None,
        compare: list[Comparison | Kind] | None = None,
        trials: int = 2,
    ) -> list[Mapping[str, float]]:
        """Accuracy on the validation images, as configured; before it, where asked for, in other ways too.

        Args:
            model: The classifier.
            dataloaders: As in Lightning.
            ckpt_path: Checkpoint with trained weights.
            verbose: Whether all metrics are printed.
            datamodule: The data.
            weights_only: Always true: a checkpoint is read as tensors and plain values.
            compare: Other ways to compute the network, a line of accuracy each: names of fidelities, such as
                [float, quantized], or mappings that change a macro or the fidelity of some layers.
            trials: Reads of the chip for each noisy one of `compare`: 1..65535.
        """
        if compare is not None:
            if not isinstance(model, CimClassifier) or datamodule is None:
                given = " and ".join(type(each).__name__ for each in (model, datamodule))
                raise ValueError(f"`compare` needs a CimClassifier and a data module, got {given}")
            prepare(self, model, datamodule)
            validate_each(self, model, datamodule, compare, trials, self._say)
        return super().validate(model, dataloaders, ckpt_path, verbose, datamodule, weights_only)

    def _say(self, line: str) -> None:
        if self.is_global_zero:
            print(line, flush=True)

    def _run_stage(self) -> Any:
        """Run Lightning's loops, where a kill ends several processes at once."""
        if self.world_size > 1:
            kill_raises_at_once()
        return super()._run_stage()

    @contextmanager
    def ending_processes(self) -> Iterator[None]:
        """End the processes that this one started where it is stopped.

        Lightning does so at Ctrl-C alone, and not with forked ones, which train on while this process waits for them.
        """
        try:
            yield
        except (KeyboardInterrupt, SystemExit):  # Lightning's exit(1) after Ctrl-C, and a kill
            kill = getattr(self.strategy.launcher, "kill", None)
            if kill is not None:
                kill(signal.SIGKILL)
            raise

    def sweep(
        self,
        model: CimClassifier,
        datamodule: LightningDataModule,
        ckpt_path: str | None = None,
        axes: SweepAxes = SweepAxes(),
        trials: int = 2,
        progress: bool = True,
        verbose: bool = True,
        weights_only: bool | None = None,
    ) -> None:
        """Accuracy of a checkpoint over a grid of macros, with a 95 % interval a point.

        Writes results.csv, a plot and TensorBoard scalars; a sweep that was stopped goes on where it was.

        Args:
            model: The classifier.
            datamodule: The data.
            ckpt_path: Checkpoint with trained weights.
            axes: Values of macro fields; several axes give every combination.
            trials: Reads of the chip for each noisy point: 1..65535.
            progress: Whether a progress bar with the time left is shown.
            verbose: Ignored; so that the saved configuration of a fit is accepted.
            weights_only: Always true: a checkpoint is read as tensors and plain values.
        """
        from asim_lightning.sweep.estimate import grid_line
        from asim_lightning.sweep.publish import publish
        from asim_lightning.sweep.run import Sweep

        if ckpt_path is not None:
            load_weights(model, ckpt_path)
        read_data(model, datamodule)
        self._say(f"grid     {grid_line(model, datamodule, axes, trials)}")
        prepare(self, model, datamodule)
        sweep = Sweep(self, model, datamodule, axes, trials, self.run_folder, progress)
        for note in sweep.notes:
            self._say(note)
        results = sweep.run(self._say)
        if self.is_global_zero:
            print(publish(results, sweep, Path(self.run_folder).name, model.num_classes))

    def bench(
        self,
        model: CimClassifier,
        datamodule: LightningDataModule,
        ckpt_path: str | None = None,
        batch: int | list[int] | None = None,
        repeats: int = 5,
        layers: bool = False,
        reference_engine: bool = False,
        compare_reference: str | None = None,
        output: str | None = None,
        verbose: bool = True,
        weights_only: bool | None = None,
    ) -> None:
        """Time float32, quantised and simulated inference of the network on this machine, on new images each repeat.

        Simulated as configured, and by each other engine that applies; the table goes to a JSON file, too.

        Args:
            model: The classifier.
            datamodule: The data, whose test images are used; where there are none on disk, random ones are.
            ckpt_path: Checkpoint with trained weights.
            batch: Images at a time, a number or a list of them: 1 or more; null: [1, 64].
            repeats: Timed repeats, after one that is not timed: 1..65535.
            layers: Whether each layer is timed too, at the first batch size.
            reference_engine: Whether the reference engine, which is slow, is timed too.
            compare_reference: Folder of a checkout of the code published with the ASiM paper, whose convolutions and
                linear layers are timed beside ours, at the first batch size.
            output: JSON file, or folder of bench.json; null: the folder of this configuration's runs.
            verbose: Ignored; so that the saved configuration of a fit is accepted.
            weights_only: Always true: a checkpoint is read as tensors and plain values.
        """
        from asim_lightning.cli.benchmark import Benchmark

        batches = [1, 64] if batch is None else [batch] if isinstance(batch, int) else batch
        benchmark = Benchmark(model, batches, repeats, compare_reference, output or self.run_folder)
        if ckpt_path is not None:
            load_weights(model, ckpt_path)
        images = benchmark.images(datamodule, lambda: prepare(self, model, datamodule))
        benchmark.run(images, self.strategy.root_device, layers, reference_engine)

    def explain(
        self,
        model: CimClassifier,
        datamodule: LightningDataModule | None = None,
        ckpt_path: str | None = None,
        verbose: bool = True,
        weights_only: bool | None = None,
    ) -> None:
        """What the plan does to the network, and the cycles of every macro.

        Args:
            model: The classifier.
            datamodule: Not used.
            ckpt_path: Checkpoint whose settings count.
            verbose: Ignored; so that the saved configuration of a fit is accepted.
            weights_only: Always true: a checkpoint is read as tensors and plain values.
        """
        print(model.report)
        kinds: dict[Any, list[str]] = {}
        for name, layer in macro_layers(model.backbone).items():
            kinds.setdefault((layer.macro, layer.signed_input), []).append(name)
        for (macro, signed), names in kinds.items():
            shown = ", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")
            print(f"\n{len(names)} layers, {'signed' if signed else 'unsigned'} input: {shown}")
            print(explain(macro, signed))
            print(_engines(transfer(macro, signed), self.strategy.root_device))

    def verify(
        self,
        model: CimClassifier,
        datamodule: LightningDataModule,
        ckpt_path: str | None = None,
        samples: int = 2,
        verbose: bool = True,
        weights_only: bool | None = None,
    ) -> None:
        """Compare all engines on the network's own layers and inputs, code by code.

        Args:
            model: The classifier.
            datamodule: The data, whose first test images are used.
            ckpt_path: Checkpoint with trained weights.
            samples: Images to compare on: 1 or more.
            verbose: Ignored; so that the saved configuration of a fit is accepted.
            weights_only: Always true: a checkpoint is read as tensors and plain values.
        """
        if ckpt_path is not None:
            load_weights(model, ckpt_path)
        prepare(self, model, datamodule)
        verifications = verify_network(model, datamodule, samples)
        for verification in verifications:
            print(f"{verification}\n")
        good = sum(verification.ok for verification in verifications)
        print(f"{good} of {len(verifications)} layers agree")
        if good < len(verifications):
            raise SystemExit(1)


def _engines(circuit: Transfer, device: torch.device) -> str:
    """Which engine computes a macro on a device, and why others do not."""
    others = "; ".join(f"{name}: {why}" for name, why in refusals(circuit, device).items())
    said = f"engine on {device.type}: {choose(circuit, device)}" + (f"; not {others}" if others else "")
    return textwrap.fill(said, 120, subsequent_indent="    ")


def read_data(model: CimClassifier, data: LightningDataModule) -> None:
    """Read the data."""
    model.check_data(data)
    data.prepare_data()
    data.setup("test")


def prepare(trainer: Trainer, model: CimClassifier, data: LightningDataModule) -> None:
    """Read the data, and fit input ranges where they are missing."""
    read_data(model, data)
    callback = next((each for each in trainer.callbacks if isinstance(each, RangeCalibration)), None)  # type: ignore
    if callback is not None and needs_calibration(model.backbone):
        callback.calibrate(trainer, model, data)
    model.calibrate_where_missing(data)
    with suppress(AttributeError):
        trainer.strategy.barrier()
