"""The settings of a search: space, method, objectives and constraints."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any, get_type_hints

from asim_lightning.checks import check_choice, check_whole
from asim_lightning.circuit import MacroConfig
from asim_lightning.evaluation.target import ENDS_IMAGES, OF_A_POINT, Target
from asim_lightning.exploration.figures import FIGURES
from asim_lightning.exploration.methods import METHODS
from asim_lightning.exploration.search_space import MOST_POINTS

MACRO_FIGURES = tuple(name for name, kind in get_type_hints(MacroConfig).items() if kind in (int, int | None))
"""Fields of the macro that are numbers of bits, rows or reads."""
OBJECTIVES = ("accuracy", "yield", *FIGURES, *MACRO_FIGURES)


@dataclass(frozen=True)
class SearchSettings:
    """A search."""

    space: dict[str, Any] = field(default_factory=dict)
    """Values of each axis, by name as in a sweep's axes, and of checkpoint and technology: lists, or ranges such as
    {low: 0.02, high: 0.2}, with step or log."""
    method: str = "grid"
    """grid (every combination), list (`points`), random, or optuna."""
    trials: int | None = None
    """Most points: 1..100000; null: all of a grid (at most 1,000,000) or list, 60 of the others."""
    seed: int = 0
    """Seed of random and optuna: 0..2^32-1."""
    objectives: list[str] = field(default_factory=lambda: ["accuracy", "energy"])
    """Objectives: accuracy, yield (at the accuracy of a constraint such as "yield 0.9 at 85 %"), energy (uJ an image),
    latency (ms), tops_per_watt, or a number of the macro such as adc_bits."""
    constraints: list[str] = field(default_factory=list)
    """Targets to keep, as bounds: "accuracy 99 % of quantized", "accuracy 88 %", "energy 2 uJ", "latency 5 ms"."""
    points: list[dict[str, Any]] = field(default_factory=list)
    """Points of the method list, such as {adc_bits: 7, rows: 64}."""
    reads: int = 1
    """Reads of the chip for each noisy point: 1..65535."""
    chips: int | None = None
    """Chips of each point: 2..10000; null: only the model's."""
    until: str | None = None
    """A target that ends the images of each point early: "accuracy 88 %", or "accuracy within 4 %" for the width of
    its interval; null: all images are evaluated."""

    def __post_init__(self) -> None:
        check_choice("`search.method`", self.method, METHODS)
        if self.trials is not None:
            check_whole("`search.trials`", self.trials, 1, 100_000)
        check_whole("`search.seed`", self.seed, 0, 2**32 - 1)
        check_whole("`search.reads`", self.reads, 1, 65535)
        if self.chips is not None:
            check_whole("`search.chips`", self.chips, 2, 10000)
        self._check_objectives()
        if self.method == "list":
            are_points = all(isinstance(point, Mapping) and point for point in self.points)
            if not are_points or len({tuple(sorted(point)) for point in self.points}) != 1:
                raise ValueError(
                    "`search.points` must be a list of one or more mappings of the same axes, such as [{adc_bits: 7, "
                    f"rows: 64}}], with the method list, got {self.points!r}"
                )
        self._check_until()
        if sum(each.form == "yield" for each in self.targets) > 1:
            raise ValueError(f"`search.constraints` may have one yield, got {self.constraints}")
        if ("yield" in self.objectives or self.question) and self.chips is None:
            raise ValueError("`search.chips` must say how many chips a yield is of, such as 20, got null")
        if "yield" in self.objectives and not self.question:
            raise ValueError(
                "`search.objectives` has yield, so `search.constraints` must say from which accuracy a chip is "
                f"good, as in 'yield 0.9 at 85 %', got {self.constraints}"
            )

    @property
    def targets(self) -> list[Target]:
        """The constraints."""
        return [Target.read(text, "`search.constraints`", OF_A_POINT) for text in self.constraints]

    @property
    def question(self) -> Target | None:
        """The target on the yield; None if there is none."""
        return next((each for each in self.targets if each.form == "yield"), None)

    @property
    def ends(self) -> Target | None:
        """The target that ends the images of each point; None if there is none."""
        return None if self.until is None else Target.read(self.until, "`search.until`", ENDS_IMAGES)

    @property
    def most(self) -> int:
        """Most points."""
        default = MOST_POINTS if self.method in ("grid", "list") else 60
        return default if self.trials is None else self.trials

    def _check_until(self) -> None:
        """Refuse settings that need all images, or an image more than once, if images may end early."""
        if self.ends is None:
            return
        name = f"`search.until` '{self.until}'"
        if self.reads > 1:
            raise ValueError(f"`search.reads` must be 1 with {name}, because an image counts once, got {self.reads}")
        if self.chips is not None:
            raise ValueError(
                f"`search.chips` must be null with {name}, because it ends the images of a chip, got {self.chips}"
            )
        for target in self.targets:
            if target.of is not None:
                raise ValueError(
                    f"`search.constraints` must be as 'accuracy 88 %' with {name}, because the difference to "
                    f"another network is decided on all images, got '{target}'"
                )

    def _check_objectives(self) -> None:
        if not isinstance(self.objectives, list) or not self.objectives:
            raise ValueError(f"`search.objectives` must be a list of one or more, got {self.objectives!r}")
        for name in self.objectives:
            if name not in OBJECTIVES:
                near = get_close_matches(str(name), OBJECTIVES, n=2)
                hint = f"; nearest: {', '.join(near)}" if near else ""
                raise ValueError(f"`search.objectives` must be among {', '.join(OBJECTIVES)}, got {name!r}{hint}")
