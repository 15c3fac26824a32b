"""Results of runs as a report is given them."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from asim_lightning.evaluation.interval import Interval
from asim_lightning.evaluation.loss_map import LossMap
from asim_lightning.evaluation.results import Kind, Result
from asim_lightning.evaluation.run import CommandRecord, Run
from asim_lightning.evaluation.target import TOGETHER, Limit

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


def simulated(accuracy: float = 0.8, **axes: object) -> Result:
    """A simulated point, from 2 percent below its accuracy to 1 percent above."""
    return Result(axes, "simulated", 5, 2000, accuracy, accuracy - 0.02, accuracy + 0.01, 3.0, "events")


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


def of_chips(stopped: bool = False, energies: bool = False) -> Run:
    """Four chips at two offsets."""
    rights = {"0.1 lsb": (370, 360, 368, 366), "0.3 lsb": (300, 200, 360, 100)}
    points = []
    for energy, (offset, each) in enumerate(rights.items()):
        axes, figures = {"static.offset": offset}, {"energy_uj": 1.0 + energy} if energies else {}
        chips = tuple(point(right, {**axes, "chip": chip}, figures) for chip, right in enumerate(each))
        mean = sum(each) / 4 / IMAGES
        spread = {"low": mean - 0.02, "high": mean + 0.02, "accuracy": mean}
        points.append(replace(point(200, axes, figures), **spread, chips=chips, chips_ended=stopped))  # type: ignore[arg-type]
    return run(points, thresholds=(0.85, 0.9))


RUNGS = (0.0, 0.1, 0.2, 0.4, 0.8)
LIMITS = (
    Limit("random_noise", "lsb", RUNGS, 0.2, 0.8, 1500),
    Limit("adc_bits", "bits", (8.0, 7.0, 6.0), 7.0, 6.0),
    Limit("gain", "%", RUNGS, None, 0.4, 2000, True),
    Limit(TOGETHER, "times", RUNGS, 0.8, None),
)


def spec_document(limits: Sequence[Limit] = LIMITS, target: str = "accuracy 90 %") -> dict[str, Any]:
    """What a spec writes, of a macro with a full scale of 255 codes and 510 mV."""
    scale = {"codes": 255.0, "mv": 510.0}
    return {"target": target, "limits": [each.to_json() for each in limits], "full_scale": scale, "notes": ["a rule"]}


def plan(text: str, energy: float, mean: float, verdict: str, **others: Any) -> dict[str, Any]:
    """A plan as in doctor.json, of a target that is met from -0.045."""
    return {
        "text": text, "macro": {"adc_bits": 11}, "rules": [{"match": "fc", "macro": {"votes": 3}}], "checkpoint": None,
        "energy_uj": energy, "energy_uj_low": energy / 2, "energy_uj_high": 2 * energy, "mean": mean,
        "low": mean - 0.01, "high": mean + 0.01, "threshold": -0.045, "verdict": verdict, "images_to_decide": None,
        "file": None, **others,
    }  # fmt: skip


AS_IS = plan("the macro as it is", 9.7, -0.5, "missed")
PLANS = (
    plan("<fc> digital", 11.0, -0.04, "undecided", images_to_decide=4000),
    plan("11 ADC bits", 13.0, -0.012, "kept", file="plan-1.yaml"),
    plan("all digital", 14.0, 0.0, "kept", file="plan-2.yaml"),
)


def doctor_document(plans: Sequence[Mapping[str, Any]] = PLANS, **others: Any) -> dict[str, Any]:
    """What a doctor writes."""
    finding = {"kind": "range", "layers": ["conv1", "fc"], "text": "15 of 255 codes", "numbers": {"top": 15}}
    given = {"target": "accuracy 95 % of quantized", "as_is": AS_IS, "plans": list(plans), "findings": [finding]}
    return {**given, "gap": 0.01, "notes": ["a note"], **others}


MAPPED = LossMap({"conv1": (0.0, 0.1, 0.2, 0.1), "fc <a>": (0.02, 1.4, 0.18), "head": (-0.004, 0.004)}, 1.9, images=40)


def check_inside(figure: Figure, texts: Sequence[Any]) -> None:
    """Fail if a text of a figure is cut off."""
    for box in (text.get_window_extent() for text in texts):
        assert -1 <= box.x0 <= box.x1 <= figure.bbox.width + 1
        assert -1 <= box.y0 <= box.y1 <= figure.bbox.height + 1
