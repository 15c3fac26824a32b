"""What commands that study a network share: options, and the record in the folder of the run for `asim report`."""

import hashlib
import shlex
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from asim_lightning.bench.machine import this_machine, versions
from asim_lightning.cli.start import Drawing, Setup
from asim_lightning.engine import SavedChip
from asim_lightning.evaluation.run import COMMAND, CommandRecord
from asim_lightning.evaluation.store import Store
from asim_lightning.exploration.estimate import all_images
from asim_lightning.exploration.runner import RunnerSettings
from asim_lightning.surgery import macro_layers


@dataclass(frozen=True)
class StudyOptions(Drawing):
    """Who computes the trials of a study, and how it is shown."""

    progress: bool = True
    """Whether a progress bar with the time left is shown, where standard error is a terminal."""
    runner: RunnerSettings = field(default_factory=RunnerSettings)
    """Who computes the trials."""
    fresh: bool = False
    """Whether every trial is computed anew, also if an earlier command has finished it."""


@contextmanager
def recorded(setup: Setup, folder: Path) -> Iterator[None]:
    """Keep the command in a folder as it starts, and again with its time as it ends; on the first process only."""
    if not setup.trainer.is_global_zero:
        yield
        return
    arguments, chip = setup.arguments, setup.model.chip
    # the plan's, as long as no layer was given another by hand
    macro = next(iter(macro_layers(setup.model.backbone).values())).assignment.base
    record = CommandRecord(
        command=shlex.join(["asim", *arguments.words]),
        recipe=arguments.recipes[-1].path.stem if arguments.recipes else "",
        differences=dict(_differences(setup.by_recipes, setup.by_flags)),
        preset=setup.preset,
        macro=asdict(macro),
        images=all_images(setup.data),
        seeds={
            "seed_everything": {**setup.by_recipes, **setup.by_flags}.get("seed_everything", 0),
            "model.noise_seed": setup.model.noise_seed,
            "model.chip": chip.path if isinstance(chip, SavedChip) else chip,
            "data.seed": getattr(setup.data, "seed", None),
        },
        machine=asdict(this_machine(setup.trainer.strategy.root_device)),
        versions=versions(),
        started=datetime.now(timezone.utc).isoformat(timespec="seconds"),
    )
    name = COMMAND + hashlib.sha256(record.command.encode(errors="surrogateescape")).hexdigest()
    store = Store(setup.folder)
    if (before := store.read(folder.name, name)) is not None:
        record = replace(record, seconds=before["seconds"], calls=before["calls"] + 1)
    start = time.monotonic()
    store.write(folder.name, name, asdict(record))
    yield
    seconds = (record.seconds or 0.0) + time.monotonic() - start
    store.write(folder.name, name, asdict(replace(record, seconds=seconds)))


def _differences(
    recipe: Mapping[str, Any], flags: Mapping[str, Any], above: str = ""
) -> Iterator[tuple[str, tuple[Any, Any]]]:
    """Settings of flags, by full name, that the recipe has not or has otherwise."""
    for name, value in flags.items():
        before = recipe.get(name)
        if isinstance(value, Mapping) and value and not above.startswith("axes."):
            yield from _differences(before if isinstance(before, Mapping) else {}, value, f"{above}{name}.")
        elif before != value or name not in recipe:
            yield f"{above}{name}", (before, value)
