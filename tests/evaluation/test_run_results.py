"""Folders of finished runs, read back: what they hold, and what is refused."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from asim_lightning.evaluation.chip_yield import chip_yield
from asim_lightning.evaluation.command_record import CommandRecord, called_again, read_commands
from asim_lightning.evaluation.record import SweepRecord
from asim_lightning.evaluation.results import AxisValue, Kind, Outcomes
from asim_lightning.evaluation.run_results import read_run
from asim_lightning.evaluation.targets import Decision
from asim_lightning.report.yield_table import write_yields

IMAGES = 200


def outcomes(right: int) -> Outcomes:
    answers = (np.arange(IMAGES) >= right).astype(int)
    return Outcomes(np.arange(IMAGES), np.zeros(IMAGES, dtype=int), answers, 1.0, "exact")


def add(record: SweepRecord, axes: dict[str, AxisValue], right: int, kind: Kind = "simulated") -> None:
    record.store(axes, kind, 0, outcomes(right))
    record.finish(axes, kind, 1)


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run of three ADCs, with energies, differences and a command."""
    record = SweepRecord(tmp_path / "sweep-1", {"weights": "a", "axes": ["adc_bits"]}, ["adc_bits"])
    add(record, {}, 180, "quantized")
    for bits, right in ((6, 100), (7, 170), (8, 180)):
        add(record, {"adc_bits": bits}, right)
    file = record.folder / "results.csv"
    head, *rows = file.read_text().splitlines()
    file.write_text("\n".join([f"{head},energy_uj", *(f"{row},{n or ''}" for n, row in enumerate(rows))]) + "\n")
    (record.folder / "differences.csv").write_text(
        "adc_bits,trials,images,difference,low,high\n6,1,200,-0.400000,-0.5,-0.3\n7,2,200,-0.05,-0.08,-0.02\n"
    )
    CommandRecord("asim sweep -c mine", "mine", {"trials": (2, 1)}, started="2026-01-02").ended(3.5).write(
        record.folder
    )
    return record.folder


def test_points_have_their_axes_other_numbers_and_differences(run: Path) -> None:
    found = read_run(run)
    assert (found.axes, found.costs) == (["adc_bits"], ["energy_uj"])
    assert [(dict(each.result.axes), each.result.right, dict(each.costs)) for each in found.points] == [
        ({}, (180,), {}),
        ({"adc_bits": 6}, (100,), {"energy_uj": 1.0}),
        ({"adc_bits": 7}, (170,), {"energy_uj": 2.0}),
        ({"adc_bits": 8}, (180,), {"energy_uj": 3.0}),
    ]
    first, second = (each.difference for each in found.of_kind("simulated")[:2])
    assert first is not None
    assert (first.mean, first.low, first.high) == (-0.4, -0.5, -0.3)
    assert second is None  # of two trials, where the point has one
    assert found.settings["weights"] == "a"
    (command,) = found.commands
    assert (command.command, command.differences, command.seconds) == ("asim sweep -c mine", {"trials": (2, 1)}, 3.5)


def test_decisions_and_the_images_that_there_are(run: Path) -> None:
    cells = ["", "kept", "undecided (over 2,000 images)", "undecided (1,600 images)"]
    file = run / "results.csv"
    head, *rows = file.read_text().splitlines()
    lines = [f"{head},accuracy 90 %", *(f'{row},"{cell}"' for row, cell in zip(rows, cells, strict=True))]
    file.write_text("\n".join(lines) + "\n")
    decisions = [each.decisions["accuracy 90 %"] for each in read_run(run).of_kind("simulated")]
    assert decisions == [Decision("kept"), Decision("undecided", 2000, True), Decision("undecided", 1600)]
    assert read_run(run).images == IMAGES
    CommandRecord("asim sweep -c mine", images=2000).write(run)
    assert read_run(run).images == 2000


def test_a_command_that_is_called_again_keeps_its_time(run: Path) -> None:
    said: list[str] = []
    again = called_again(CommandRecord("asim sweep -c mine", started="2026-01-03"), run, said.append)
    assert said == []
    assert (again.calls, again.ended(1.5).seconds) == (2, 5.0)
    CommandRecord("asim search -c mine", started="2026-01-01").write(run)
    assert [each.command for each in read_commands(run)] == ["asim search -c mine", "asim sweep -c mine"]


def of_chips(folder: Path) -> Path:
    record = SweepRecord(folder, {"weights": "a"}, ["rows", "chip"])
    rights = {64: (180, 150, 160), 255: (100, 120, 110)}
    found = []
    for rows, each in rights.items():
        for chip, right in enumerate(each):
            add(record, {"rows": rows, "chip": chip}, right)
        found.append(chip_yield({"rows": rows}, {chip: [outcomes(right)] for chip, right in enumerate(each)}))
    write_yields(found, [0.8, 0.5], record.folder / "yield.csv")
    return record.folder


def test_yields_are_those_of_the_sweep(tmp_path: Path) -> None:
    found = read_run(of_chips(tmp_path / "y"))
    assert found.thresholds == (0.5, 0.8)
    assert [(dict(each.axes), each.right.tolist(), each.images) for each in found.yields] == [
        ({"rows": 64}, [[180], [150], [160]], 200),
        ({"rows": 255}, [[100], [120], [110]], 200),
    ]
    assert [each.good(0.8) for each in found.yields] == [2, 0]
    assert found.yields[0].mean.mean == pytest.approx(490 / 600, abs=1e-6)


Change = Callable[[Path], object]


def rewritten(name: str, before: str, after: str) -> Change:
    def change(folder: Path) -> None:
        text = (folder / name).read_text()
        assert before in text
        (folder / name).write_text(text.replace(before, after, 1))

    return change


WRONG: dict[str, tuple[Change, str]] = {
    "cut in a row": (
        lambda f: (f / "results.csv").write_bytes((f / "results.csv").read_bytes()[:-30]),
        "torn at line 5",
    ),
    "cut at the end": (
        lambda f: (f / "results.csv").write_bytes((f / "results.csv").read_bytes()[:-1]),
        "torn at its end",
    ),
    "an edited accuracy": (rewritten("results.csv", "0.850000", "0.860000"), "changed at line 4: accuracy 0.86 is not"),
    "an accuracy of words": (rewritten("results.csv", "0.850000", "good"), "changed at line 4: could not convert"),
    "another kind": (rewritten("results.csv", "simulated", "measured"), "the kind of a point must be one of float"),
    "bytes": (lambda f: (f / "results.csv").write_bytes(b"\xff\xfe\x00"), "must be a CSV file"),
    "nothing": (lambda f: (f / "results.csv").write_bytes(b""), "must be a CSV file"),
    "no point": (
        lambda f: (f / "results.csv").write_text((f / "results.csv").read_text().splitlines()[0] + "\n"),
        "must hold one point or more",
    ),
    "other columns": (lambda f: (f / "results.csv").write_text("a,b\n1,2\n"), "lacks kind, trials"),
    "a column twice": (rewritten("results.csv", "adc_bits", "kind"), "must name each column once"),
    "other settings": (lambda f: (f / "settings.json").write_text("[1]"), "must hold a mapping, got a list"),
    "torn layers": (lambda f: (f / "layers.json").write_text("{"), "layers.json must be a JSON file"),
    "other layers": (
        lambda f: (f / "layers.json").write_text('{"designs": [{"axes": {}}]}'),
        "layers.json must hold axes and layers of designs, and was changed",
    ),
    "torn settings": (lambda f: (f / "settings.json").write_text("{"), "settings.json must be a JSON file"),
    "torn differences": (rewritten("differences.csv", "-0.3\n", "\n"), "differences.csv was changed at line 2"),
    "differences that fall": (rewritten("differences.csv", "-0.3\n", "-0.6\n"), "low, difference and high must rise"),
    "a torn command": (lambda f: next((f / "commands").iterdir()).write_text("{"), "must be the record of a command"),
}


@pytest.mark.parametrize(("change", "message"), WRONG.values(), ids=WRONG)
def test_what_is_torn_or_edited_is_refused(change: Change, message: str, run: Path) -> None:
    change(run)
    with pytest.raises(ValueError, match=message) as caught:
        read_run(run)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        ("64,0.8,2,3", "64,0.8,1,3", "differ in the good chips of line 2"),
        ("64,0.8,2,3", "64,0.8,2,4", "counts 4 chips"),
    ],
)
def test_yields_that_the_points_do_not_have(before: str, after: str, message: str, tmp_path: Path) -> None:
    folder = of_chips(tmp_path / "y")
    rewritten("yield.csv", before, after)(folder)
    with pytest.raises(ValueError, match=message):
        read_run(folder)


def test_what_is_no_folder_of_a_run(run: Path, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"a run must be a folder .*, got none at"):
        read_run(tmp_path / "nowhere")
    with pytest.raises(FileNotFoundError, match="got a file at"):
        read_run(run / "results.csv")
    with pytest.raises(FileNotFoundError, match=r"There is no results\.csv of a sweep at"):
        read_run(tmp_path)
