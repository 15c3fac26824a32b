"""A long text is cut into 40 studies: how many 95 % intervals hold the mean of the whole text."""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import pytest
from numpy.typing import NDArray

from asim_lightning import CimClassifier
from asim_lightning.data import Text
from asim_lightning.data.given import groups_of
from asim_lightning.evaluation.condition import Condition
from asim_lightning.evaluation.evaluate import evaluate_each, quiet_trainer
from asim_lightning.evaluation.interval import difference_interval, mean_interval, of_units
from asim_lightning.evaluation.results import Outcomes
from asim_lightning.resources import shipped_file

STUDIES = 40
Losses = NDArray[np.float64]
"""The mean loss of each window of a text, in their order. # (windows,)"""


def studies(windows: int, of_study: int, spread: bool) -> Iterable[NDArray[np.int64]]:
    """The windows of each study: neighbours, or spread over the whole text."""
    step = windows // of_study
    for study in range(STUDIES):
        if spread:
            yield study * step // STUDIES + step * np.arange(of_study)
        else:
            yield study * (windows - of_study) // (STUDIES - 1) + np.arange(of_study)


def coverage(losses: Losses, others: Losses | None, chosen: Iterable[NDArray[np.int64]], stretches: bool) -> float:
    """The share of intervals of the mean loss, or of its difference to others, that hold the mean of all windows."""
    truth, held = float((losses if others is None else losses - others).mean()), []
    for places in chosen:
        groups = np.arange(len(places)) * 8 // len(places) if stretches else None
        values, *reference = (
            of_units(each[places], groups=groups)[:, None] for each in (losses, others) if each is not None
        )
        found = difference_interval(values, *reference, False) if reference else mean_interval(values, False)
        held.append(found.low <= truth <= found.high)
    return float(np.mean(held))


def table(losses: Mapping[str, Losses], sizes: Sequence[int]) -> dict[tuple[str, int], tuple[float, float, float]]:
    """Coverage of neighbours as single windows, of neighbours in eight stretches, and of windows that are spread, by
    what is measured and the windows of a study."""
    found = {}
    for name, each in losses.items():
        others = None if name == "quantized" else losses["quantized"]
        for size in sizes:
            found[name, size] = (
                coverage(each, others, studies(len(each), size, False), False),
                coverage(each, others, studies(len(each), size, False), True),
                coverage(each, others, studies(len(each), size, True), False),
            )
    return found


def test_the_studies_are_those_of_the_data() -> None:
    neighbours = Text("pydoc_data.topics:topics", "bytes", window=128, test_windows=32, spread=False)
    found = groups_of(neighbours.test_dataloader())
    assert found is not None
    assert found.tolist() == (np.arange(32) * 8 // 32).tolist()
    apart = Text("pydoc_data.topics:topics", "bytes", window=128, test_windows=32)
    assert groups_of(apart.test_dataloader()) is None
    ends = [each[[0, -1]].tolist() for each in studies(3520, 32, True)]
    assert (ends[0], ends[-1], len(ends)) == ([0, 3410], [107, 3517], STUDIES)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_intervals_of_a_text_hold_its_perplexity_and_its_changes() -> None:
    model = CimClassifier.load_from_checkpoint(shipped_file("checkpoints", "small_gpt_qat"), map_location="cpu")
    data = Text("pydoc_data.topics:topics", "bytes", window=128, test_windows=3520, eval_batch_size=32, spread=False)
    noises = {name: Condition("simulated", macro={"random_noise": name}) for name in ("0.1 lsb", "0.15 lsb")}
    losses = dict[str, Losses]()

    def line(name: str, reads: Sequence[Outcomes]) -> str:
        losses[name] = reads[0].value.astype(np.float64)
        return name

    conditions = {"quantized": Condition("quantized"), **noises}
    evaluate_each(quiet_trainer(accelerator="cpu"), model, data, list(conditions.items()), 1, line, print)
    found = table(losses, (32, 64, 88))
    for (name, size), (single, stretches, spread) in found.items():
        print(f"{name}, {size} windows: {single:.3f} {stretches:.3f} {spread:.3f}")
        assert spread >= 0.87  # 40 studies tell 3.4 points
        if name == "quantized":
            assert single < 0.5 < 0.65 < stretches
        else:
            assert stretches >= 0.85
