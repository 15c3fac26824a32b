"""A figure as data: `draw` draws it with matplotlib, and `plotly_figure` for a page."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from math import isfinite
from pathlib import Path
from typing import Literal, TypeAlias, TypeVar

from asim_lightning.table import Rows

Item = TypeVar("Item")
Marker: TypeAlias = Literal["", "none", "full", "open", "cross", "ring", "star", "tick"]
"""The marker of a point."""
Label: TypeAlias = tuple[float, float, str]
"""A text at a point: x, y, text."""
Format: TypeAlias = Literal["png", "pdf", "svg"]
"""Format of a file, given by its suffix."""
WIDTH = 7.2
"""Usual width of a figure, inches: a page of two columns."""
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#7A4B00", "#5B5B5B")
"""Colours for colour-blind readers (Okabe and Ito, with a brown instead of their yellow), darkest first."""
BLACK, GREY = "#1a1a1a", "#737373"
MOST_CURVES = len(COLOURS)
"""Most curves of one figure that can be told apart."""
_DECADES = 30.0
"""Least ratio of the largest to the smallest positive number for a logarithmic axis."""
_CROWDED = 0.2
"""If half of the numbers are within this share of a linear axis, a logarithmic axis is drawn."""
_MOST_TICKS = 12


@dataclass(frozen=True)
class Paper:
    """Pictures of a command."""

    format: Format = "png"
    """Format of pictures: png, pdf or svg."""
    width: float = WIDTH
    """Width of pictures in inches, such as 3.5 for a column of a page of two columns."""

    def path(self, folder: Path, name: str) -> Path:
        """The file of a picture."""
        return folder / f"{name}.{self.format}"


@dataclass(frozen=True)
class Axis:
    """An axis of a figure, by its label with the unit."""

    label: str
    scale: Literal["linear", "log", "symlog", "names"] = "linear"
    """names: values stand in order at 0, 1, 2, ...; symlog: logarithmic, with 0."""
    names: Sequence[str] = ()
    """Texts of the values of a `names` axis."""
    ticks: Sequence[float] = ()
    """Numbers that get a tick; empty: the library chooses."""
    ends: tuple[float, float] | None = None
    """Smallest and largest number on the axis; None: the library chooses."""
    least: float = 1.0
    """Smallest positive number of a symlog axis; it is linear below."""
    above: tuple[str, float] | None = None
    """Label of a second axis along the top, and how many of its units are one unit of this axis."""


@dataclass(frozen=True)
class Series:
    """Points that belong together; their name is the entry in the legend, empty: no entry."""

    name: str
    x: Sequence[float]
    """Not a number at a gap of a line."""
    y: Sequence[float]
    low: Sequence[float] = ()
    """Lower ends of intervals along y; empty: there are none."""
    high: Sequence[float] = ()
    left: Sequence[float] = ()
    """Lower ends of intervals along x; empty: there are none."""
    right: Sequence[float] = ()
    form: Literal["line", "points", "step", "bar"] = "points"
    """step: y is constant from the previous x to its x, with the interval as a band; bar: horizontal, stacked on bars
    with the same y."""
    style: int = 0
    """Number of its colour, marker and dashes; the next three fields replace them."""
    colour: str = ""
    marker: Marker = ""
    dashes: int | None = None
    is_pale: bool = False
    """Whether it is drawn in the background."""
    texts: Sequence[str] = ()
    """Text for each point, shown under the pointer."""

    @property
    def shown_colour(self) -> str:
        """Its colour."""
        return self.colour or COLOURS[self.style % len(COLOURS)]


@dataclass(frozen=True)
class Mark:
    """A line across the figure, at a number on one of its axes."""

    along: Literal["x", "y"]
    at: float
    name: str = ""
    """Its entry in the legend; empty: no entry."""
    dashes: int = 1
    colour: str = GREY


@dataclass(frozen=True)
class Grid:
    """A heat map over two `names` axes."""

    values: Sequence[Sequence[float]]
    """Numbers; not a number for an empty cell. # (rows, columns)"""
    texts: Sequence[Sequence[str]]
    """The text of each cell; one with a second line is bold. # (rows, columns)"""
    label: str
    ends: tuple[float, float]
    """Numbers of the first and the last colour."""


@dataclass(frozen=True)
class Picture:
    """A figure: a headline, two axes, and its content from back to front."""

    title: str
    x: Axis
    y: Axis
    series: Sequence[Series] = ()
    marks: Sequence[Mark] = ()
    grid: Grid | None = None
    """A heat map instead of series."""
    labels: Sequence[Label] = ()
    note: str = ""
    """How to read it."""
    numbers: Rows = field(default_factory=list)
    """Table of the drawn numbers; its head has the names of columns."""
    file: str = ""
    """Name of the CSV of its numbers; the picture's file has the same stem."""

    def in_words(self, words: Callable[[str], str]) -> "Picture":
        """The picture with other words in headline, labels of axes and note."""
        x, y = (replace(axis, label=words(axis.label)) for axis in (self.x, self.y))
        return replace(self, title=words(self.title), x=x, y=y, note=words(self.note))

    @property
    def has_bars(self) -> bool:
        """Whether it has bars, so values are along x."""
        return any(each.form == "bar" for each in self.series)

    @property
    def is_strip(self) -> bool:
        """Whether it has one row of points."""
        return len(self.y.names) == 1 and not self.has_bars and self.grid is None

    @property
    def entries(self) -> int:
        """Entries of its legend."""
        return sum(map(bool, [each.name for each in self.series] + [each.name for each in self.marks]))


def drawn_of(found: Sequence[Item], what: str) -> tuple[list[Item], str]:
    """The curves to draw: if there are more than `MOST_CURVES`, some of them, from the first to the last. And a note,
    such as "8 of 12 lines are drawn"; empty if all are drawn."""
    if len(found) <= MOST_CURVES:
        return list(found), ""
    some = [found[round(place * (len(found) - 1) / (MOST_CURVES - 1))] for place in range(MOST_CURVES)]
    return some, f"{MOST_CURVES} of {len(found)} {what} are drawn"


def number_axis(label: str, numbers: Sequence[float], above: tuple[str, float] | None = None) -> Axis:
    """An axis of some numbers: linear, unless they span decades and most would overlap."""
    rising = sorted(set(numbers))
    positive = [number for number in rising if number > 0]
    spans_decades = len(positive) > 2 and rising[0] >= 0 and positive[-1] >= _DECADES * positive[0]
    if spans_decades and rising[len(rising) // 2] - rising[0] < _CROWDED * (rising[-1] - rising[0]):
        scale: Literal["log", "symlog"] = "log" if len(positive) == len(rising) else "symlog"
        return Axis(f"{label}, log scale", scale, least=positive[0], above=above)
    whole = len(rising) <= _MOST_TICKS and all(isfinite(each) and float(each).is_integer() for each in rising)
    return Axis(label, ticks=rising if whole else (), above=above)
