"""What a fit of a user's module or data gets without asking: input ranges, a best epoch, and repeatable batches."""

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.utilities.seed import isolate_rng
from torch import nn
from torch.utils._pytree import tree_leaves

from asim_lightning.classifier import CimClassifier
from asim_lightning.classifier.batches import step_seed
from asim_lightning.classifier.processes import synchronize_ranges
from asim_lightning.data.given import with_indices
from asim_lightning.data.loader import RepeatableLoader, TrainingLoader
from asim_lightning.lightning_private import change_loaders_
from asim_lightning.nn.calibration import observed, quantized_layers
from asim_lightning.nn.inputs import batch_size, copied
from asim_lightning.nn.quantized import QuantizedLayer

_BATCHES = "own_batches"
"""Key of the seed and of the loaders' states in a checkpoint."""
_MODES = {
    "val/acc": "max", "val_acc": "max", "val/accuracy": "max", "val_accuracy": "max", "val/loss": "min",
    "val_loss": "min",
}  # fmt: skip
"""Logged metrics that choose the best epoch, the first one that a module logs, and their better direction."""


class OwnRanges(Callback):
    """Fits the input ranges of a user's module to the calls of its networks in training.

    After each validation, it copies the arguments of the next calls of each network within the module, of 512 samples
    in at most 64 calls. Before the next validation, or at the end of an epoch without one, it repeats these calls in
    evaluation, with the weights of then, and stores the largest inputs of the layers. So it need not know what a batch
    is, or what a step does with it. Random numbers of the fit stay the same.
    """

    _SAMPLES, _CALLS = 512, 64

    def __init__(self) -> None:
        self._calls: dict[nn.Module, list[tuple[int, Callable[[], Any]]]] = {}
        self._hooks = ExitStack()
        self._depth = 0  # of networks that run
        self._trained = False  # whether a batch has come since ranges were fitted

    def on_sanity_check_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Have layers without a range not warn before the first training batch."""
        for layer in _calibrated(pl_module):
            layer.warned = True

    def on_sanity_check_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Let layers warn again."""
        for layer in _calibrated(pl_module):
            layer.warned = False

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, *_: Any) -> None:
        """Watch the calls from the first batch after a fit of ranges on."""
        if self._trained or not _calibrated(pl_module):
            return
        self._trained, self._depth = True, 0
        for each in pl_module.modules():
            # a network within the module, because its own forward may log
            if each is not pl_module and _calibrated(each):
                self._hooks.enter_context(each.register_forward_pre_hook(self._enter, with_kwargs=True))
                self._hooks.enter_context(each.register_forward_hook(self._leave, always_call=True))

    def on_validation_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Fit the ranges, if batches have come since the last time."""
        self._hooks.close()
        calls, self._calls = self._calls, {}
        if not self._trained:
            return
        self._trained = False
        with isolate_rng(), trainer.precision_plugin.forward_context(), observed(pl_module):
            for network, kept in calls.items():
                for _, inputs in kept:
                    positional, named = inputs()
                    network(*positional, **named)
        synchronize_ranges(pl_module)

    on_train_epoch_end = on_validation_epoch_start

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """End the watch."""
        self._hooks.close()

    def _enter(self, network: nn.Module, positional: tuple[Any, ...], named: dict[str, Any]) -> None:
        if torch.compiler.is_compiling():
            return  # the compiled network itself is called outside
        self._depth += 1
        kept = self._calls.setdefault(network, []) if self._depth == 1 else None
        if kept is not None and len(kept) < self._CALLS and sum(count for count, _ in kept) < self._SAMPLES:
            kept.append((batch_size((positional, named)), copied((positional, named))))

    def _leave(self, network: nn.Module, inputs: Any, outputs: Any) -> None:
        if not torch.compiler.is_compiling():
            self._depth -= 1


def _calibrated(module: nn.Module) -> list[QuantizedLayer]:
    """Layers that use a calibrated range."""
    return [each for each in quantized_layers(module).values() if each.calibrated]


class OwnBatches(Callback):
    """Makes a fit of a user's module or data that is stopped and resumed the same as a fit that is never stopped.

    The training loaders of a user become `RepeatableLoader`, whose state is in each checkpoint. Before each step of a
    user's module torch is seeded by seed, step, batch and process, as `CimClassifier` does itself.

    Args:
        indexed: Whether batches become ``(inputs, targets, indices)``.
    """

    def __init__(self, indexed: bool) -> None:
        self._indexed, self._seed, self._resumed = indexed, 0, list[dict[str, int]]()

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Change the loaders of the trainer, and take the seed of the first process."""
        change_loaders_(trainer, self._prepared, with_indices if self._indexed else lambda loader: loader)
        self._seed = trainer.strategy.broadcast(torch.initial_seed())

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Let the loaders continue in the epoch of the checkpoint, also if Lightning asked for them before it."""
        for loader, state in zip(_repeatable(trainer), self._resumed, strict=False):
            loader.load_state_dict(state)

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Begin an epoch of the loaders."""
        for each in _repeatable(trainer):
            each.set_epoch(trainer.current_epoch)

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Seed the draws of a step of a user's module."""
        if not isinstance(pl_module, CimClassifier):
            torch.manual_seed(step_seed(self._seed, trainer.global_step, batch_idx, trainer.global_rank))

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Save the seed, and the state of each loader."""
        whole = trainer.num_training_batches  # of an epoch, even if it is limited
        states = [each.state_dict() for each in _repeatable(trainer)]
        ended = [{**each, "batches": 0 if each["batches"] >= whole else each["batches"]} for each in states]
        checkpoint[_BATCHES] = {"seed": self._seed, "loaders": ended}

    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Take the seed and the states; an older checkpoint has none."""
        kept = checkpoint.get(_BATCHES, {"seed": self._seed, "loaders": []})
        self._seed, self._resumed = kept["seed"], kept["loaders"]

    def _prepared(self, loader: Any) -> Any:
        """The loader to train on instead of a user's loader, or the package's own."""
        if isinstance(loader, TrainingLoader):
            return loader
        loader = with_indices(loader) if self._indexed else loader
        return RepeatableLoader(loader, self._seed) if RepeatableLoader.takes(loader) else loader


def _repeatable(trainer: Trainer) -> list[RepeatableLoader]:
    return [each for each in tree_leaves(trainer.train_dataloader) if isinstance(each, RepeatableLoader)]


class OwnBest(ModelCheckpoint):
    """Saves best.ckpt of a user's module: the highest ``val/acc``, ``val_acc``, ``val/accuracy`` or ``val_accuracy``,
    the first of these that it logs, else the lowest ``val/loss`` or ``val_loss``; nothing if it logs none of them."""

    def __init__(self) -> None:
        super().__init__(
            filename="best", save_weights_only=True, enable_version_counter=False, save_on_train_epoch_end=False
        )

    @property
    def state_key(self) -> str:
        """The same key before and after the metric is known."""
        return type(self).__qualname__

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Save if the epoch is the best."""
        self._monitor_first(trainer.callback_metrics)
        if self.monitor is not None:
            super().on_validation_end(trainer, pl_module)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the best epoch and its metric."""
        self._monitor_first({state_dict["monitor"]: None})
        super().load_state_dict(state_dict)

    def _monitor_first(self, metrics: Mapping[Any, Any]) -> None:
        """Choose the metric, once."""
        if self.monitor is None:
            self.monitor = next((name for name in _MODES if name in metrics), None)
            self.mode = _MODES.get(self.monitor or "", self.mode)
