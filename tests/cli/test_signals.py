"""Ctrl-C and a kill end with a short line and the exit code that shells expect."""

import os
import signal
from typing import Any

import pytest

from asim_lightning.classifier import CimClassifier
from asim_lightning.cli.main import Killed, kill_raises
from tests.cli.conftest import Asim, Run, sweep_of

KEPT = "stopped; finished trials are saved; the same command continues\n"
SAVED = "stopped; with --ckpt_path last it continues from the last save, at least each epoch\n"


def test_ctrl_c(asim: Asim, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: Any) -> None:
        os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(CimClassifier, "training_step", interrupt)
    answer = asim("fit", "-c", run.config)
    assert (answer.code, answer.err) == (130, SAVED)


def test_a_stopped_sweep_says_that_it_goes_on(asim: Asim, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is stopped in the last of two batches of the third trial."""
    steps, original, at = [], CimClassifier.outcomes, 6

    def interrupt(self: CimClassifier, batch: Any, batch_number: int) -> Any:
        steps.append(batch_number)
        if len(steps) == at:
            os.kill(os.getpid(), signal.SIGTERM)
        return original(self, batch, batch_number)

    monkeypatch.setattr(CimClassifier, "outcomes", interrupt)
    handler = signal.getsignal(signal.SIGTERM)
    answer = asim(*sweep_of(run))
    assert (answer.code, answer.err) == (143, KEPT)
    assert signal.getsignal(signal.SIGTERM) == handler
    assert len(steps) == at
    assert asim(*sweep_of(run)).code == 0
    assert len(steps) - at == 8 - 4  # the third trial is computed anew


def test_a_kill_raises_at_once_and_a_second_changes_nothing() -> None:
    handler = signal.getsignal(signal.SIGTERM)
    try:
        kill_raises()
        with pytest.raises(Killed) as stop:
            os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGTERM)
    finally:
        signal.signal(signal.SIGTERM, handler)
    assert stop.value.code == 143
