"""Results of runs as a report is given them."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from asim_lightning.evaluation.chip_yield import ChipYield
from asim_lightning.evaluation.interval import Interval
from asim_lightning.evaluation.results import Kind, Result
from asim_lightning.evaluation.run import CommandRecord, Run

IMAGES = 400


def point(
    right: int,
    axes: Mapping[str, Any],
    figures: Mapping[str, float] | None = None,
    difference: tuple[float, float, float] | None = None,
    kind: Kind = "simulated",
) -> Result:
    """A point of 400 images, 3 points to each side of its accuracy."""
    share = right / IMAGES
    low, high = max(0.0, share - 0.03), min(1.0, share + 0.03)
    between = None if difference is None else Interval(*difference)
    return Result(
        axes, kind, 1, IMAGES, share, low, high, 1.5, "native", (right,), figures=figures or {}, difference=between
    )


REFERENCES = (point(365, {}, kind="float"), point(368, {}, kind="quantized"))
COMMAND = CommandRecord(
    "asim sweep -c mine --trials 1",
    "mine",
    {"trials": (2, 1)},
    seeds={"model.noise_seed": 7},
    machine={"cpu": "a processor <fast>"},
    versions={"torch": "2.13.0"},
    started="2026-01-02T03:04:05+00:00",
    seconds=75.0,
)
SETTINGS = {"weights": "0123456789abcdef0123", "model": {"backbone": {"name": "resnet10t"}}}


def run(points: Sequence[Result], **others: Any) -> Run:
    """A run with float and quantised references."""
    given = {"settings": SETTINGS, "commands": (COMMAND,), **others}
    return Run(Path("runs/mine/sweep-1"), (*REFERENCES, *points), **given)


def of_adc(energies: bool = True) -> Run:
    """6, 7 and 8 ADC bits without noise and with some: 7 keep the accuracy without, 8 with."""
    right = {(6, 0): 300, (7, 0): 368, (8, 0): 368, (6, 0.1): 100, (7, 0.1): 320, (8, 0.1): 367}
    return run([
        point(
            found,
            {"adc_bits": bits, "random_noise": noise},
            {"energy_uj": 0.5 * bits, "energy_uj_low": 0.4 * bits, "energy_uj_high": 0.6 * bits} if energies else {},
            ((found - 368) / IMAGES, (found - 368) / IMAGES - 0.004, (found - 368) / IMAGES + 0.004),
        )
        for (bits, noise), found in right.items()
    ])  # fmt: skip


def of_chips(stopped: bool = False) -> Run:
    """Four chips at two offsets."""
    rights = {"0.1 lsb": (370, 360, 368, 366), "0.3 lsb": (300, 200, 360, 100)}
    yields = []
    for offset, each in rights.items():
        mean = sum(each) / 4 / IMAGES
        right = np.array(each)[:, None]
        spread = Interval(mean, mean - 0.02, mean + 0.02)
        yields.append(ChipYield({"static.offset": offset}, (0, 1, 2, 3), right, IMAGES, spread, stopped))
    points = [
        point(right, {"static.offset": offset, "chip": chip})
        for offset, each in rights.items()
        for chip, right in enumerate(each)
    ]
    return run(points, yields=tuple(yields), thresholds=(0.85, 0.9))
