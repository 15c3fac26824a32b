"""Which point a search evaluates next: from a grid, a list, at random, or from Optuna."""

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from importlib.util import find_spec
from typing import Any, Protocol, TypeAlias, TypeVar

import numpy as np

from asim_lightning.evaluation.results import AxisValue, Result, canonical_json
from asim_lightning.exploration.search_space import Range, SearchSpace

_REPEATS = 50
"""A method gives up after this many known proposals in a row, because few new points are left."""
_STARTS = 16
"""Random points before Optuna's sampler learns."""

Point = dict[str, AxisValue]
Worth: TypeAlias = Callable[[Result], tuple[Sequence[float], Mapping[str, float]]]


class Method(Protocol):
    """Proposes points, one after another, and learns from the result of each."""

    def ask(self) -> Point | None:
        """The next point; None if there is no more."""

    def tell(self, result: Result) -> None:
        """Learn the result of the point that was asked last."""


AnyMethod = TypeVar("AnyMethod", bound=Method)


def replayed(method: AnyMethod, results: Iterable[Result]) -> AnyMethod:
    """A new method that has learned all results; needed if the old one worked in forked processes."""
    for each in results:
        if each.kind == "simulated":
            method.ask()
            method.tell(each)
    method.ask()
    return method


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


class Optuna:
    """Optuna's sampler of tree-structured Parzen estimators, in memory.

    It has no state: its seed follows from the search's seed and the number of points. A repeated search therefore
    proposes the same points.

    Args:
        space: The space to search.
        trials: Most points, each counted once.
        seed: Seed of the search.
        objectives: Number of objectives.
        worth: Gives the objectives of a result, less is better, and its distance from each target: 0 or less if it is
            kept.
    """

    def __init__(self, space: SearchSpace, trials: int, seed: int, objectives: int, worth: Worth) -> None:
        if find_spec("optuna") is None:
            raise ValueError("`search.method` optuna needs the package optuna: pip install 'asim_lightning[search]'")
        import optuna

        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self._optuna: Any = optuna
        self._study: Any = optuna.create_study(directions=["minimize"] * objectives)
        self._space, self._trials, self._seed, self._worth = space, trials, seed, worth
        self._known: dict[str, tuple[Sequence[float], Mapping[str, float]]] = {}
        self._asked: Any = None

    def ask(self) -> Point | None:
        """The next new point; None if there are enough, or if random draws give only known ones, too.

        A sampler that is sure of the best points repeats them; then a random point is taken.
        """
        if len(self._known) >= self._trials or len(self._known) == self._space.count():
            return None
        for repeats in range(2 * _REPEATS):
            told = len(self._study.trials)
            seed = int.from_bytes(hashlib.sha256(f"{self._seed} {told}".encode()).digest()[:4], "big")
            samplers = self._optuna.samplers
            learned = repeats < _REPEATS
            self._study.sampler = (
                samplers.TPESampler(seed=seed, n_startup_trials=_STARTS) if learned else samplers.RandomSampler(seed)
            )
            self._asked = self._study.ask()
            point = {name: self._suggested(name, axis) for name, axis in self._space.axes.items()}
            known = self._known.get(canonical_json(point))
            if known is None:
                return point
            self._tell(*known)
        return None

    def tell(self, result: Result) -> None:
        """Learn the result of the last point."""
        self._known[canonical_json(result.axes)] = worth = self._worth(result)
        self._tell(*worth)

    def _tell(self, costs: Sequence[float], excesses: Mapping[str, float]) -> None:
        for name, excess in excesses.items():
            self._asked.set_constraint(name, excess)
        self._study.tell(self._asked, list(costs))

    def _suggested(self, name: str, axis: Sequence[AxisValue] | Range) -> AxisValue:
        trial = self._asked
        if not isinstance(axis, Range):
            ordered = all(isinstance(value, (int, float)) and not isinstance(value, bool) for value in axis)
            if ordered:  # so that the sampler knows that 6 bits lie between 5 and 7
                values = sorted(axis)  # type: ignore[type-var]
                return values[trial.suggest_int(name, 0, len(values) - 1)]  # type: ignore[no-any-return]
            return axis[trial.suggest_categorical(name, list(range(len(axis))))]
        if axis.count is not None:
            return axis.value(trial.suggest_int(name, 0, axis.count - 1))
        if axis.whole:
            return int(trial.suggest_int(name, axis.low, axis.high, log=axis.log))
        return float(f"{trial.suggest_float(name, axis.low, axis.high, log=axis.log):.4g}")


LEARNING: dict[str, Callable[[SearchSpace, int, int, int, Worth], Method]] = {"optuna": Optuna}
"""Methods that learn from each point, by name; called as `Optuna`."""
METHODS = ("grid", "list", "random", *LEARNING)
