"""What the records of a network know of a trial, what they compute, and what a point's result is made of."""

from typing import Any

import numpy as np
import pytest
from lightning.pytorch import Callback

from asim_lightning.evaluation.interval import difference_interval
from asim_lightning.evaluation.results import Outcomes
from asim_lightning.evaluation.run import SETTINGS
from asim_lightning.evaluation.target import Target
from asim_lightning.exploration.runner import Evaluation, proceed
from asim_lightning.exploration.sweep import Sweep
from tests.exploration.conftest import IMAGES, Make, rows

AXES = {"random_noise": 0.3}


def outcomes(index: np.ndarray, right: Any) -> Outcomes:
    return Outcomes(index, np.broadcast_to(np.float32(right), index.shape), 1.0, "made up")


def computed(sweep: Sweep, right: float = 1.0) -> list[int]:
    """Images that a trial asks for; all are answered alike."""
    asked: list[int] = []
    steps = sweep.records.trial(AXES, "simulated", 0)
    found = proceed(steps, None)
    while isinstance(found, Evaluation):
        index = sweep.data.test_indices().numpy()[slice(None) if found.places is None else list(found.places)]  # type: ignore[attr-defined]
        asked += index.tolist()
        found = proceed(steps, outcomes(np.sort(index), right))
    return asked


def test_a_trial_with_a_target_goes_on_where_it_ended(make: Make) -> None:
    options: dict[str, Any] = {"trials": 1, "images": 120}
    easy, hard = Target("accuracy", 0.5), Target("accuracy", 0.9)
    parts = [computed(make(**options, **until)) for until in ({"until": easy}, {"until": hard}, {})]
    assert all(parts)
    assert sum(map(len, parts)) == len({image for part in parts for image in part}) == 120  # none is asked for twice
    for until in (easy, hard):  # images after its end change no answer
        known, alone = make(**options, until=until), make(**options, until=until, folder="b")
        assert computed(known) == []
        computed(alone)
        mine, its = (each.records.outcomes(AXES, "simulated", 0).sample_index.tolist() for each in (known, alone))
        assert mine == its


def test_fresh_computes_anew_and_replaces_its_images(make: Make) -> None:
    computed(make())
    fresh = make(fresh=True, images=6)
    key = fresh.records.key(AXES, "simulated")
    assert fresh.records.finished([key], "simulated") == set()
    assert len(computed(fresh, right=0.0)) == 6
    assert fresh.records.finished([key], "simulated") == {(key, 0)}
    assert computed(fresh) == []  # which it has computed itself
    assert make(fresh=True, images=6).records.outcomes(AXES, "simulated", 0).value.sum() == 0  # as of a forked process
    assert computed(make()) == []  # other images of the trial stay
    assert make().records.outcomes(AXES, "simulated", 0).value.sum() == IMAGES - 6


def test_what_has_no_fingerprint_is_never_found_again(make: Make) -> None:
    scope: dict[str, Any] = {"__name__": "typed_in", "Callback": Callback}
    exec("class Lost(Callback):\n    def setup(self, *arguments, **options): pass", scope)
    first, again = (make(trainer_options={"callbacks": [scope["Lost"]()]}) for _ in range(2))
    assert "no outcome of an earlier run is used, as this has no fingerprint: trainer.callbacks.Lost" in first.notes[0]
    for sweep in (first, again):
        key = sweep.records.key(AXES, "simulated")
        assert sweep.records.known(key, "simulated", 0) is None
        assert len(computed(sweep)) == IMAGES
        assert sweep.records.known(key, "simulated", 0) is not None


def test_a_difference_is_of_the_images_that_both_have(make: Make) -> None:
    generator, records = np.random.default_rng(0), make().records
    reference = generator.random(300) < 0.9
    reads = [generator.random(200) < 0.7 for _ in range(2)]
    result = records.result(
        AXES,
        "simulated",
        [[outcomes(np.arange(100, 300), read) for read in reads]],
        outcomes(np.arange(300), reference),
    )
    assert result.difference == difference_interval(np.stack(reads, axis=1), reference[100:, None])
    records.keep(result)
    (row,) = rows(records.folder)
    assert float(row["difference"]) == pytest.approx(result.difference.mean, abs=1e-6)
    assert float(row["difference_low"]) < float(row["difference"]) < float(row["difference_high"]) < 0


def test_runs_of_other_versions_are_named(make: Make) -> None:
    records = make().records
    versions = {**records.settings["versions"], "torch": "0.1"}
    records.store.write("sweep-00000000", SETTINGS, {**records.settings, "versions": versions})
    assert make().notes == ["sweep-00000000 is the same sweep by another torch, whose trials are not used"]
    (records.folder.parent / "records-1" / "trials").mkdir(parents=True)
    assert "trials of an earlier version in" in make().notes[0]
