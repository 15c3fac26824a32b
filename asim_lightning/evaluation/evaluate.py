"""The network's answers, image by image, under a condition; in Lightning's test, validation or fit."""

import sys
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from itertools import islice
from types import SimpleNamespace
from typing import Any, Literal, TypeAlias, TypeVar

import numpy as np
import torch
from lightning.fabric.utilities.data import sized_len
from lightning.pytorch import LightningDataModule, Trainer
from lightning.pytorch.utilities.exceptions import SIGTERMException
from numpy.typing import NDArray
from torch.utils.data import DataLoader, Subset
from tqdm import tqdm

from asim_lightning.classifier.network import CimModule
from asim_lightning.classifier.processes import gather
from asim_lightning.data.given import groups_of, with_indices
from asim_lightning.data.samplers import evaluation_sampler
from asim_lightning.evaluation.condition import Condition, is_noisy, under
from asim_lightning.evaluation.results import Outcomes, stacked
from asim_lightning.lightning_private import EvaluationLoop, pickles_work
from asim_lightning.surgery import macro_layers

Result = TypeVar("Result")
Split = Literal["val", "test"]
Evaluate: TypeAlias = Callable[[Condition, Sequence[int] | None], Outcomes]
"""Gives the answers to images under a condition, by index in the data set; None: to all images of the run."""
Answers = NDArray[Any]
"""Which images are right in which read of the chip, or numbers of another outcome, see `stacked`. # (units, reads)"""


_FIELDS = ("index", "value", "prediction")
_ALGORITHMS = {"float": "torch", "quantized": "exact", "estimated": "exact"}
"""The algorithm of a layer that is not simulated."""


def evaluate(
    trainer: Trainer,
    model: CimModule,
    batches: Iterable[Any],
    condition: Condition,
    advance: Callable[[], None] = lambda: None,
) -> Outcomes:
    """The answers to some images under a condition, gathered from all processes.

    Call it while the trainer is at work, such as in a fit. The network is left as before. The batches are the share of
    this process; `advance` is called after each.
    """
    found: list[dict[str, NDArray[Any]]] = []
    start = time.perf_counter()
    precision, strategy = trainer.precision_plugin, trainer.strategy
    with under(model, condition), torch.no_grad(), precision.test_step_context():
        for number, batch in enumerate(batches):
            answers = model.outcomes(strategy.batch_to_device(precision.convert_input(batch)), number)
            found.append({name: answers[name].cpu().numpy() for name in _FIELDS if name in answers})
            if trainer.received_sigterm:
                raise SIGTERMException
            advance()
        algorithm = _algorithm(model, strategy.root_device)
    mine = {name: np.concatenate([batch[name] for batch in found]) for name in (found[0] if found else ())}
    of_processes = gather((mine, time.perf_counter() - start))
    parts = [each for each, _ in of_processes if each]
    for each in parts:
        values, counts = np.unique(each["index"], return_counts=True)
        if counts.size and counts.max() > 1:
            given = f"{counts.max()} images of index {values[counts.argmax()]}"
            raise ValueError(
                "Every image must have a unique index in its batch, as data sets in "
                f"asim_lightning.data.IndexedDataset give them, got {given}"
            )
    if not parts:
        limits = "`trainer.limit_val_batches` or `limit_test_batches`"
        raise ValueError(f"No image was evaluated; the data is empty, or {limits} leaves no batch")
    whole = {name: np.concatenate([each[name] for each in parts]) for name in parts[0]}
    # distributed samplers repeat images, to give all processes equally many
    index, first = np.unique(whole["index"], return_index=True)
    predicted = whole["prediction"].astype(np.int64)[first] if "prediction" in whole else None
    seconds = max(each for _, each in of_processes)
    return Outcomes(index, whole["value"].astype(np.float32)[first], seconds, algorithm, predicted)


def quiet_trainer(**settings: Any) -> Trainer:
    """A Lightning trainer that only evaluates, and writes and shows nothing."""
    return Trainer(
        logger=False, enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False,
        use_distributed_sampler=False, **settings,
    )  # fmt: skip


def run_evaluations(
    trainer: Trainer,
    model: CimModule,
    data: LightningDataModule,
    work: Callable[[Evaluate], Result],
    split: Split = "test",
    advance: Callable[[], None] = lambda: None,
) -> Result:
    """Do work that evaluates a network under one condition after another, on every process of a trainer.

    The trainer starts its processes and brings the network to its device once. Missing input ranges are fitted first.
    Of the callbacks, only `setup` and `teardown` are called. The trainer's `limit_test_batches` or `limit_val_batches`
    applies.

    Args:
        trainer: The trainer.
        model: Converted classifier.
        data: Its data.
        work: Called on every process with a function that evaluates a condition. The next condition may depend on
            outcomes so far, because they are the same everywhere.
        split: Images: of val_dataloader or of test_dataloader.
        advance: Called after each batch.

    Returns:
        The result of the work in the first process; it must be plain if processes are forked.
    """
    if pickles_work(trainer):
        raise ValueError("The trainer must use the strategy ddp or ddp_fork, got one that spawns processes")
    loop = _Loop(trainer, split, work, advance)
    kept = trainer.test_loop, trainer.validate_loop
    try:
        if split == "test":
            trainer.test_loop = loop
            returned: Any = trainer.test(model, datamodule=data, verbose=False)
        else:
            trainer.validate_loop = loop
            returned = trainer.validate(model, datamodule=data, verbose=False)
    finally:
        trainer.test_loop, trainer.validate_loop = kept
    return returned.value  # type: ignore[no-any-return]


class EvaluationBar(tqdm):  # type: ignore[misc]
    """A bar over the batches of several evaluations; it vanishes at the end.

    It is only shown on a terminal, because it would be noise in a file or a pipe. If a loader has no length, no
    remaining time is shown. If several processes share the images, the batches of one are counted.
    """

    def __init__(self, evaluations: int, loader: Any, shown: bool, processes: int = 1) -> None:
        batches = sized_len(loader)
        self._batches = None if batches is None else -(-batches // processes)
        total, disable = self._batches and evaluations * self._batches, not (shown and sys.stderr.isatty())
        super().__init__(total=total, disable=disable, unit="batch", dynamic_ncols=True, leave=False)

    def leave_out(self, evaluations: int) -> None:
        """Remove evaluations from the total, because another command has done them."""
        if self._batches is not None:
            self.total -= evaluations * self._batches
            self.refresh()


def evaluate_each(
    trainer: Trainer,
    model: CimModule,
    data: Any,
    conditions: Sequence[tuple[str, Condition]],
    trials: int,
    line: Callable[[str, Sequence[Outcomes]], str],
    say: Callable[[str], None],
    split: Split = "test",
) -> list[Answers]:
    """Evaluate a network under one condition after another, and say a line about each when it is known.

    The network is left as before. All conditions are applied once before the first evaluation, which may take hours.

    Args:
        trainer: The trainer; its progress bar setting counts.
        model: Converted classifier.
        data: Its data, set up.
        conditions: Conditions, each with its name.
        trials: Reads of the chip under a condition with noise; without noise there is one read.
        line: Makes the line from the name and the reads.
        say: Takes the line.
        split: Images, as for `run_evaluations`.
    """
    reads, first = [], model.trial
    for _, condition in conditions:
        with under(model, condition):
            reads.append(trials if is_noisy(model) else 1)
    is_shown = getattr(trainer, "progress_bar_callback", None) is not None and trainer.is_global_zero
    loader = with_indices(data.val_dataloader() if split == "val" else data.test_dataloader())
    bar, groups = EvaluationBar(sum(reads), loader, is_shown, trainer.world_size), groups_of(loader)

    def work(evaluate: Evaluate) -> list[Answers]:
        found = []
        for (name, condition), count in zip(conditions, reads, strict=True):
            outcomes = []
            for read in range(count):
                bar.set_description(f"{name}, read {read}" if count > 1 else name, refresh=False)
                answered = evaluate(replace(condition, trial=(first + read) & 0xFFFF), None)
                outcomes.append(answered.grouped(groups))
            found.append(stacked(outcomes))
            bar.clear()  # the line stands above the bar
            say(line(name, outcomes))
        return found

    try:
        return run_evaluations(trainer, model, data, work, split, bar.update)
    finally:
        bar.close()


class _Loop(EvaluationLoop):
    """Lightning's test or validation loop, with other work instead of one pass over the images."""

    def __init__(
        self, trainer: Trainer, split: Split, work: Callable[[Evaluate], Any], advance: Callable[[], None]
    ) -> None:
        super().__init__(trainer, split == "test")
        self._work, self._advance = work, advance

    def run(self) -> Any:
        """Lightning calls it instead of its pass over the images."""
        self.setup_data()
        trainer: Trainer = self.trainer
        model: Any = trainer.lightning_module
        model.eval()
        model.fit_missing_ranges()
        if len(self.loaders) > 1:
            raise ValueError(f"The data must have one loader of these images, got {len(self.loaders)}")
        loader, most = with_indices(self.loaders[0]), sum(self.max_batches)
        limit = None if most == float("inf") else int(most)

        def evaluate_under(condition: Condition, places: Sequence[int] | None) -> Outcomes:
            batches = islice(loader, limit) if places is None else loader_of(loader, places)
            return evaluate(trainer, model, batches, condition, self._advance)

        return SimpleNamespace(value=self._work(evaluate_under))  # Lightning returns it unchanged


def loader_of(loader: DataLoader[Any], places: Sequence[int]) -> DataLoader[Any]:
    """A loader of some images of another loader's data set, split over the processes, with equal batch size."""
    images = Subset(loader.dataset, list(places))
    return DataLoader(
        images,
        loader.batch_size,
        sampler=evaluation_sampler(images),
        collate_fn=loader.collate_fn,  # type: ignore
    )


def _algorithm(model: CimModule, device: torch.device) -> str:
    """The algorithm of the layers on macros, such as "exact" or "events+native"; "torch" if there are none."""
    layers = macro_layers(model.backbone).values()
    names = (_ALGORITHMS.get(layer.fidelity) or layer.engine_on(device) for layer in layers)
    return "+".join(dict.fromkeys(names)) or "torch"
