"""`asim bench`: images, times, tables and the JSON file of one command."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

from asim_lightning.bench import BenchImages, PublishedCode, compare, load_published, read_images, time_layers
from asim_lightning.bench.images import random_images
from asim_lightning.bench.inference import inferences
from asim_lightning.bench.machine import this_machine
from asim_lightning.bench.network_times import time_network
from asim_lightning.bench.plain_values import to_dict
from asim_lightning.classifier import CimClassifier
from asim_lightning.cli.writable import check_file
from asim_lightning.evaluation.times import InferenceTime
from asim_lightning.evaluation.whole_file import write_whole
from asim_lightning.nn.calibration import needs_calibration
from asim_lightning.report.timing_tables import LEGEND, comparison_table, layer_table, network_table
from asim_lightning.surgery import macro_layers

_SCATTER = 1.5
"""Median over fastest time from which figures are of little use."""


class Benchmark:
    """Times a network on this machine, prints each table when it is ready, and writes all of it to a file.

    Args:
        model: Converted classifier.
        batches: Images at a time, 1 or more each.
        repeats: Timed repeats: 1..65535.
        compare_reference: Folder of a checkout of the published code; None compares with none.
        output: JSON file (.json), or the folder of bench.json.

    Raises:
        ValueError: No layer is on a macro, a number is not allowed, or the folder is no such checkout.
    """

    def __init__(
        self,
        model: CimClassifier,
        batches: Sequence[int],
        repeats: int,
        compare_reference: str | None,
        output: str | Path,
    ) -> None:
        if not macro_layers(model.backbone):
            raise ValueError("asim bench needs a network with layers on a macro, got one without; set `model.plan`")
        if not batches or min(batches) < 1:
            shown = batches[0] if len(batches) == 1 else list(batches)
            raise ValueError(f"`batch` must be a number or list of numbers, 1 or more each, got {shown}")
        if not 1 <= repeats <= 65535:
            raise ValueError(f"`repeats` must be 1..65535, got {repeats}")
        self.code: PublishedCode | None = None if compare_reference is None else load_published(compare_reference)
        self.model, self.batches, self.repeats = model, list(batches), repeats
        self.file = Path(output) if str(output).endswith(".json") else Path(output) / "bench.json"
        check_file(self.file, "`output`")  # before minutes of timing

    def images(self, data: Any, prepare: Callable[[], None]) -> BenchImages:
        """Test images, or random ones where the data is not on disk; input ranges that are missing are fitted.

        Args:
            data: Data module.
            prepare: Reads the data, and fits ranges to its training images.
        """
        count, channels = max(self.batches) * (self.repeats + 1), getattr(data, "in_channels", None)
        try:
            if channels not in (None, self.model.in_channels):
                raise FileNotFoundError(f"images of {type(data).__name__} have {channels} channels")
            prepare()
            return read_images(data, count, self.model.num_classes)
        except FileNotFoundError as error:
            images = random_images(self.model, data, count, _because(error))
        if needs_calibration(self.model.backbone):
            self.model.calibrate(images.images[: max(self.batches)].split(64))
        return images

    def run(self, images: BenchImages, device: torch.device, layers: bool, reference_engine: bool) -> None:
        """Time, print and write.

        Args:
            images: Images.
            device: Device that computes.
            layers: Whether each layer is timed too.
            reference_engine: Whether the reference engine is timed too.
        """
        model, machine, first = self.model.to(device).eval(), this_machine(device), self.batches[0]
        print(f"machine  {machine}\nimages   {images.source}", flush=True)
        ways = inferences(model, device, reference_engine)
        times: list[InferenceTime] = []
        per_layer: list[Any] = []
        comparison: list[Any] = []

        def keep() -> None:  # after each table, so that a stop loses none
            values = to_dict(model, machine, images, times, per_layer, comparison)
            content = json.dumps(values, indent=2, allow_nan=False).encode() + b"\n"
            write_whole(self.file, lambda opened: opened.write(content))

        for batch in self.batches:
            found = time_network(model, ways, images, batch, self.repeats)
            times += found
            print(f"\nbatch {batch}, {self._repeats}\n{network_table(found)}", flush=True)
            if any(time.repeats.median > _SCATTER * time.repeats.fastest for time in found):
                print("times scatter: is other work on this machine? --repeats can be raised", flush=True)
            keep()
        print(LEGEND, flush=True)
        if layers:
            per_layer += time_layers(model, images, first, self.repeats)
            print(f"\nlayers, batch {first}, {self._repeats}\n{layer_table(per_layer)}", flush=True)
            keep()
        if self.code:
            comparison += compare(model, self.code, images, first, self.repeats)
            print(f"\nbeside {self._path}, batch {first}, {self._repeats}\n{comparison_table(comparison)}", flush=True)
            keep()
        print(f"\nnumbers  {self.file}", flush=True)

    @property
    def _repeats(self) -> str:
        return f"{self.repeats} repeats" if self.repeats > 1 else "1 repeat"

    @property
    def _path(self) -> str:
        return str(self.code.path) if self.code else ""


def _because(error: FileNotFoundError) -> str:
    reason, _, _ = str(error).partition(";")
    return f"the data cannot be read: {reason}"
