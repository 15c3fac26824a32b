"""The progress bar: drawn on a terminal alone, counts the batches of one process, and makes room for lines."""

import io
import sys

import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset

from asim_lightning.evaluation.progress import EvaluationBar


class Stream(io.StringIO):
    def __init__(self, is_terminal: bool) -> None:
        super().__init__()
        self.is_terminal = is_terminal

    def isatty(self) -> bool:
        return self.is_terminal


@pytest.mark.parametrize(("is_terminal", "shown"), [(True, True), (False, True), (True, False)])
def test_the_bar_is_drawn_on_a_terminal_alone(is_terminal: bool, shown: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    stream = Stream(is_terminal)
    monkeypatch.setattr(sys, "stderr", stream)
    bar = EvaluationBar(2, [1, 2, 3], shown)
    bar.describe("a point")
    bar.advance()
    bar.leave_out()
    bar.close()
    assert ("/3 [" in stream.getvalue()) is (is_terminal and shown)
    assert ("/6 [" in stream.getvalue()) is (is_terminal and shown)
    assert is_terminal or stream.getvalue() == ""


@pytest.mark.parametrize(("processes", "total"), [(1, 10), (2, 6), (3, 4), (10, 2)])
def test_processes_share_the_batches_of_an_evaluation(
    processes: int, total: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    loader = DataLoader(TensorDataset(torch.zeros(9)), batch_size=2)  # of 9, 5, 3 and 1 images: 5, 3, 2 and 1 batches
    stream = Stream(is_terminal=True)
    monkeypatch.setattr(sys, "stderr", stream)
    bar = EvaluationBar(2, loader, True, processes)
    bar.above(print)("a line")
    bar.close()
    assert f"0/{total} " in stream.getvalue()
    assert capsys.readouterr().out == "a line\n"
