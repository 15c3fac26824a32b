"""`asim report`: finished sweeps, yields and searches of one network as one HTML file, and its numbers as JSON."""

import json
import os
from collections.abc import Sequence
from html import escape
from pathlib import Path

from asim_lightning.cli.commands import DESCRIPTIONS
from asim_lightning.cli.messages import OneLineParser, UsageError
from asim_lightning.cli.writable import check_file
from asim_lightning.evaluation.run import Run, read_run, run_names
from asim_lightning.evaluation.target import Target
from asim_lightning.evaluation.whole_file import write_whole
from asim_lightning.report.html_page import page
from asim_lightning.report.run_section import run_title, run_titles, section_html, section_numbers
from asim_lightning.report.verdict import verdict

_SUFFIXES = (".html", ".htm")
_OF_PAGE, _OF_NUMBERS = b'<section id="run-', b'{\n "title": '
"""What files of a report have, and others have not."""


def parser() -> OneLineParser:
    """The parser of the command."""
    made = OneLineParser(prog="asim report", description=DESCRIPTIONS["report"], allow_abbrev=False)
    made.add_argument(
        "runs",
        type=str,
        nargs="*",
        help="folders of sweeps or searches (runs/NAME/sweep-HASH), or runs/NAME for all of it",
    )
    made.add_argument(
        "--target",
        type=str | None,
        help="accuracy to keep, such as '99 % of float' or '88 %'; null: that of a search or of --until, else '99 % of "
        "quantized'",
    )
    made.add_argument(
        "--output",
        type=str | None,
        help="HTML file NAME.html, whose numbers go into NAME.report.json beside it; null: report.html, with "
        "report.json, in the folder that holds the runs",
    )
    made.add_argument("--title", type=str | None, help="headline; null: names of the runs")
    return made


def run(arguments: Sequence[str]) -> None:
    """Write the report and its numbers, and print the verdicts and where they are.

    Args:
        arguments: What follows the command.

    Raises:
        UsageError, ValueError, OSError, ModuleNotFoundError: What was given cannot be used; nothing is written.
    """
    made = parser()
    made.known_settings = [action.dest for action in made._actions]
    settings = made.parse_args(list(arguments))
    asked = None if settings.target is None else Target.read(settings.target, "`--target`", ("accuracy", "share"))
    runs = [read_run(folder) for folder in run_folders(settings.runs)]
    check_one_network(runs)
    targets = targets_of(runs, asked)
    output = Path(settings.output) if settings.output is not None else _default_output(settings.runs)
    if output.suffix.lower() not in _SUFFIXES:
        raise UsageError(f"`--output` must be an HTML file ({' or '.join(_SUFFIXES)}), got {output}")
    beside = output.with_suffix(".json" if output.stem == "report" else ".report.json")
    for path, mark in ((output, _OF_PAGE), (beside, _OF_NUMBERS)):
        check_file(path, "`--output`")
        if path.is_file() and mark not in path.read_bytes():
            raise UsageError(f"`--output` must name no file but that of an earlier report, got {path}")
    title = settings.title or "; ".join(dict.fromkeys(map(run_title, runs)))
    titles, first = run_titles(runs), 1 if len(runs) > 1 else 0
    sections = [
        section_html(each, target, number, name)
        for number, (each, target, name) in enumerate(zip(runs, targets, titles, strict=True), first)
    ]
    contents = _contents(runs, targets, titles)
    content = page(title, "\n".join([f"<h1>{escape(title)}</h1>", *contents, *sections])).encode()
    numbers = _numbers(title, runs, targets, titles)
    write_whole(output, lambda file: file.write(content))
    write_whole(beside, lambda file: file.write(numbers))
    for each, target in zip(runs, targets, strict=True):
        print(f"verdict  {verdict(each, target)}")
        if asked is not None and target != asked:
            print(
                f"note     images of {each.folder} ended by '{each.until}', which decides no share of another network"
            )
    print(f"numbers  {beside}")
    print(f"report   {output}")


def targets_of(runs: Sequence[Run], asked: Target | None) -> list[Target]:
    """What each run is judged by: the target that was asked for, else its own.

    A run whose images ended early decides no share of another network; beside one that does it is judged by its own.
    """
    if asked is None:
        return [each.own_target for each in runs]
    can = [asked.of is None or each.until is None for each in runs]
    return [asked if one or not any(can) else each.own_target for each, one in zip(runs, can, strict=True)]


def run_folders(given: Sequence[str]) -> list[Path]:
    """The folders of runs that are meant: each given one, or those directly in it.

    Raises:
        UsageError: There is none, or one comes twice.
    """
    if not given:
        raise UsageError("asim report needs folders of runs, as in asim report runs/quickstart, got none")
    found: list[Path] = []
    for folder in map(Path, given):
        found += [folder / name for name in run_names(folder)] or [folder]  # reading refuses one that is no run
    real = [os.path.realpath(folder) for folder in found]
    twice = next((folder for folder, path in zip(found, real, strict=True) if real.count(path) > 1), None)
    if twice is not None:
        raise UsageError(f"each run must be given once, got {twice} twice")
    return found


def check_one_network(runs: Sequence[Run]) -> None:
    """Refuse runs whose accuracies are of different networks, as a reader would compare them.

    Raises:
        UsageError: Weights or networks differ.
    """
    first, *others = runs
    for other in others:
        if _network(other) != _network(first):
            raise UsageError(
                f"runs of a report must be of one network, got {_network(first)} in {first.folder} and "
                f"{_network(other)} in {other.folder}"
            )


def _network(run: Run) -> str:
    name = run.settings.get("model", {}).get("backbone", {}).get("name", "a network")
    return f"{name} with weights {str(run.settings.get('weights', 'unknown'))[:12]}"


def _default_output(given: Sequence[str]) -> Path:
    shared = Path(given[0] if len(given) == 1 else os.path.commonpath([os.path.abspath(folder) for folder in given]))
    if shared.is_absolute() and shared.is_relative_to(Path.cwd()):
        shared = shared.relative_to(Path.cwd())
    return shared / "report.html"


def _numbers(title: str, runs: Sequence[Run], targets: Sequence[Target], titles: Sequence[str]) -> bytes:
    """All numbers of the page as JSON: of each run its verdict, and rows by the name of their CSV, the head first."""
    found = [
        {"title": name, "folder": str(each.folder), "verdict": verdict(each, target), **section_numbers(each, target)}
        for each, target, name in zip(runs, targets, titles, strict=True)
    ]
    return json.dumps({"title": title, "runs": found}, indent=1, default=str).encode() + b"\n"


def _contents(runs: Sequence[Run], targets: Sequence[Target], titles: Sequence[str]) -> list[str]:
    """Verdicts of several runs, each with a link to its section."""
    if len(runs) == 1:
        return []
    lines = [
        f'<li><a href="#run-{number}">{escape(name)}</a><br>{escape(verdict(each, target))}</li>'
        for number, (each, target, name) in enumerate(zip(runs, targets, titles, strict=True), 1)
    ]
    return ["<ol>", *lines, "</ol>"]
