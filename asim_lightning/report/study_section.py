"""What a report shows of a spec and of a doctor: their answer in words, figures and tables."""

from typing import Any

from asim_lightning.evaluation.run import Run
from asim_lightning.evaluation.target import Limit, Target
from asim_lightning.report.limits_figure import limits_picture, limits_table, limits_words
from asim_lightning.report.loss_map_figure import loss_map_picture, loss_map_table
from asim_lightning.report.picture import Picture
from asim_lightning.report.plans_table import findings_table, plans_table, plans_verdict
from asim_lightning.table import Table


def study_parts(run: Run, target: Target) -> tuple[str, list[Picture], list[Table[Any]]]:
    """The verdict of a spec or a doctor, its figures and its tables.

    Args:
        run: The run, with its document.
        target: Its own target.

    Raises:
        ValueError: It is another target.
    """
    if target != run.own_target:
        raise ValueError(
            f"`--target` must be left out for {run.folder}, which has its own, '{run.own_target}', got '{target}'"
        )
    return _of_spec(run) if "limits" in run.document else _of_doctor(run)


def _of_spec(run: Run) -> tuple[str, list[Picture], list[Table[Any]]]:
    limits = [Limit.of_json(each) for each in run.document["limits"]]
    scale = run.document["full_scale"]
    table = limits_table(limits, scale["codes"], scale["mv"])
    said = f"{run.own_target}: {limits_words(limits)}."
    return said, [limits_picture(limits, "How bad each property may be")], [table]


def _of_doctor(run: Run) -> tuple[str, list[Picture], list[Table[Any]]]:
    tables: list[Table[Any]] = [plans_table(run.document)]
    if run.document["findings"]:
        tables.append(findings_table(run.document))
    pictures = []
    if run.loss_map is not None:
        tables.append(loss_map_table(run.loss_map))
        pictures.append(loss_map_picture(run.loss_map, "Where the answers are lost"))
    return plans_verdict(run.document), pictures, tables
