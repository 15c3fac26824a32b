"""Accuracy against energy in TensorBoard: of the points that no other betters, and of a digital macro."""

from pathlib import Path

from torch.utils.tensorboard import SummaryWriter

from asim_lightning.evaluation.axis_settings import CHIP
from asim_lightning.evaluation.results import Result
from asim_lightning.evaluation.run import Run
from asim_lightning.evaluation.whole_file import naming
from asim_lightning.report.choices import conditions_of, digital_energy, energy_of, front_of, varied
from asim_lightning.report.tensorboard_curves import SUFFIX, add_curve, run_name
from asim_lightning.report.tensorboard_layout import sweep_layout

TAG = "sweep/accuracy_vs_energy_in_nanojoules"


def write_trade_off(folder: Path, run: Run) -> list[Path]:
    """Write the accuracy of the points of `pareto` with its interval, at steps of one nJ an image.

    One run for each combination of conditions, such as a noise, in a folder of its own: "energy" or
    "energy,random_noise=0.1"; where all take the same energy, of all points. The quantised network in a digital macro
    is one more, "energy,digital". Nothing is written where there are several chips, whose curves would be too many, and
    for costs that have no energy in µJ.

    Args:
        folder: Folder of the run, whose earlier event files are removed already.
        run: The run.

    Returns:
        The folders.
    """
    energy, front, several = energy_of(run), front_of(run), varied(run)
    curves: dict[str, dict[int, Result]] = {}
    if energy != "energy_uj" or CHIP in several or run.yields:
        return []
    shown = front or [point for point in run.points if energy in point.figures]
    for point in sorted(shown, key=lambda point: point.accuracy):  # of equal energies the best one stays
        name = _energy_run(run_name(conditions_of(point, several)))
        curves.setdefault(name, {})[round(1000 * point.figures["energy_uj"])] = point
    order = list(dict.fromkeys(run_name(conditions_of(point, several)) for point in shown))
    curves = {name: curves[name] for name in (_energy_run(each) for each in order)}
    if curves and (digital := digital_energy(run)) is not None and run.of_kind("quantized"):
        curves[_energy_run("digital")] = {round(1000 * digital): run.of_kind("quantized")[0]}
    for name, curve in curves.items():
        with naming([folder / name]), SummaryWriter(str(folder / name), filename_suffix=SUFFIX) as writer:
            writer.add_custom_scalars(sweep_layout(TAG))
            add_curve(writer, TAG, sorted(curve.items()))
    return [folder / name for name in curves]


def _energy_run(conditions: str) -> str:
    """Name of the run of a curve of energies under some conditions: "energy,random_noise=0.1"."""
    return ",".join(each for each in ("energy", conditions) if each)
