"""Finished trials survive a kill, and nothing half-written is believed."""

import csv
import json
import math
import os
import time
from pathlib import Path

import numpy as np
import pytest

from asim_lightning.evaluation.interval import accuracy_interval
from asim_lightning.evaluation.record import SweepRecord
from asim_lightning.evaluation.results import Outcomes
from asim_lightning.evaluation.settings_file import sweep_folder
from asim_lightning.evaluation.whole_file import write_whole

FINGERPRINT = {"checkpoint": "3f2a", "seed": 0, "macro": {"rows": 255, "adc_bits": None}}
COLUMNS = ("random_noise", "adc_bits")
RESULT_COLUMNS = ("kind", "trials", "images", "accuracy", "low", "high", "seconds", "algorithm", "point", "right")
POINT = {"random_noise": 0.1, "adc_bits": 8}
LABELS = np.arange(120) % 10


def predictions(trial: int, wrong: int = 20) -> np.ndarray:
    chosen = np.random.default_rng(trial).choice(120, wrong, replace=False)
    answers = LABELS.copy()
    answers[chosen] = (answers[chosen] + 1) % 10
    return answers


def store(record: SweepRecord, axes, trial: int, kind="simulated", **changes) -> None:
    found = {"sample_index": np.arange(120), "label": LABELS, "prediction": predictions(max(trial, 0)), **changes}
    outcomes = Outcomes(**found, seconds=1.5, algorithm="exact" if trial == 0 else "events")
    record.store(axes, kind, trial, outcomes)


@pytest.fixture
def folder(tmp_path) -> Path:
    return sweep_folder(tmp_path, FINGERPRINT)


@pytest.fixture
def record(folder) -> SweepRecord:
    return SweepRecord(folder, FINGERPRINT, COLUMNS)


def reopen(folder: Path) -> SweepRecord:
    return SweepRecord(folder, FINGERPRINT, COLUMNS)


def rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "results.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_finished_point(record, folder):
    for trial in range(3):
        store(record, POINT, trial)
    result = record.finish(POINT, "simulated", 3)
    correct = np.stack([predictions(trial) == LABELS for trial in range(3)], axis=1)
    interval = accuracy_interval(correct)
    assert (result.accuracy, result.low, result.high) == (interval.mean, interval.low, interval.high)
    assert (result.trials, result.images, result.seconds, result.algorithm) == (3, 120, 4.5, "exact+events")
    assert record.results() == (result,)
    (row,) = rows(folder)
    assert list(row) == [*COLUMNS, *RESULT_COLUMNS]
    assert (row["random_noise"], row["adc_bits"], row["kind"], row["trials"]) == ("0.1", "8", "simulated", "3")
    assert result.right == (100, 100, 100)
    assert row["right"] == "100 100 100"
    assert float(row["accuracy"]) == pytest.approx(result.accuracy, abs=1e-6)


def test_reopening_yields_all_that_was_finished(record, folder):
    store(record, {}, 0, kind="float")
    first = record.finish({}, "float", 1)
    for axes in ({"random_noise": 0, "adc_bits": None}, POINT):
        store(record, axes, 0)
    second = record.finish({"random_noise": 0, "adc_bits": None}, "simulated", 1)

    again = reopen(folder)
    assert again.results() == (first, second)
    assert again.trials(POINT, "simulated") == (0,)
    assert again.trials(POINT, "quantized") == ()
    np.testing.assert_array_equal(again.outcomes(POINT, "simulated", 0).prediction, predictions(0))
    # A point that is finished later keeps the rows of the earlier ones.
    again.finish(POINT, "simulated", 1)
    assert [(row["random_noise"], row["adc_bits"]) for row in rows(folder)] == [("", ""), ("0", "null"), ("0.1", "8")]


def many(record: SweepRecord, count: int) -> None:
    """Points that compute the same, so that they share a trial."""
    for bits in range(count):
        axes = {**POINT, "adc_bits": bits}
        if not record.trials(axes, "simulated"):
            store(record, axes, 0)
        record.finish(axes, "simulated", 1)


def test_the_time_that_results_take_grows_with_the_points_and_not_with_their_square(tmp_path, monkeypatch):
    record, sizes = SweepRecord(tmp_path, FINGERPRINT, COLUMNS, lambda axes, kind: kind), []

    def slow(path: Path, write) -> None:
        if path.name == "results.csv":
            sizes.append(len(record.results()))
            time.sleep(0.01)
        write_whole(path, write)

    monkeypatch.setattr("asim_lightning.evaluation.record.write_whole", slow)
    start = time.monotonic()
    many(record, 400)
    assert sizes[:100] == [*range(1, 101)]  # each at once, as a sweep of few points is looked at
    assert len(sizes) <= 101 + (time.monotonic() - start) / 0.2
    record.write_results()
    assert sizes[-1] == 400
    assert len(rows(tmp_path)) == 400
    written = len(sizes)
    record.write_results()  # nothing is left to write
    assert len(sizes) == written


def test_what_was_finished_after_the_last_write_comes_back_from_the_trials(tmp_path, monkeypatch):
    monkeypatch.setattr("asim_lightning.evaluation.record._PAUSE", math.inf)
    record = SweepRecord(tmp_path, FINGERPRINT, COLUMNS, lambda axes, kind: kind)
    many(record, 150)
    assert len(rows(tmp_path)) == 100
    again = SweepRecord(tmp_path, FINGERPRINT, COLUMNS, lambda axes, kind: kind)  # as after a kill
    many(again, 150)
    again.write_results()
    assert again.results() == record.results()
    assert len(rows(tmp_path)) == 150


def test_a_point_whose_trial_is_stored_again_is_computed_again(record, folder):
    store(record, POINT, 0)
    record.finish(POINT, "simulated", 1)
    again = reopen(folder)
    store(again, POINT, 0, prediction=LABELS)
    assert again.finish(POINT, "simulated", 1).accuracy == 1


def test_numbers_that_are_equal_are_one_point(record):
    store(record, {"random_noise": 0.0, "adc_bits": np.int64(8)}, 0)
    assert record.trials({"adc_bits": 8.0, "random_noise": 0}, "simulated") == (0,)
    assert record.trials({"adc_bits": "8", "random_noise": 0}, "simulated") == ()
    assert record.trials({"adc_bits": 8, "random_noise": False}, "simulated") == ()


def test_trials_can_be_added_later(record, folder):
    store(record, POINT, 0)
    record.finish(POINT, "simulated", 1)
    again = reopen(folder)
    store(again, POINT, 1)
    assert again.finish(POINT, "simulated", 2).trials == 2
    assert [row["trials"] for row in rows(folder)] == ["2"]


def test_a_result_of_another_process_brings_its_trials(record, folder):
    here = reopen(folder)  # before the other has written anything
    for trial in range(2):
        store(record, POINT, trial)
    here.add(record.finish(POINT, "simulated", 2))
    assert here.trials(POINT, "simulated") == (0, 1)
    for trial in range(2):
        found, written = (each.outcomes(POINT, "simulated", trial) for each in (here, record))
        assert found.prediction.tolist() == written.prediction.tolist()


@pytest.mark.parametrize("keep", [0, 1, 100, -200, -1])
def test_truncated_trial_is_computed_again(record, folder, keep):
    for trial in range(2):
        store(record, POINT, trial)
    result = record.finish(POINT, "simulated", 2)
    path = sorted((folder / "trials").glob("*.npz"))[1]
    path.write_bytes(path.read_bytes()[:keep])

    again = reopen(folder)
    assert again.trials(POINT, "simulated") == (0,)
    assert again.results() == ()
    store(again, POINT, 1)
    assert again.finish(POINT, "simulated", 2) == result


def test_pickles_and_strangers_are_ignored(record, folder):
    store(record, POINT, 0)
    trials = folder / "trials"
    np.savez(trials / "0123456789ab-00000.npz", header=np.array([{"axes": {}}], dtype=object))
    (trials / "notes.npz").write_text("hello")
    (trials / "x.npz.17.partial").write_text("half")
    (path,) = set(trials.glob("*-00000.npz")) - {trials / "0123456789ab-00000.npz"}
    path.with_name(path.name.replace("00000", "00001")).write_bytes(path.read_bytes())  # trial 0 under another name
    assert reopen(folder).trials(POINT, "simulated") == (0,)


def test_trials_of_another_fingerprint_are_ignored(record, folder, tmp_path):
    other = SweepRecord(tmp_path / "other", {"seed": 1}, COLUMNS)
    store(other, POINT, 0)
    store(record, {"random_noise": 0}, 0)
    for path in (tmp_path / "other" / "trials").glob("*.npz"):
        path.rename(folder / "trials" / path.name)
    again = reopen(folder)
    assert again.trials(POINT, "simulated") == ()
    (note,) = again.notes
    assert note == f"{folder / 'trials' / path.name} is of another version, network, data or name, and not used here"


@pytest.mark.parametrize("name", ["settings.json", "results.csv"])
@pytest.mark.parametrize("content", [b"", b'{"check', b"\xff\xfe\x00", None])
def test_damaged_tables_cost_no_trial(record, folder, name, content):
    store(record, POINT, 0)
    result = record.finish(POINT, "simulated", 1)
    path = folder / name
    path.unlink() if content is None else path.write_bytes(content)
    again = reopen(folder)
    assert again.trials(POINT, "simulated") == (0,)
    said = {"settings.json": f"{path} was torn or edited after it was written, and is written anew",
            "results.csv": f"{path} is torn, edited or of points that are others now at line 1, and is written anew "
            "from the trials, as far as it is asked for"}  # fmt: skip
    assert again.notes == ([] if content is None else [said[name]])
    assert again.finish(POINT, "simulated", 1) == result
    assert json.loads((folder / "settings.json").read_text()) == FINGERPRINT
    assert len(rows(folder)) == 1
    assert reopen(folder).notes == []


@pytest.mark.parametrize(
    ("change", "line"),
    [
        (lambda text: text[:-40], "line 3, "),  # in the middle of the last line
        (lambda text: text[:-1], "line 3, "),
        (lambda text: text.replace("0.833333", "0.933333"), "line 2 and 1 more, "),
        (lambda text: text.replace(",simulated,1,120,", ",simulated,1,12,", 1), "line 2, "),
        (lambda text: text.replace("0.1,8,", "0.2,8,"), "line 2, "),
        (lambda text: text.replace("right", "left"), "line 1 and 2 more, "),
    ],
    ids=["torn", "torn end", "accuracy", "images", "axis", "column"],
)
def test_a_torn_or_edited_row_is_said_and_comes_from_the_trials(record, folder, change, line):
    for axes in (POINT, {"random_noise": 0, "adc_bits": 8}):
        store(record, axes, 0)
        record.finish(axes, "simulated", 1)
    path, before = folder / "results.csv", rows(folder)
    text = path.read_text()
    path.write_text(change(text))
    assert path.read_text() != text
    again = reopen(folder)
    (note,) = again.notes
    assert f"{path} is torn, edited or of points that are others now at {line}" in note
    for axes in (POINT, {"random_noise": 0, "adc_bits": 8}):
        again.finish(axes, "simulated", 1)
    again.write_results()
    assert sorted(rows(folder), key=str) == sorted(before, key=str)
    assert reopen(folder).notes == []


def test_a_changed_trial_is_computed_again_and_said(record, folder):
    store(record, POINT, 0)
    (path,) = (folder / "trials").glob("*.npz")
    with np.load(path) as archive:
        arrays = dict(archive)
    for change in ({"prediction": LABELS}, {"header": np.array(str(arrays["header"]).replace("1.5", "0.5"))}):
        np.savez(path, **{**arrays, **change})
        again = reopen(folder)
        assert again.trials(POINT, "simulated") == ()
        (note,) = again.notes
        assert note == f"{path} was changed or damaged after it was written, and is computed again where it is needed"
    store(again, POINT, 0)
    assert reopen(folder).notes == []
    for name in ("x.npz", "y.npz"):
        (folder / "trials" / name).write_text("")
    (note,) = reopen(folder).notes
    assert "x.npz and 1 more were changed or damaged after they were written" in note


def test_nothing_is_reused_where_it_must_not(record, folder):
    store(record, POINT, 0)
    record.finish(POINT, "simulated", 1)
    again = SweepRecord(folder, FINGERPRINT, COLUMNS, reuse=False)
    assert again.trials(POINT, "simulated") == ()
    assert again.results() == ()


def test_a_row_whose_point_is_another_now_is_left_out(record, folder):
    content = {"version": 1}

    def open_again():
        return SweepRecord(folder, FINGERPRINT, COLUMNS, lambda axes, kind: {**content, **axes})

    first = open_again()
    store(first, POINT, 0)
    store(first, {"random_noise": 1}, 0)
    for axes in (POINT, {"random_noise": 1}):
        first.finish(axes, "simulated", 1)
    assert len(open_again().results()) == 2
    content["version"] = 2
    assert open_again().results() == ()


class Killed(BaseException):
    """Stands for the end of the process: no handler of the package catches it."""


@pytest.mark.parametrize(
    ("renames", "trials", "results"),
    [(0, [0, 0], 0), (1, [0, 0], 0), (2, [1, 0], 0), (3, [2, 0], 0), (4, [2, 0], 1), (5, [2, 1], 1), (6, [2, 2], 1)],
)
def test_killed_while_writing(tmp_path, monkeypatch, renames, trials, results):
    """A process that dies halfway through any of its files leaves a record of the whole ones."""
    left, replace = [renames], os.replace

    def dying(source, target):
        if left[0] == 0:
            os.truncate(source, os.path.getsize(source) // 2)
            raise Killed
        left[0] -= 1
        replace(source, target)

    monkeypatch.setattr(os, "replace", dying)
    points = [{"random_noise": 0}, {"random_noise": 1}]
    with pytest.raises(Killed):
        sweep(SweepRecord(tmp_path, FINGERPRINT, COLUMNS), points)
    monkeypatch.undo()

    again = reopen(tmp_path)
    assert [len(again.trials(point, "simulated")) for point in points] == trials
    assert len(again.results()) == results
    sweep(again, points)
    assert [result.trials for result in reopen(tmp_path).results()] == [2, 2]


def sweep(record, points):
    for point in points:
        for trial in {0, 1} - set(record.trials(point, "simulated")):
            store(record, point, trial)
        record.finish(point, "simulated", 2)


def test_nothing_half_written_stays(record, folder):
    store(record, POINT, 0)
    record.finish(POINT, "simulated", 1)
    assert not [name for _, _, names in os.walk(folder) for name in names if name.endswith(".partial")]


def test_images_come_in_any_order_and_repeated_ones_count_once(record):
    store(record, POINT, 0)
    order = np.concatenate([np.random.default_rng(5).permutation(120), [3, 7]])  # as a distributed sampler fills up
    store(record, POINT, 1, sample_index=order, label=LABELS[order], prediction=predictions(1)[order])
    outcomes = record.outcomes(POINT, "simulated", 1)
    np.testing.assert_array_equal(outcomes.sample_index, np.arange(120))
    np.testing.assert_array_equal(outcomes.prediction, predictions(1))
    assert record.finish(POINT, "simulated", 2).images == 120


def test_refuses(record, folder):
    with pytest.raises(ValueError, match=r"settings\.json differs"):
        SweepRecord(folder, {"seed": 1}, COLUMNS)
    with pytest.raises(ValueError, match=r"differ from each other and from kind.*got kind"):
        SweepRecord(folder, FINGERPRINT, ["kind"])
    with pytest.raises(ValueError, match="among random_noise, adc_bits, got votes"):
        store(record, {"votes": 3}, 0)
    with pytest.raises(ValueError, match="one of float, quantized, simulated, got 'exact'"):
        store(record, POINT, 0, kind="exact")
    with pytest.raises(ValueError, match="`trial` must be 0 or more, got -1"):
        store(record, POINT, -1)
    with pytest.raises(ValueError, match="one length, got 120, 120 and 3"):
        store(record, POINT, 0, prediction=np.arange(3))
    with pytest.raises(ValueError, match=r"`prediction` must hold integers .* got float64 \(120,\)"):
        store(record, POINT, 0, prediction=np.zeros(120))
    with pytest.raises(ValueError, match=r"trial 0 of simulated at random_noise 0.1, adc_bits 8 is not in"):
        record.finish(POINT, "simulated", 1)
    with pytest.raises(ValueError, match="`trials` must be at least 1, got 0"):
        record.finish(POINT, "simulated", 0)
    store(record, POINT, 0)
    store(record, POINT, 1, sample_index=np.arange(1, 121))
    with pytest.raises(ValueError, match="must see the same images"):
        record.finish(POINT, "simulated", 2)
