"""A progress bar over all evaluations of a command, with the time left."""

import sys
from collections.abc import Callable
from typing import Any

from lightning.fabric.utilities.data import sized_len
from tqdm import tqdm


class EvaluationBar:
    """A bar over the batches of several evaluations, which goes when they are done.

    Args:
        evaluations: Number of evaluations.
        loader: The batches of each; where it has no length, no time left is shown.
        shown: Whether the bar is shown, where standard error is a terminal: in a file or a pipe it would be noise.
        processes: Processes among which the images of each are shared out; the batches of one are counted.
    """

    def __init__(self, evaluations: int, loader: Any, shown: bool, processes: int = 1) -> None:
        batches = sized_len(loader)
        self._batches = None if batches is None else -(-batches // processes)
        self._bar = tqdm(
            total=None if self._batches is None else evaluations * self._batches,
            disable=not (shown and sys.stderr.isatty()),
            unit="batch",
            dynamic_ncols=True,
            leave=False,
        )

    def advance(self) -> None:
        """Count a batch."""
        self._bar.update()

    def leave_out(self) -> None:
        """Take an evaluation out of the total, as another command has done it."""
        if self._batches is not None:
            self._bar.total -= self._batches
            self._bar.refresh()

    def describe(self, evaluation: str) -> None:
        """Name the evaluation that begins."""
        self._bar.set_description(evaluation, refresh=False)

    def above(self, say: Callable[[str], None]) -> Callable[[str], None]:
        """What says a line as `say` does, which the bar makes room for."""

        def said(line: str) -> None:
            self._bar.clear()
            say(line)

        return said

    def close(self) -> None:
        """End the bar."""
        self._bar.close()
