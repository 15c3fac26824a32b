"""Which point a search evaluates next: a grid, a list, at random, or as Optuna proposes."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from importlib.util import find_spec
from typing import Any, Protocol

import numpy as np

from asim_lightning.evaluation.results import AxisValue, canonical_json
from asim_lightning.exploration.search_space import Range, SearchSpace

_REPEATS = 50
"""Proposals of known points in a row after which a method gives up: the space has no more, or few."""
_STARTS = 16
"""Points at random before Optuna's sampler learns from them."""

Point = dict[str, AxisValue]


class Method(Protocol):
    """Proposes points, one after another, and is told what each was worth."""

    @property
    def known(self) -> Sequence[Point] | None:
        """All its points, if they depend on no outcome; then it is never asked."""

    def ask(self) -> Point | None:
        """The next point; None where there is no more."""

    def tell(self, point: Point, costs: Sequence[float], excesses: Mapping[str, float]) -> None:
        """Learn what the point that was asked last is worth.

        Args:
            point: The point.
            costs: Its objectives; less is better.
            excesses: How far it is from keeping each target; 0 or less where it keeps it.
        """


class Listed:
    """Points that are known before.

    Args:
        points: The points.
    """

    def __init__(self, points: Sequence[Point]) -> None:
        self.known: Sequence[Point] = points

    def ask(self) -> Point | None:
        """No point: all are known."""
        return None

    def tell(self, point: Point, costs: Sequence[float], excesses: Mapping[str, float]) -> None:
        """Learns nothing."""


def random_points(space: SearchSpace, count: int, seed: int) -> list[Point]:
    """Points at random, each once; fewer where the space has no more.

    Args:
        space: Where they are drawn.
        count: How many; more of them begin with the same.
        seed: Seed of the draws.
    """
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

    It has no state of its own: its seed follows from the search's and the number of points, so that a search that
    starts again, with records that answer at once, proposes the same points.

    Args:
        space: Where it searches.
        trials: Points at most, each counted once.
        seed: Seed of the search.
        objectives: Number of objectives.

    Raises:
        ValueError: Optuna is not installed.
    """

    known = None

    def __init__(self, space: SearchSpace, trials: int, seed: int, objectives: int) -> None:
        if find_spec("optuna") is None:
            raise ValueError("`search.method` optuna needs the package optuna: pip install 'asim_lightning[search]'")
        import optuna

        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self._optuna: Any = optuna
        self._study: Any = optuna.create_study(directions=["minimize"] * objectives)
        self._space, self._trials, self._seed = space, trials, seed
        self._known: dict[str, tuple[Sequence[float], Mapping[str, float]]] = {}
        self._asked: Any = None

    def ask(self) -> Point | None:
        """The next point that is new; None where there are enough, or draws at random, too, give known ones alone.

        A sampler that is sure of the best points proposes them again and again: then a point at random is taken.
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

    def tell(self, point: Point, costs: Sequence[float], excesses: Mapping[str, float]) -> None:
        """Learn what the point that was asked last is worth."""
        self._known[canonical_json(point)] = costs, excesses
        self._tell(costs, excesses)

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


LEARNING: dict[str, Callable[[SearchSpace, int, int, int], Method]] = {"optuna": Optuna}
"""Methods that learn from each point, by name; called with the space, points at most, seed and number of objectives."""
METHODS = ("grid", "list", "random", *LEARNING)
