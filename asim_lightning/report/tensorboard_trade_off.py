"""Accuracy against energy in TensorBoard: of the points of a sweep that no other betters."""

from pathlib import Path

from torch.utils.tensorboard import SummaryWriter

from asim_lightning.evaluation.results import PointResult
from asim_lightning.evaluation.run_results import CHIP, RunResults
from asim_lightning.evaluation.whole_file import naming
from asim_lightning.report.choices import conditions_of, energy_of, pareto, varied
from asim_lightning.report.tensorboard_curves import SUFFIX, add_curve, run_name
from asim_lightning.report.tensorboard_layout import sweep_layout

TAG = "sweep/accuracy_vs_energy_in_nanojoules"


def write_trade_off(folder: Path, run: RunResults) -> list[Path]:
    """Write the accuracy of the points of `pareto` with its interval, at steps of one nJ an image.

    One run for each combination of conditions, such as a noise, in a folder of its own: "energy" or
    "energy,random_noise=0.1". Nothing is written where there are several chips, whose curves would be too many, and for
    costs that have no energy in µJ.

    Args:
        folder: Folder of the sweep, whose earlier event files are removed already.
        run: Its results.

    Returns:
        The folders.
    """
    energy, front, several = energy_of(run), pareto(run), varied(run)
    curves: dict[str, dict[int, PointResult]] = {}
    for place in sorted(front) if energy == "energy_uj" and CHIP not in several else ():
        point = run.points[place]
        conditions = conditions_of(point, several)
        name = ",".join(each for each in ("energy", run_name(conditions)) if each)
        curves.setdefault(name, {})[round(1000 * point.costs["energy_uj"])] = point.result
    found = []
    for name, curve in curves.items():
        found.append(folder / name)
        with naming([found[-1]]), SummaryWriter(str(found[-1]), filename_suffix=SUFFIX) as writer:
            writer.add_custom_scalars(sweep_layout(TAG))
            add_curve(writer, TAG, sorted(curve.items()))
    return found
