"""`asim bench` and `asim verify`: how fast the engines are on this machine, and whether they agree."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from asim_lightning.bench import BenchImages, read_images, time_layers
from asim_lightning.bench.images import random_images
from asim_lightning.bench.inference import inferences
from asim_lightning.bench.machine import this_machine
from asim_lightning.bench.network_times import time_network
from asim_lightning.bench.plain_values import to_dict
from asim_lightning.bench.times import InferenceTime
from asim_lightning.checks import check_whole
from asim_lightning.cli.command_line import write_text
from asim_lightning.cli.parser import AsimCLI
from asim_lightning.cli.weights import prepare
from asim_lightning.data.given import with_indices
from asim_lightning.evaluation.condition import Condition
from asim_lightning.evaluation.evaluate import evaluate
from asim_lightning.evaluation.interval import Interval, difference_interval, mean_interval
from asim_lightning.evaluation.layer_inputs import layer_inputs, needed_layers
from asim_lightning.exchange.published.modules import PublishedCode, load_published, with_published
from asim_lightning.nn import OnMacro
from asim_lightning.nn.calibration import needs_calibration
from asim_lightning.nn.inputs import batch_size, some_of
from asim_lightning.nn.verify import verify as verify_layer
from asim_lightning.report.command_tables import TIMES_LEGEND, layer_table, network_table
from asim_lightning.table import Table

_SCATTER = 1.5
"""Ratio of median to fastest time from which times scatter too much."""


@dataclass(frozen=True)
class BenchOptions:
    """What to time, and how often."""

    batch: int | list[int] | None = None
    """Images in a batch, a number or a list of them: 1 or more; null: [1, 64]."""
    repeats: int = 5
    """Timed repeats, after one untimed repeat: 1..65535."""
    layers: bool = False
    """Whether to time each layer, too, at the first batch size."""
    reference_engine: bool = False
    """Whether to time the slow reference engine, too."""
    output: str | None = None
    """JSON file, or folder of bench.json; null: the folder of this configuration's runs."""


def bench(cli: AsimCLI, options: BenchOptions) -> None:
    """Time float32, quantised and simulated inference of the network on this machine, on new images each repeat.

    Simulated inference runs as configured, and with each other engine that applies; the tables go to a JSON file, too.
    It uses the data's test images, or random ones if there are none on disk.
    """
    needed_layers(cli.model, "asim bench")
    given, repeats = options.batch, options.repeats
    batches = [1, 64] if given is None else [given] if isinstance(given, int) else given
    if not batches or min(batches) < 1:
        raise ValueError(f"`batch` must be a number or list of numbers, 1 or more each, got {given}")
    check_whole("`repeats`", repeats, 1, 65535)
    file = Path(options.output or cli.run_folder)
    file = file if file.suffix == ".json" else file / "bench.json"
    images, device = _images(cli, batches, repeats), cli.trainer.strategy.root_device
    model, machine, first = cli.model.to(device).eval(), this_machine(device), batches[0]
    ways, shown = inferences(model, device, options.reference_engine), f"{repeats} repeat{'s' * (repeats > 1)}"
    times: list[InferenceTime] = []
    per_layer: list[Any] = []

    def keep(title: str, table: Table[Any]) -> None:  # written after each table, so a stop loses none
        print(f"\n{title}, {shown}\n{table}", flush=True)
        content = json.dumps(to_dict(model, machine, images, times, per_layer), indent=2, allow_nan=False)
        write_text(file, content + "\n")

    print(f"machine  {machine}\nimages   {images.source}", flush=True)
    for batch in batches:
        found = time_network(model, ways, images, batch, repeats)
        times += found
        keep(f"batch {batch}", network_table(found))
        if any(time.repeats.median > _SCATTER * time.repeats.fastest for time in found):
            print(
                "times of repeats differ much: other work may run on this machine; try more --repeats",
                flush=True,
            )
    print(TIMES_LEGEND, flush=True)
    if options.layers:
        per_layer += time_layers(model, images, first, repeats)
        keep(f"layers, batch {first}", layer_table(per_layer))
    print(f"\nnumbers  {file}", flush=True)


def _images(cli: AsimCLI, batches: Sequence[int], repeats: int) -> BenchImages:
    """Test images, or random ones if the data is not on disk; missing input ranges are fitted."""
    model, data = cli.model, cli.datamodule
    count, channels = max(batches) * (repeats + 1), getattr(data, "in_channels", None)
    try:
        if channels not in (None, model.in_channels):
            raise FileNotFoundError(f"images of {type(data).__name__} have {channels} channels")
        prepare(cli.trainer, model, data)
        return read_images(data, count)
    except FileNotFoundError as error:
        reason = str(error).partition(";")[0]
        images = random_images(model, data, count, f"the data cannot be read: {reason}")
    if needs_calibration(model.backbone):
        model.calibrate(images.images[: max(batches)].split(64))
    return images


@dataclass(frozen=True)
class VerifyOptions:
    """What to compare engines on."""

    samples: int = 2
    """Test images: 1 or more; if the first batch has fewer, all of it."""
    published: str | None = None
    """Folder of a checkout of the published simulator. Its code runs: its layers replace ours on all test images, and
    both accuracies are printed."""


def verify(cli: AsimCLI, options: VerifyOptions) -> None:
    """Compare all engines on the network's own layers, code by code, or the network with the published layers.

    Exits with 1 if engines differ.
    """
    prepare(cli.trainer, cli.model, cli.datamodule)
    layers = needed_layers(cli.model, "asim verify")
    if options.published is not None:
        _verify_published(cli, load_published(options.published), layers)
        return
    check_whole("`samples`", options.samples, 1)
    images = some_of(next(iter(cli.datamodule.test_dataloader()))[0], slice(options.samples))
    inputs = layer_inputs(cli.model, images)
    reached = [layer for layer in inputs if inputs[layer][0].numel()]
    found = [verify_layer(layer, *inputs[layer], max_samples=options.samples, chip=cli.model.chip) for layer in reached]
    for verification in found:
        print(f"{verification}\n")
    good, used = sum(verification.ok for verification in found), batch_size(images)
    fewer = f", all of the first batch (--samples {options.samples})" if used < options.samples else ""
    print(f"{good} of {len(found)} layers agree on {used} test image{'s' if used > 1 else ''}{fewer}")
    if good < len(found):
        raise SystemExit(1)


def _verify_published(cli: AsimCLI, code: PublishedCode, layers: dict[str, OnMacro]) -> None:
    """Print the accuracy with our layers and with the published ones, on the same images, and their difference."""

    def answers() -> NDArray[Any]:
        return evaluate(cli.trainer, cli.model, with_indices(cli.datamodule.test_dataloader()), Condition()).value[
            :, None
        ]

    ours = answers()
    print(f"ours       {_percent(mean_interval(ours, True))}", flush=True)
    with with_published(code, layers) as reasons:
        theirs = answers()
    kept = {name: why for name, why in reasons.items() if why}
    print(f"published  {_percent(mean_interval(theirs, True))}, {len(reasons) - len(kept)} of {len(reasons)} layers")
    print(f"difference {_percent(difference_interval(ours, theirs, True), '+')}")
    for name, why in kept.items():
        print(f"ours in both: {name}, because the published code does not compute {why}")


def _percent(found: Interval, sign: str = "") -> str:
    return f"{found.mean:{sign}.2%} [{found.low:{sign}.2%}, {found.high:{sign}.2%}]".replace("%", " %")
