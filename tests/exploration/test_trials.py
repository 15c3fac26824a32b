"""Which trials of a network are known, what is computed, and what the folder of a run keeps."""

import math
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch

from asim_lightning.evaluation.interval import difference_interval
from asim_lightning.evaluation.results import Outcomes
from asim_lightning.exploration.publish import publish
from asim_lightning.exploration.runner import Evaluation, Trial, proceed
from asim_lightning.exploration.trials import Trials
from tests.exploration.conftest import (
    IMAGES,
    MACRO,
    CountingSweep,
    Make,
    grid,
    made_up,
    predictions,
    rows,
    without_time,
)

AXES = {"random_noise": 0.3}


def trial_of(sweep: CountingSweep) -> Trial:
    (trial,) = sweep.trials.of(AXES, "simulated")
    return trial


def outcomes(index: np.ndarray, right: Any) -> Outcomes:
    return Outcomes(index, np.broadcast_to(np.float32(right), index.shape), 1.0, "made up")


def computed(sweep: CountingSweep, right: float = 1.0, of: Trials | None = None) -> list[int]:
    """Images that a trial asks for, of all or other images; all are answered alike."""
    asked: list[int] = []
    steps = Trials.steps(of or sweep.trials, trial_of(sweep))
    found = proceed(steps, None)
    while isinstance(found, Evaluation):
        index = sweep.work.data.test_indices().numpy()[slice(None) if found.places is None else list(found.places)]  # type: ignore[attr-defined]
        asked += index.tolist()
        found = proceed(steps, outcomes(np.sort(index), right))
    return asked


def test_a_trial_with_a_target_goes_on_where_it_ended(make: Make) -> None:
    options: dict[str, Any] = {"trials": 1, "images": 120}
    easy, hard = {"until": "accuracy 50 %"}, {"until": "accuracy 90 %"}
    parts = [computed(make(**options, settings=until)) for until in (easy, hard, {})]
    assert all(parts)
    assert sum(map(len, parts)) == len({image for part in parts for image in part}) == 120  # none is asked for twice
    for until in (easy, hard):  # images after its end change no answer
        known, alone = make(**options, settings=until), make(**options, settings=until, folder="b")
        assert computed(known) == []
        computed(alone)
        mine, its = (each.trials.outcomes(trial_of(each)).sample_index.tolist() for each in (known, alone))
        assert mine == its


def test_fresh_computes_anew_and_replaces_its_images(make: Make) -> None:
    computed(make())
    fresh = make(fresh=True, images=6)
    trial = trial_of(fresh)
    assert fresh.trials.finished([trial]) == set()
    assert len(computed(fresh, right=0.0)) == 6
    assert fresh.trials.finished([trial]) == {trial}
    assert computed(fresh) == []  # which it has computed itself
    assert make(fresh=True, images=6).trials.outcomes(trial).value.sum() == 0  # as of a forked process
    assert computed(make()) == []  # other images of the trial stay
    assert make().trials.outcomes(trial).value.sum() == IMAGES - 6


def test_a_share_of_the_images_is_a_part_of_all(make: Make) -> None:
    computed(make(images=120), right=0.0)
    fresh = make(images=120, fresh=True)
    trials, trial = fresh.trials, trial_of(fresh)
    part, least, whole = (trials.on(trials.images.part(share)) for share in (0.75, 0.1, 1.0))
    assert (len(least.images.needed), whole) == (50, trials)  # type: ignore[arg-type]
    first = computed(fresh, of=part)
    assert len(first) == 90
    assert (part.finished([trial]), trials.finished([trial])) == ({trial}, set())  # the rest is of an earlier command
    rest = computed(fresh)
    assert sorted(first + rest) == sorted(trials.images.needed)  # type: ignore[arg-type]
    assert trials.outcomes(trial).value.sum() == 120


def test_of_two_commands_at_once_the_store_keeps_the_first(make: Make) -> None:
    one, other = make(), make()
    steps = [each.trials.steps(trial_of(each)) for each in (one, other)]
    assert all(isinstance(proceed(each, None), Evaluation) for each in steps)
    index = np.sort(one.work.data.test_indices().numpy())  # type: ignore[attr-defined]
    mine, theirs = (proceed(each, outcomes(index, right)) for each, right in zip(steps, (1.0, 0.0), strict=True))
    assert (mine.value.mean(), theirs.value.mean()) == (1.0, 0.0)  # as if they had computed different answers
    assert make().trials.outcomes(trial_of(one)).value.mean() == 1.0


def test_a_network_that_draws_is_never_found_again_and_a_changed_one_is_told(make: Make) -> None:
    first, again = (make(hook=lambda y: y + torch.rand(1)) for _ in range(2))
    assert "the float network gives other answers at a second call" in first.notes[0]
    for sweep in (first, again):
        trial = trial_of(sweep)
        assert sweep.trials.finished([trial]) == set()
        assert len(computed(sweep)) == IMAGES
        assert sweep.trials.finished([trial]) == {trial}
    one, other, same = (make(hook=partial(torch.add, other=torch.eye(10)[n])) for n in (1, 2, 2))
    assert one.notes == same.notes == ()
    assert "an object, file or variable that it uses has changed" in other.notes[0]
    assert trial_of(one) != trial_of(other) == trial_of(same)


def test_a_difference_is_of_the_images_that_both_have(make: Make) -> None:
    generator, study = np.random.default_rng(0), make(images=400, trials=2).study
    reference = generator.random(300) < 0.9
    reads = [generator.random(200) < 0.7 for _ in range(2)]
    quantized = outcomes(np.arange(300), reference)
    result = study.result(
        study.planned(AXES)[0], [[outcomes(np.arange(100, 300), read) for read in reads]],
        {"quantized": (made_up({}), quantized)},
    )  # fmt: skip
    assert result.difference == difference_interval(np.stack(reads, axis=1), reference[100:, None], True)
    study.folder.keep(result)
    (row,) = rows(study.folder.path)
    assert float(row["difference"]) == pytest.approx(result.difference.mean, abs=1e-6)
    assert float(row["difference_low"]) < float(row["difference"]) < float(row["difference_high"]) < 0


def test_points_that_compute_the_same_are_computed_once_and_all_have_rows(make: Make) -> None:
    axes = grid(vote_levels=[0, 1], votes=[1, 3], vote=["mode", "median"], random_noise=[0.5])
    sweep = make(axes)
    results = sweep.run()
    assert len(results) == 2 + 8
    assert sweep.evaluations == 2 + 2 * 3  # no votes, 3 votes by mode, 3 votes by median
    unvoted = [r for r in results[2:] if r.axes["vote_levels"] == 0 or r.axes["votes"] == 1]
    assert len({r.right for r in unvoted}) == 1
    again = make(axes)
    assert without_time(again.run()) == without_time(results)
    assert again.evaluations == 0
    assert len(rows(sweep.folder)) == 10


def test_what_an_axis_decides_does_not_change_the_folder(make: Make) -> None:
    first = make()
    first.run()
    second = make(macro=MACRO.with_fields(random_noise=2.0))
    second.run()
    assert first.folder == second.folder
    assert second.evaluations == 0
    wide, narrow = (make(grid(weight_bits=[4]), macro=MACRO.with_fields(weight_bits=bits)) for bits in (8, 4))
    assert wide.folder == narrow.folder


def test_a_smaller_sweep_keeps_what_the_folder_has(make: Make) -> None:
    large = make(grid(random_noise=[0.3, 1.0, 2.0]), trials=3)
    ran = large.run()
    before = rows(large.folder)
    publish(ran, large.made, "tiny")
    picture = (large.folder / "accuracy_vs_random_noise.png").read_bytes()
    small = make(grid(random_noise=[1.0]), trials=1)
    results = small.run()
    assert [r.trials for r in results] == [1, 1, 1]
    said = publish(results, small.made, "tiny")
    assert rows(small.folder) == before
    assert (large.folder / "accuracy_vs_random_noise.png").read_bytes() == picture
    assert len([line for line in said.splitlines() if line.startswith("simulated")]) == 1


def test_more_trials_keep_the_finished_ones(make: Make) -> None:
    make(trials=1).run()
    more = make(trials=3)
    assert [r.trials for r in more.run()] == [1, 1, 3, 3]
    assert more.evaluations == 4
    fewer = make(trials=2)
    assert [r.trials for r in fewer.run()] == [1, 1, 2, 2]
    assert fewer.evaluations == 0
    whole = make(trials=3, folder="b")
    assert without_time(whole.run()) == without_time(make(trials=3).run())


@pytest.mark.parametrize(
    "other",
    [
        {"noise_seed": 1},
        {"macro": MACRO.with_fields(rows=64)},
        {"trainer_options": {"limit_test_batches": 1}},
        {"axes": grid(adc_bits=[8])},
    ],
    ids=str,
)
def test_what_changes_the_outcome_has_a_folder_of_its_own(other: dict[str, Any], make: Make) -> None:
    assert make(**other).folder != make().folder == make(fidelity="float", trials=5).folder


def test_more_images_compute_only_the_new_ones(make: Make) -> None:
    few = make(images=6)
    few.run()
    more = make(images=8)
    found = more.run()
    assert [len(each.places or ()) for each in more.asked] == [2] * 6
    whole = make(images=8, folder="b")
    assert without_time(found) == without_time(whole.run())
    assert predictions(more) == predictions(whole)
    again = make(images=6)
    assert without_time(again.run()) == without_time(make(images=6, folder="c").run())
    assert again.evaluations == 0


def test_a_stop_leaves_all_finished_points_in_the_results(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("asim_lightning.exploration.run_folder._PAUSE", math.inf)  # one export before that of the end
    stopped = make()
    stopped.stops_at = 5
    with pytest.raises(SystemExit):  # Lightning's after Ctrl-C
        stopped.run()
    assert [row["kind"] for row in rows(stopped.folder)] == ["float", "quantized", "simulated"]


def test_results_of_another_program_are_left_out(make: Make) -> None:
    for result in ({}, [1]):
        folder = make().study.folder
        folder.store.keep_point(folder.path.name, "a", 1, result)  # type: ignore[arg-type]
        with pytest.warns(UserWarning, match=r"runs.sqlite was damaged .*, 1 row is lost"):
            assert folder.results() == ()
    assert make().study.folder.results() == ()
