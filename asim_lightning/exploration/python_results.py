"""The results of a study in Python: a sequence that prints, draws and writes reports."""

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes

from asim_lightning.evaluation.run import Run
from asim_lightning.exploration.publish import plot_axis
from asim_lightning.report.accuracy import accuracy_picture
from asim_lightning.report.draw import figure_of
from asim_lightning.report.picture import WIDTH
from asim_lightning.report.results_table import results_table
from asim_lightning.report.run_section import report_of, run_title
from asim_lightning.report.trade_off import trade_off_picture
from asim_lightning.report.yields import yield_picture
from asim_lightning.whole_file import write_whole


@dataclass(frozen=True, repr=False)
class Results(Run):
    """The results of a study or search: float, quantised, then one result for each point, with its chips in `chips`.

    Examples:
        >>> import torch
        >>> from asim_lightning import Plan, study
        >>> network, data = torch.nn.Sequential(torch.nn.Linear(4, 2)), (torch.rand(8, 4), torch.arange(8) % 2)
        >>> results = study(network, data, axes={"adc_bits": [6, 8]}, plan=Plan())  # print(results) is a table
        >>> [result.kind for result in results]
        ['float', 'quantized', 'simulated', 'simulated']
        >>> [(point.axes, point.images) for point in results.points]
        [({'adc_bits': 6}, 8), ({'adc_bits': 8}, 8)]
    """

    text: str = ""
    """The printed text of the command."""

    @classmethod
    def of(cls, run: Run, text: str) -> "Results":
        """The results of a run, with the printed text of its command."""
        return cls(**{each.name: getattr(run, each.name) for each in fields(Run)}, text=text)

    def __str__(self) -> str:
        return self.text

    __repr__ = __str__

    def _repr_html_(self) -> str:
        """The results as a table in a notebook."""
        return results_table(self.rows)._repr_html_()

    def frame(self) -> Any:
        """The results as a pandas DataFrame, a row each as in results.csv; needs pandas."""
        import pandas  # type: ignore[import-untyped]

        names, means = ("samples", "trials", "seconds", "algorithm"), ("value", "low", "high")
        return pandas.DataFrame(
            {
                **each.axes, "kind": each.kind, **dict(zip(means, each.plain, strict=True)),
                **{name: getattr(each, name) for name in names}, **each.figures,
                **{name: str(decision) for name, decision in each.decisions.items()},
            }
            for each in self.rows
        )  # fmt: skip

    def plot(self, axis: str | None = None, width: float = WIDTH) -> Axes:
        """The results as a picture: yields over accuracy, a trade-off, or accuracy along an axis.

        Args:
            axis: Name of the axis; None: a search's trade-off, the yield of chips, else the first axis that varies.
            width: Width in inches, such as 3.5 for a column of a page of two columns.
        Returns:
            matplotlib's axes; `.figure` shows and saves the picture.
        """
        drawn = None
        if axis is None and self.yields:
            drawn = yield_picture(self.yields, thresholds=self.thresholds)
        elif axis is None and "search" in self.settings:
            drawn = trade_off_picture(self, run_title(self))
        drawn = drawn or accuracy_picture(self.rows, axis or plot_axis(self.rows))
        return figure_of(drawn.in_words(self[0].measure.words), width=width).axes[0]

    def report(self, path: str | Path) -> Path:
        """Write the results as one offline HTML page; needs plotly."""
        path = Path(path)
        content, _ = report_of([(self, self.own_target)])
        write_whole(path, lambda file: file.write(content.encode()))
        return path
