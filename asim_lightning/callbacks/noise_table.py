"""The file of a noise sweep while training: a line an epoch and level."""

import csv
from collections.abc import Sequence
from pathlib import Path

from asim_lightning.callbacks.noise_levels import NoiseLevel
from asim_lightning.evaluation.results import Result
from asim_lightning.evaluation.whole_file import write_lines, write_whole
from asim_lightning.text_table import csv_text

FIELDS = (
    "epoch", "step", "level", "percent", "lsb", "accuracy", "low", "high", "images", "trials", "seconds"
)  # fmt: skip


def append_rows(path: Path, epoch: int, step: int, levels: Sequence[NoiseLevel], results: Sequence[Result]) -> None:
    """Append the results of one sweep; the file is made where absent."""
    before = path.read_bytes() if path.exists() else b""
    lines: list[Sequence[object]] = [] if before else [FIELDS]
    for level, row in zip(levels, results, strict=True):
        shares = (f"{share:.6f}" for share in (row.accuracy, row.low, row.high))
        lsb = ("" if value is None else f"{value:.6g}" for value in (level.percent, level.lsb))
        lines.append([epoch, step, level.value, *lsb, *shares, row.images, row.trials, f"{row.seconds:.3f}"])
    write_whole(path, lambda file: file.write(before + csv_text(lines).encode()))


def forget_rows_after(path: Path, step: int) -> None:
    """Take out what a run wrote after the step that it is resumed from, else that part would be there twice."""
    if not path.exists():
        return
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    kept = [row for row in rows if (row.get("step") or "").isdigit() and int(row["step"]) <= step]
    if not kept:
        path.unlink()
        return
    write_lines(path, [FIELDS, *([row.get(name) for name in FIELDS] for row in kept)])
