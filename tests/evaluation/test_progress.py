"""The progress bar: drawn on a terminal, and not into a file or a pipe."""

import io
import sys

import pytest

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
    bar.close()
    assert ("/6 [" in stream.getvalue()) is (is_terminal and shown)
    assert is_terminal or stream.getvalue() == ""
