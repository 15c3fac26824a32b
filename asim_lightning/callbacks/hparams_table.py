"""The run's line in TensorBoard's table of hyperparameters."""

from collections.abc import Collection, Iterable, Mapping
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer

from asim_lightning.callbacks.noise_ramp import NoiseRamp
from asim_lightning.callbacks.noise_sweep import NoiseSweep
from asim_lightning.callbacks.output import tensorboard_loggers
from asim_lightning.callbacks.simulated_accuracy import SimulatedAccuracy
from asim_lightning.classifier import CimClassifier
from asim_lightning.surgery import macro_layers

_SHOWN = ("adc_bits", "noise_ramp", "train_noise", "train_noise_model", "weight_bits")
"""Hyperparameters that tell runs apart; the tab shows those that differ, at most five."""
Value = float | int | str | bool


class HparamsTable(Callback):
    """One line for each training run in the HPARAMS tab: its hyperparameters and its accuracies.

    Hyperparameters are from the macro, training noise and the optimizer. Metrics are the last values of ``val/acc``, of
    ``val/acc_simulated`` if it is measured, and with a NoiseSweep, of ``noise/acc_mean`` and of the accuracy at the
    weakest, the middle and the strongest level.

    Examples:
        >>> from asim_lightning.callbacks import HparamsTable
        >>> callbacks = [HparamsTable()]  # asim fit ... --trainer.callbacks+=HparamsTable
    """

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write the line."""
        loggers = tensorboard_loggers(trainer)
        if not (trainer.is_global_zero and loggers):
            return
        given = run_hparams(trainer, pl_module)
        names = [name for name in self._metrics(trainer) if name in trainer.callback_metrics]
        for logger in loggers:
            # SummaryWriter.add_hparams would make another run below this one
            for summary in _hparams_line(given, names):
                logger.experiment._get_file_writer().add_summary(summary)

    def _metrics(self, trainer: Trainer) -> Iterable[str]:
        # a classifier has one of the first two
        yield from ("val/acc", "val/acc_estimate", SimulatedAccuracy.METRIC)
        for sweep in trainer.callbacks:  # type: ignore[attr-defined]
            if isinstance(sweep, NoiseSweep) and sweep.last:
                *levels, _, _ = sweep.last  # the last two are over all levels
                chosen = dict.fromkeys((levels[0], levels[len(levels) // 2], levels[-1]))
                yield from (f"{sweep.prefix}/{name}" for name in ("acc_mean", *chosen))


def run_hparams(trainer: Trainer, module: Any) -> dict[str, Value]:
    """Hyperparameters of a training run, always with the same names, so that runs share their columns."""
    layers = macro_layers(module).values()
    macros = {layer.macro: None for layer in layers}
    is_ours = isinstance(module, CimClassifier)
    ramps = [each for each in trainer.callbacks if isinstance(each, NoiseRamp)]  # type: ignore[attr-defined]
    return {
        "backbone": module.hparams["backbone"]["name"] if is_ours else type(module).__name__,
        "weight_bits": _shared(macro.weight_bits for macro in macros),
        "input_bits": _shared(macro.input_bits for macro in macros),
        "adc_bits": _shared("ideal" if macro.adc_bits is None else macro.adc_bits for macro in macros),
        "rows": _shared(macro.rows for macro in macros),
        "train_noise": module.train_noise if is_ours else _shared(each.train_noise for each in layers),
        "train_noise_model": module.hparams["train_noise_model"] if is_ours else "of the layers",
        "noise_ramp": ", ".join(map(_described, ramps)) or "none",
        "lr": module.optimizer_config.lr if is_ours else trainer.optimizers[0].defaults["lr"],
        "epochs": trainer.current_epoch,
    }


def _shared(values: Iterable[Value]) -> Value:
    """The value that all layers share."""
    distinct = list(dict.fromkeys(values))
    return "none" if not distinct else distinct[0] if len(distinct) == 1 else "mixed"


def _described(ramp: NoiseRamp) -> str:
    """A ramp in a few words: "linear 0 to 50 after 2 epochs"."""
    after = f" after {ramp.warmup:g} {ramp.unit}s" if ramp.warmup else ""
    return f"{ramp.shape} {ramp.start:g} to {ramp.end:g}{after}"


def _hparams_line(given: Mapping[str, Value], metrics: Collection[str]) -> tuple[Any, Any, Any]:
    """The three summaries of a row of the HPARAMS tab; it takes metrics from the run's scalars of these names."""
    # TensorBoard takes time to import, and most commands do without
    from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData  # type: ignore[import-untyped]
    from torch.utils.tensorboard.summary import hparams

    columns, start, end = hparams(dict(given), dict.fromkeys(metrics, 0.0))
    plugin = columns.value[0].metadata.plugin_data
    data = HParamsPluginData.FromString(plugin.content)
    for info in data.experiment.hparam_infos:
        info.differs = info.name in _SHOWN
    plugin.content = data.SerializeToString()
    return columns, start, end
