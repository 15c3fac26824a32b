"""A progress bar over all evaluations of a command, with the time left."""

import sys

from tqdm import tqdm


class EvaluationBar:
    """A bar over the batches of several evaluations, which goes when they are done.

    Args:
        batches: Batches of all evaluations together.
        shown: Whether the bar is shown.
    """

    def __init__(self, batches: int, shown: bool) -> None:
        # a log file gets a line now and then
        interval = 0.1 if sys.stderr.isatty() else 30.0
        self._bar = tqdm(
            total=batches, disable=not shown, unit="batch", dynamic_ncols=True, leave=False, mininterval=interval
        )

    def advance(self) -> None:
        """Count a batch."""
        self._bar.update()

    def describe(self, evaluation: str) -> None:
        """Name the evaluation that begins."""
        self._bar.set_description(evaluation, refresh=False)

    def clear(self) -> None:
        """Leave the line to another text."""
        self._bar.clear()

    def close(self) -> None:
        """End the bar."""
        self._bar.close()
