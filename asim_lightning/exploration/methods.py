"""Which point a search evaluates next: from a grid, a list, at random, or from Optuna."""

import hashlib
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import Any, TypeAlias, TypeVar

import numpy as np

from asim_lightning.evaluation.results import AxisValue, Kind, Result, canonical_json
from asim_lightning.exploration.search_space import Axis, Range, SearchSpace

_REPEATS = 50
"""A method gives up after this many known proposals in a row, because few new points are left."""
_STARTS = 16
"""Random points before Optuna's sampler learns."""

Point = dict[str, AxisValue]
Worth: TypeAlias = Callable[[Result], tuple[Sequence[float], Mapping[str, float]]]


@dataclass(frozen=True)
class Look:
    """A point as a method wants it measured: with a part of the chips and images of the study, or estimated."""

    point: Point
    kind: Kind = "simulated"
    """estimated: on no chip."""
    chips: int | None = None
    """The first so many chips; None: all."""
    images: float = 1.0
    """Share of the images, in random order: above 0."""
    at_corners: Mapping[str, Point] = field(default_factory=dict)
    """Other values of the point's axes at single corners."""


Answer = TypeVar("Answer")
Method: TypeAlias = Generator[Point | Look, Result, Answer]
"""Proposes points, one after another: it yields each, is sent its result, and returns what it has found. A point stands
for a look at all its chips and images. With corners, the result is that of the worst corner, see `worst_result`."""


def no_points() -> Method[None]:
    """A method that proposes nothing, because all points are known from the start."""
    yield from ()


def random_points(space: SearchSpace, count: int, seed: int) -> list[Point]:
    """`count` different random points; fewer if the space has fewer. A larger count begins with the same points."""
    rng, found, repeats = np.random.default_rng(seed), dict[str, Point](), 0
    while len(found) < count and repeats < _REPEATS * count:
        point = space.draw(rng)
        repeats += canonical_json(point) in found
        found.setdefault(canonical_json(point), point)
        if len(found) == space.count():
            break
    return list(found.values())


def optuna_points(space: SearchSpace, trials: int, seed: int, objectives: int, worth: Worth) -> Method[None]:
    """Points of Optuna's sampler of tree-structured Parzen estimators, in memory.

    The sampler has no state: its seed follows from the search's seed and the number of points. A repeated search
    therefore proposes the same points. A sampler that is sure of the best points repeats them; then random points are
    taken. It ends if there are enough points, or if random points are only known ones, too.

    Args:
        space: The space to search.
        trials: Most points, each counted once.
        seed: Seed of the search.
        objectives: Number of objectives.
        worth: Gives the objectives of a result, less is better, and its distance from each target: 0 or less if it is
            kept.
    """
    if find_spec("optuna") is None:
        raise ValueError("`search.method` optuna needs the package optuna: pip install 'asim_lightning[search]'")
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(directions=["minimize"] * objectives)

    def points() -> Method[None]:
        known, repeats = dict[str, tuple[Sequence[float], Mapping[str, float]]](), 0
        while len(known) < trials and len(known) != space.count() and repeats < 2 * _REPEATS:
            own = int.from_bytes(hashlib.sha256(f"{seed} {len(study.trials)}".encode()).digest()[:4], "big")
            samplers, learns = optuna.samplers, repeats < _REPEATS
            study.sampler = (
                samplers.TPESampler(seed=own, n_startup_trials=_STARTS) if learns else samplers.RandomSampler(own)
            )
            trial: Any = study.ask()
            point = {name: _suggested(trial, name, axis) for name, axis in space.axes.items()}
            repeats = repeats + 1 if (key := canonical_json(point)) in known else 0
            if key not in known:
                known[key] = worth((yield point))
            costs, excesses = known[key]
            for target, excess in excesses.items():
                trial.set_constraint(target, excess)
            study.tell(trial, list(costs))

    return points()


def _suggested(trial: Any, name: str, axis: Axis) -> AxisValue:
    """The value that a trial of Optuna's has on an axis."""
    if not isinstance(axis, Range):
        ordered = all(isinstance(value, (int, float)) and not isinstance(value, bool) for value in axis)
        if ordered:  # so that the sampler knows that 6 bits lie between 5 and 7
            values = sorted(axis)  # type: ignore[type-var]
            return values[trial.suggest_int(name, 0, len(values) - 1)]  # type: ignore[no-any-return]
        return axis[trial.suggest_categorical(name, list(range(len(axis))))]
    if axis.whole:
        return int(trial.suggest_int(name, axis.low, axis.high, log=axis.log))
    return float(f"{trial.suggest_float(name, axis.low, axis.high, log=axis.log):.4g}")


LEARNING: dict[str, Callable[[SearchSpace, int, int, int, Worth], Method[None]]] = {"optuna": optuna_points}
"""Methods that learn from each point, by name; called as `optuna_points`."""
METHODS = ("grid", "list", "random", *LEARNING)
