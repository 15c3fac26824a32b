"""`asim report`: sweeps, yields, searches, specs and doctors of one network as one HTML file, its numbers as JSON."""

import json
import os
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from asim_lightning.cli.command_line import shorter_path, write_text
from asim_lightning.evaluation.run import Run, read_run, run_names
from asim_lightning.evaluation.target import Target, target_texts
from asim_lightning.report.run_section import report_of

_SUFFIXES = (".html", ".htm")
_RUNS = {"help": "folders of sweeps, searches, specs or doctors (runs/NAME/sweep-HASH), or runs/NAME for all of it"}


@dataclass(frozen=True)
class ReportOptions:
    """Runs to report, and the output."""

    runs: list[str] = field(metadata=_RUNS)
    target: str | None = None
    """Accuracy to keep, such as '99 % of float' or '88 %'; null: the search's or --until's, else '99 % of quantized'. A
    spec and a doctor have their own."""
    output: str | None = None
    """HTML file NAME.html; its numbers go into NAME.report.json next to it; null: report.html, with report.json, in the
    folder of the runs."""
    title: str | None = None
    """Headline; null: names of the runs."""


def report(options: ReportOptions) -> None:
    """Write the report and its numbers, and print the verdicts and the paths of the files.

    Raises:
        ValueError: The runs are of several networks, a target does not fit, or a folder holds other results than a
            study writes.
    """
    try:
        _report(options)
    except (LookupError, TypeError, AttributeError) as error:
        raise ValueError(
            f"{' '.join(options.runs)} must hold results as a study writes them, got {type(error).__name__}: {error}"
        ) from error


def _report(options: ReportOptions) -> None:
    runs = [read_run(folder) for folder in _run_folders(options.runs)]
    runs = list(_comparable(runs, {os.path.realpath(folder) for folder in options.runs}))
    asked = None
    if options.target is not None:
        (text,) = target_texts("--target", [options.target], runs[0].measure)
        asked = Target.read(text, "`--target`", ("accuracy", "share"))
    shared = os.path.commonpath([os.path.abspath(folder) for folder in options.runs])
    output = Path(options.output if options.output is not None else f"{shorter_path(shared)}/report.html")
    if output.suffix.lower() not in _SUFFIXES:
        raise ValueError(f"`--output` must be an HTML file ({' or '.join(_SUFFIXES)}), got {output}")
    beside = output.with_suffix(".json" if output.stem == "report" else ".report.json")
    judged = list(zip(runs, targets_of(runs, asked), strict=True))
    content, numbers = report_of(judged, options.title)
    write_text(output, content)
    write_text(beside, json.dumps(numbers, indent=1, default=str) + "\n")
    for (run, target), found in zip(judged, numbers["runs"], strict=True):
        name = f"{found['title']}: " if len(runs) > 1 else ""
        print(f"verdict  {name}{found['verdict']}")
        if asked is not None and target != asked:
            ended = f"images of {run.folder} ended by '{run.until}', which decides no share of another network"
            print(f"note     {f'{run.folder} has its own target' if run.document else ended}")
    print(f"numbers  {beside}\nreport   {output}")


def _comparable(runs: Sequence[Run], named: Collection[str]) -> Iterator[Run]:
    """The runs of the network and outcome with most runs; a line says which others are left out.

    Raises:
        ValueError: A run whose folder is named is of another network or outcome.
    """
    (usual, _), *_ = Counter(map(_network, runs)).most_common(1)
    for run in runs:
        if (network := _network(run)) == usual:
            yield run
            continue
        why = f"it is of {network}, and the report of {usual}"  # a reader would compare their outcomes
        if os.path.realpath(run.folder) in named:
            raise ValueError(f"{run.folder} cannot be in this report: {why}")
        print(f"note     {run.folder} is left out: {why}")


def targets_of(runs: Sequence[Run], asked: Target | None) -> list[Target]:
    """The target of each run: the one that was asked for, else the run's own.

    A spec or a doctor has a fixed target, and a run whose images ended early decides no share of another network. If
    the asked target fits another run, these runs use their own.
    """
    if asked is None:
        return [each.own_target for each in runs]
    can = [not each.document and (asked.of is None or each.until is None) for each in runs]
    return [asked if one or not any(can) else each.own_target for each, one in zip(runs, can, strict=True)]


def _run_folders(given: Sequence[str]) -> list[Path]:
    """The folders of the runs: each given one, or the run folders directly in it."""
    found: dict[str, Path] = {}  # no repeats
    for folder in map(Path, given):
        for run in [folder / name for name in run_names(folder)] or [folder]:  # reading refuses a folder without a run
            found.setdefault(os.path.realpath(run), run)
    return list(found.values())


def _network(run: Run) -> str:
    name = run.settings.get("model", {}).get("backbone", {}).get("name", "a network")
    outcome = f"{run.measure.name} of " * (run.measure.name != "accuracy")
    return f"{outcome}{name} with weights {str(run.settings.get('weights', 'unknown'))[:12]}"
