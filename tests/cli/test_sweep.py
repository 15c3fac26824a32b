"""`asim sweep`: chips, targets that end the work, and the store of an earlier run."""

import contextlib
import sqlite3
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import DAMAGED, Asim, Run, Write, main_in, stored_trials, sweep_of

CELLS = ("--model.plan.macro.column", "current", "--model.plan.macro.column_args.cell_sigma", "20")
QUIET = ("--progress", "false")
STORE = Path("runs/tiny/runs.sqlite")


def test_chips_give_a_yield(asim: Asim, written: Write) -> None:
    path = written(chips=3, trials=2, thresholds=[50, 5], data__init_args__test_images=8)
    sweep = ("sweep", "-c", path, *CELLS, "--model.plan.macro.random_noise", "0.5", *QUIET)
    answer = asim(*sweep)
    assert answer.code == 0, answer.err
    assert any(line.startswith("grid     3 points, up to 8 trials") for line in answer.out.splitlines())
    assert "good chips" in answer.out
    (folder,) = Path("runs/tiny").glob("sweep-*")
    assert {"yield.csv", "yield.png", "results.csv"} <= {path.name for path in folder.iterdir()}
    assert len((folder / "yield.csv").read_text().splitlines()) == 1 + 2
    assert "record   all 8 trials are of an earlier run" in asim(*sweep).out


def test_a_target_ends_the_chips(asim: Asim, written: Write) -> None:
    answer = asim("sweep", "-c", written(), *CELLS, "--until", "yield 0.99 at 100 %", "--chips", "30", *QUIET)
    assert "fewer if the target of the yield is answered before" in answer.out
    assert ": no, at most 0." in answer.out
    assert answer.out.count("\nsimulated") == 2  # of 30


def test_a_target_ends_the_images(asim: Asim, written: Write) -> None:
    noise = ("--axes.random_noise", "[0, 0.1]", "--trials", "1", *QUIET)
    answer = asim("sweep", "-c", written(), *noise, "--data.init_args.test_images", "60", "--until", "accuracy 95 %")
    assert answer.code == 0, answer.err
    assert "fewer if the target of the accuracy is answered before" in answer.out
    assert "Images ended by 'accuracy 95 %'" in answer.out


def test_tiles_of_shared_macros_are_placed_at_each_point(asim: Asim, written: Write) -> None:
    static = {"offset": "3 lsb", "placement": "reuse", "macros": 5, "columns": 32}
    path = written(model__fidelity="simulated", model__plan__macro__static=static, data__init_args__test_images=4)
    grid = ("--axes.static.macros", "[1, 5]", "--axes.random_noise", "[0.1]", "--trials", "1", *QUIET)
    answer = asim("sweep", "-c", path, *grid)
    assert answer.code == 0, answer.err
    assert "native" in answer.out


# the store


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory, run: Run) -> Path:
    """A finished sweep, computed with the modules that are loaded now: those of other tests count as a user's code."""
    folder = tmp_path_factory.mktemp("swept")
    main_in(folder, *sweep_of(run))
    return folder


def test_exports_are_written_whole_and_never_read_back(sweep: Path, asim: Asim, run: Run) -> None:
    names = ("results.csv", "settings.json", "cost.json")
    before = {name: (sweep / name).read_text() for name in names}
    (sweep / "results.csv").write_text(before["results.csv"].replace("0.", "1.")[:-30])
    (sweep / "settings.json").unlink()
    (sweep / "cost.json").write_text("{")
    answer = asim(*sweep_of(run))
    assert "record   all 4 trials are of an earlier run, seconds too; nothing is computed" in answer.out
    assert {name: (sweep / name).read_text() for name in names} == before


def test_fresh_computes_every_trial_anew(sweep: Path, asim: Asim, run: Run) -> None:
    before, rows = stored_trials(), (sweep / "results.csv").read_text().count("\n")
    answer = asim(*sweep_of(run), "--fresh")
    assert "of an earlier run" not in answer.out
    after = stored_trials()
    assert before.keys() == after.keys()
    assert not before.items() & after.items()  # each took other seconds
    assert (sweep / "results.csv").read_text().count("\n") == rows


def with_a_damaged_trial(content: bytes) -> bytes:
    place = content.rindex(b"\x78\x9c") + 8  # within what zlib has packed
    return content[:place] + bytes([content[place] ^ 0xFF]) + content[place + 1 :]


@pytest.mark.parametrize(
    ("damage", "why"),
    [(lambda content: DAMAGED, "file is not a database"), (with_a_damaged_trial, "Error -3 while decompressing data")],
    ids=["no store", "a trial"],
)
def test_a_damaged_store_is_set_aside(damage: Any, why: str, sweep: Path, asim: Asim, run: Run) -> None:
    STORE.write_bytes(damage(STORE.read_bytes()))
    aside = STORE.with_name("runs.sqlite.damaged")
    error = asim(*sweep_of(run)).error
    assert error.startswith(f"{STORE} was damaged ({why}")
    assert error.endswith(f") and is now {aside}; run the command again to start anew")
    assert asim(*sweep_of(run)).code == 0
    assert len(stored_trials()) == 4
    assert aside.is_file()


def test_a_store_that_cannot_be_written_keeps_its_trials(
    sweep: Path, asim: Asim, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    connect, before = sqlite3.connect, stored_trials()

    def limited(*arguments: Any, **named: Any) -> sqlite3.Connection:
        connection = connect(*arguments, **named)
        connection.execute("PRAGMA max_page_count = 1")
        return connection

    monkeypatch.setattr(sqlite3, "connect", limited)
    assert asim(*sweep_of(run), "--fresh").error == f"{STORE} cannot be written: database or disk is full"
    assert stored_trials() == before


def test_trials_of_other_versions_are_said(sweep: Path, asim: Asim, run: Run) -> None:
    with contextlib.closing(sqlite3.connect(STORE)) as store, store:
        changed = "UPDATE documents SET run = 'sweep-00000000', content = replace(content, ?, ?)"
        store.execute(changed, (f'"torch": "{version("torch")}"', '"torch": "1.0"'))
    said = "sweep-00000000 is the same sweep by another torch, whose trials are not used"
    assert said in asim(*sweep_of(run)).out
    (STORE.parent / "records-0123" / "trials").mkdir(parents=True)
    said = "trials of an earlier version in runs/tiny/records-* are not read; delete them to free space"
    assert said in asim(*sweep_of(run)).out
