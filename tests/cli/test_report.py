"""`asim report`: a file of finished runs, and one line for what is none."""

import contextlib
import json
import sqlite3
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from asim_lightning.cli.report import targets_of
from asim_lightning.evaluation.run import DOCUMENT, MAP, SETTINGS, Run
from asim_lightning.evaluation.store import STORE, Store
from asim_lightning.evaluation.stored_rows import insert
from asim_lightning.evaluation.target import Target
from tests.cli.conftest import Asim
from tests.report.runs import MAPPED, doctor_document, spec_document


def edited(sweep: Path, table: str, edit: Callable[[str], str], run: str | None = None) -> None:
    """Change the JSON of a table, in place or for another run."""
    with contextlib.closing(sqlite3.connect(sweep.parent / STORE)) as store, store:
        for own, *others, text, _ in store.execute(f"SELECT * FROM {table}").fetchall():
            insert(store, table, run or own, *others, edit(text))


def copied(sweep: Path) -> None:
    """Put the sweep into the store a second time, with other weights."""
    edited(sweep, "points", str, "sweep-other")
    edited(sweep, "documents", lambda text: text.replace('"weights": "', '"weights": "f00'), "sweep-other")


def test_one_line_for_what_is_wrong(sweep: Path, asim: Asim) -> None:
    assert "the following arguments are required: runs" in asim("report").error
    Path("empty").mkdir()
    assert "empty holds no run" in asim("report", "empty").error
    assert "must be an HTML file (.html or .htm), got x.pdf" in asim("report", sweep, "--output", "x.pdf").error
    copied(sweep)
    others = sweep, sweep.with_name("sweep-other")
    assert "cannot be in this report: it is of resnet10t with weights" in asim("report", *others).error
    (sweep.parent / STORE).write_bytes(b"This was a store. " * 100)
    damaged = "runs.sqlite is damaged (file is not a database); the command that wrote it keeps the rows"
    assert damaged in asim("report", sweep).error
    assert not list(Path.cwd().rglob("*.html"))


def test_a_folder_leaves_out_runs_that_cannot_be_compared(sweep: Path, asim: Asim) -> None:
    copied(sweep)
    said = asim("report", "runs/tiny").out
    assert "note     runs/tiny/sweep-other is left out: it is of resnet10t with weights" in said
    assert len(json.loads(Path("runs/tiny/report.json").read_text())["runs"]) == 1
    edited(sweep, "points", lambda text: text.replace('"shown_as": "percent"', '"is_share": true'))
    edited(sweep, "points", lambda text: text.replace('"name": "accuracy"', '"name": "score"'), "sweep-other")
    assert "verdict  accuracy 99 %" in asim("report", sweep).out  # as an earlier version wrote it
    assert "it is of score of resnet10t with weights" in asim("report", sweep, sweep.with_name("sweep-other")).error


def test_one_line_for_json_that_no_study_wrote(sweep: Path, asim: Asim) -> None:
    studied(sweep, "doctor-1", [1])
    folder = sweep.with_name("doctor-1")
    assert f"{folder} must hold results as a study writes them" in asim("report", folder).error
    for text in ("[1]", "{}", "null"):
        edited(sweep, "points", lambda _, text=text: text)  # type: ignore[misc]
        assert f"{sweep} must hold results as a study writes them" in asim("report", sweep).error


def test_without_plotly_it_says_what_to_install(sweep: Path, asim: Asim, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("plotly", "plotly.offline", "plotly.io", "plotly.graph_objects"):
        monkeypatch.setitem(sys.modules, name, None)
    assert "plotly, which is not installed: pip install 'asim_lightning[report]'" in asim("report", sweep).error


def test_a_report_of_a_run(sweep: Path, asim: Asim) -> None:
    pytest.importorskip("plotly")
    answer = asim("report", "runs/tiny", "--title", "<mine>")
    assert answer.last == "report   runs/tiny/report.html"
    assert answer.out.startswith("verdict  ")
    assert "99 % of" in answer.out.splitlines()[0]
    text = Path("runs/tiny/report.html").read_text(encoding="utf-8")
    assert "<h1>&lt;mine&gt;</h1>" in text
    assert "asim sweep -c " in text
    assert "--axes.random_noise" in text
    assert asim("report", sweep, "--output", "b.html", "--target", "1 %").last == "report   b.html"
    own, other = (json.loads(Path(name).read_text())["runs"][0] for name in ("runs/tiny/report.json", "b.report.json"))
    assert own["verdict"] != other["verdict"]
    # a page that is named as a file of the run leaves that file
    (sweep / "results.json").write_text("{}")
    assert f"numbers  {sweep}/results.report.json" in asim("report", sweep, "--output", f"{sweep}/results.html").out
    assert (sweep / "results.json").read_text() == "{}"


def test_a_run_whose_images_ended_is_judged_by_its_own_target_beside_others() -> None:
    ended, whole = Run(Path("a"), (), settings={"until": "accuracy 89 %"}), Run(Path("b"), ())
    share, level = (Target.read(text, "`--target`") for text in ("98 % of quantized", "88 %"))
    own = Target("accuracy", 0.89)
    assert targets_of([ended, whole], share) == [own, share]
    assert targets_of([ended], share) == [share]  # which is refused
    assert targets_of([ended, whole], level) == [level, level]
    assert targets_of([ended, whole], None) == [own, Target("share", 0.99, "quantized")]
    studied = Run(Path("spec-1"), (), document={"target": "yield 0.9 at 85 %"})
    assert targets_of([studied, whole], level) == [Target("yield", 0.9, accuracy=0.85), level]


def test_a_spec_and_a_doctor_have_sections_and_targets_of_their_own(sweep: Path, asim: Asim) -> None:
    pytest.importorskip("plotly")
    studied(sweep, "spec-1", spec_document())
    studied(sweep, "doctor-1", doctor_document())
    Store(sweep.parent).write("doctor-1", MAP, MAPPED.to_json())
    answer = asim("report", "runs/tiny", str(sweep))  # which is in the folder, and counts once
    assert answer.last == "report   runs/tiny/report.html"
    found = json.loads(Path("runs/tiny/report.json").read_text())["runs"]
    assert [Path(each["folder"]).name for each in found] == [sweep.name, "spec-1", "doctor-1"]
    verdicts = [line for line in answer.out.splitlines() if line.startswith("verdict  ")]
    assert len({each["title"] for each in found}) == len(verdicts) == 3
    for each, line in zip(found, verdicts, strict=True):
        assert line.startswith(f"verdict  {each['title']}: ")
        assert each["verdict"] in line
    assert asim("report", "runs/tiny", "--target", "50 %").out.count("has its own target") == 2
    wrong = asim("report", "runs/tiny/spec-1", "--target", "50 %").error
    assert "`--target` must be left out for runs/tiny/spec-1" in wrong


def studied(sweep: Path, name: str, document: object) -> None:
    """Store a spec or doctor of the network of a sweep."""
    store = Store(sweep.parent)
    store.write(name, SETTINGS, store.read(sweep.name, SETTINGS))
    store.keep_point(name, "", 1, store.points(sweep.name)[0])
    store.write(name, DOCUMENT, document)
