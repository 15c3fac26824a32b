"""The results of a search for people: table, pictures, files, TensorBoard."""

from torch.utils.tensorboard import SummaryWriter

from asim_lightning.evaluation.results import Result
from asim_lightning.evaluation.run import Run, is_among
from asim_lightning.evaluation.target import figure as figure_of
from asim_lightning.evaluation.target import has_figure, meaning_of_early_end
from asim_lightning.evaluation.whole_file import naming
from asim_lightning.exploration.axes import lsb_note
from asim_lightning.exploration.figures import write_layers
from asim_lightning.exploration.search import Search
from asim_lightning.exploration.search_space import of_technology
from asim_lightning.report.search_figure import draw_search, maps_figure, trade_off_figure
from asim_lightning.report.search_table import search_text
from asim_lightning.report.tensorboard_curves import SUFFIX, run_name
from asim_lightning.report.tensorboard_trade_off import energy_run, write_energy_curves

_SUFFIX = ".search"
_SCALARS = ("accuracy", "yield", "energy", "latency", "tops_per_watt")


def publish_search(found: Run, search: Search, name: str) -> str:
    """Write files and pictures into the search's folder, and return the table and where they are.

    Args:
        found: What the search found.
        search: The search.
        name: Name of the run, for the headline.
    """
    title = f"{name}: {len(found.points)} points by {search.settings.method}"
    title += "" if of_technology(found.points[0].axes) else f", {search.technology}"
    pictures = draw_search(found, title, search.folder)
    write_layers(search.figures, [point.axes for point in found.points], search.records.store, search.folder)
    _write_scalars(found, search, title)
    note = lsb_note((point.axes for point in found.points), search.macros)
    return "\n".join(
        [
            search_text(found, str(search.technology)),
            *([] if note is None else [f"Note: {note}."]),
            *(
                []
                if (ends := search.settings.ends) is None
                else [meaning_of_early_end(ends, found.references[0].images)]
            ),
            "",
            f"numbers  {search.folder / 'results.csv'}",
            *(f"picture  {picture}" for picture in pictures),
            f"charts   tensorboard --logdir {search.folder.parent.parent}",
        ]
    )


def _write_scalars(found: Run, search: Search, title: str) -> None:
    """Figures of each point with its number as the step; and the accuracy of the front over whole nJ, a run a noise."""
    folder = search.folder
    for stale in [path for suffix in (_SUFFIX, SUFFIX) for path in folder.rglob(f"events.out.tfevents.*{suffix}")]:
        stale.unlink()
    curves: dict[str, dict[int, Result]] = {}
    for given, points in found.groups:
        by_energy = sorted(
            (point for point in points if is_among(point, found.front)),
            key=lambda point: (point.figures["energy_uj"], point.accuracy),
        )
        name = energy_run(run_name(given if len(found.groups) > 1 else {}))
        curves[name] = {round(1000 * point.figures["energy_uj"]): point for point in by_energy}
    if found.all_digital is not None:
        curves[energy_run("digital")] = {round(1000 * found.all_digital[0]): found.references[-1]}
    write_energy_curves(folder, curves)
    with naming([folder]), SummaryWriter(str(folder), filename_suffix=_SUFFIX) as writer:
        for step, point in enumerate(found.points):
            for scalar in _SCALARS:
                if has_figure(point, scalar):
                    writer.add_scalar(f"search/{scalar}_of_point", figure_of(point, scalar), step)
        for reference in found.references:
            writer.add_scalar(f"search/accuracy_{reference.kind}", reference.accuracy, 0)
        for tag, figure in (("trade_off", trade_off_figure(found, title)), ("map", maps_figure(found, title))):
            if figure is not None:
                writer.add_figure(f"search/{tag}", figure, 0, close=False)
