"""One evaluator: what Lightning's test finds, condition by condition, in a run of its own and within a fit."""

import io
import sys
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from itertools import product
from typing import Any

import numpy as np
import pytest
import torch
from lightning.pytorch import Callback, LightningDataModule, Trainer
from torch.utils.data import DataLoader, TensorDataset

from asim_lightning.evaluation.condition import Condition
from asim_lightning.evaluation.evaluate import (
    EvaluationBar,
    evaluate_each,
    run_evaluations,
)
from asim_lightning.evaluation.results import Outcomes, stacked
from asim_lightning.surgery import macro_layers
from tests.classifier.conftest import make_data, make_model

NOISY = Condition(macro={"random_noise": 1.0, "rows": 64}, trial=3)


def make_trainer(**options: Any) -> Trainer:
    quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
    return Trainer(accelerator="cpu", enable_model_summary=False, **quiet, **options)


def outcomes_of(condition: Condition, split: Any = "test", model: Any = None, **options: Any) -> Outcomes:
    return run_evaluations(
        make_trainer(**options), model or make_model(), make_data(), lambda evaluate: evaluate(condition, None), split
    )


@pytest.mark.parametrize("split", ["val", "test"])
def test_outcomes_are_those_of_lightnings_own_loop(split: Any) -> None:
    found = outcomes_of(NOISY, split)
    plan = make_model().plan
    plan = replace(plan, macro=plan.macro.with_fields(**NOISY.macro))
    model = make_model(plan=plan, fidelity="simulated", trial=3)
    trainer = make_trainer()
    (metrics,) = (trainer.test if split == "test" else trainer.validate)(model, datamodule=make_data(), verbose=False)
    assert found.numbers.mean() == pytest.approx(metrics[f"{split}/acc"], abs=1e-6)
    answers = trainer.predict(model, make_data())
    assert found.prediction.tolist() == torch.cat([each["prediction"] for each in answers]).tolist()  # type: ignore
    assert found.sample_index.tolist() == list(range(25))


def test_the_algorithm_is_what_ran() -> None:
    assert outcomes_of(Condition("float")).algorithm == "torch"
    assert outcomes_of(Condition("quantized")).algorithm == "exact"
    # the head has another macro, whose 64 rows do not fill its converter
    assert outcomes_of(Condition(macro={"random_noise": 0})).algorithm == "exact+native"
    model = make_model()
    for layer in macro_layers(model.backbone).values():
        layer.engine = "reference"
    assert outcomes_of(Condition(), model=model).algorithm == "reference"


def test_limits_count_batches() -> None:
    assert len(outcomes_of(Condition("float"), limit_test_batches=2).sample_index) == 20
    with pytest.raises(ValueError, match="No image was evaluated"):
        outcomes_of(Condition("float"), limit_test_batches=0)


SAME = DataLoader([(torch.zeros(1, 28, 28), 0, 0)] * 3, batch_size=2)  # type: ignore[arg-type,var-annotated]


class Wrong(LightningDataModule):
    """Images that share an index, as of a data set without any, from one loader or several."""

    def __init__(self, *loaders: DataLoader[Any]) -> None:
        super().__init__()
        self.test_dataloader, self.train_dataloader = lambda: list(loaders), lambda: SAME


@pytest.mark.parametrize(
    ("loaders", "said"),
    [([SAME], r"must have a unique index .* got 3 images of index 0"), ([SAME, SAME], "must have one loader .* got 2")],
)
def test_other_loaders_are_refused(loaders: list[Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        run_evaluations(
            make_trainer(), make_model(), Wrong(*loaders), lambda evaluate: evaluate(Condition("float"), None)
        )


def test_only_setup_and_teardown_of_callbacks_are_called() -> None:
    called: list[str] = []

    class Listening(Callback):
        def setup(self, *_: Any, **__: Any) -> None:
            called.append("setup")

        def on_test_start(self, *_: Any) -> None:
            called.append("on_test_start")

        def teardown(self, *_: Any, **__: Any) -> None:
            called.append("teardown")

    outcomes_of(Condition("float"), callbacks=Listening())
    assert called == ["setup", "teardown"]


def test_each_condition_has_its_line_and_reads_and_leaves_the_network_as_it_was() -> None:
    model, said = make_model(trial=7), list[str]()

    def line(name: str, reads: Sequence[Outcomes]) -> str:
        return f"{name} {stacked(reads).shape}"

    conditions = [
        ("noisy", Condition(macro={"random_noise": 1.0}, layers={"fc": "float"})),
        ("real", Condition("float")),
    ]
    noisy, real = evaluate_each(make_trainer(), model, make_data(), conditions, 2, line, said.append)
    assert said == ["noisy (25, 2)", "real (25, 1)"]
    for read in range(2):
        alone = outcomes_of(Condition(macro={"random_noise": 1.0}, layers={"fc": "float"}, trial=7 + read))
        assert np.array_equal(noisy[:, read], alone.numbers)
    assert np.array_equal(real[:, 0], outcomes_of(Condition("float")).numbers)
    assert (model.fidelity, model.trial) == ("quantized", 7)
    assert {layer.fidelity for layer in macro_layers(model.backbone).values()} == {"quantized"}


@pytest.mark.parametrize(("processes", "batches"), [(1, 5), (2, 3), (3, 2), (10, 1)])
def test_the_bar_counts_the_batches_of_a_process_on_a_terminal(
    processes: int, batches: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    loader = DataLoader(TensorDataset(torch.zeros(9)), batch_size=2)
    for is_terminal, shown in product((True, False), (True, False)):
        stream = io.StringIO()
        monkeypatch.setattr(stream, "isatty", partial(bool, is_terminal))
        monkeypatch.setattr(sys, "stderr", stream)
        bar = EvaluationBar(2, loader, shown, processes)
        bar.leave_out(1)
        bar.close()
        drawn = [f" 0/{total} [" in stream.getvalue() for total in (2 * batches, batches)]
        assert drawn == [is_terminal and shown] * 2
