"""The corners of one point together: the worst of them decides."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace

from asim_lightning.evaluation.axis_settings import CHIP, CORNER
from asim_lightning.evaluation.results import AGREEMENT, Decision, Result, canonical_json
from asim_lightning.evaluation.target import EVERY_CORNER, grouped

_VERDICTS = ("missed", "undecided", "kept")
_MORE_IS_BETTER = ("yield", "yield_low", "yield_high", "tops_per_watt", AGREEMENT)
"""Figures of which the least is the worst; of all others, the largest."""


@dataclass(frozen=True)
class WorstResult(Result):
    """A point at its worst corners: the result with the worst mean outcome, and the worst of each figure and decision.

    Attributes:
        corners: The result at each corner.
    """

    corners: tuple[Result, ...] = ()


def design_of(result: Result) -> str:
    """Text that results have in common if they differ only in the corner."""
    return canonical_json([result.kind, result.without(CORNER)])


def designs_of(rows: Iterable[Result]) -> list[list[Result]]:
    """Rows in groups that differ only in the corner; a row without a chip, whose chips are equal, is with each chip of
    its design."""
    groups = {design_of(each[0]): each for each in grouped(rows, design_of)}
    equal, found = dict[str, list[Result]](), dict[str, list[Result]]()
    for design, group in groups.items():
        of_all = design_of(replace(group[0], axes=group[0].without(CHIP)))
        equal |= {of_all: groups[of_all]} if of_all != design and of_all in groups else {}
        found[design] = [*equal.get(of_all, []), *group]
    return [group for design, group in found.items() if design not in equal]


def worst_result(corners: Sequence[Result]) -> Result:
    """The corners of a point together; a result without corners is unchanged."""
    if len(corners) == 1 and CORNER not in corners[0].axes:
        return corners[0]
    worst = min(corners, key=lambda each: each.merit)
    decisions = {name: worst_decision([each.decisions[name] for each in corners]) for name in worst.decisions}
    own = {each.name: getattr(worst, each.name) for each in fields(Result)}
    changed = {
        "axes": worst.without(CORNER),
        "figures": worst_figures([each.figures for each in corners]),
        "decisions": decisions,
    }
    return WorstResult(**{**own, **changed}, corners=tuple(corners))


def worst_figures(corners: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """The worst of each figure of some corners, by its name."""
    values = dict[str, list[float]]()
    for each in corners:
        for name, value in each.items():
            values.setdefault(name, []).append(value)
    return {name: (min if name in _MORE_IS_BETTER else max)(some) for name, some in values.items()}


def worst_corner(result: Result) -> Result:
    """The corner with the worst mean outcome of a point at its worst corners; another result is unchanged."""
    return min(result.corners, key=lambda each: each.merit) if isinstance(result, WorstResult) else result


def dearest_corner(result: Result) -> Result:
    """The corner with the largest energy of a point at its worst corners; another result is unchanged."""
    corners = result.corners if isinstance(result, WorstResult) else (result,)
    return max(corners, key=lambda each: each.energy_uj or 0.0)


def worst_decision(corners: Sequence[Decision]) -> Decision:
    """The decision that holds at every corner: missed if a corner misses, kept if all keep the target.

    Of several corners with this verdict, it is the one with the lowest end of its interval, counted from the target.
    """
    return min(corners, key=lambda each: (_VERDICTS.index(each.verdict), each.margin - each.reaches[0]))


def decided_together(corners: Sequence[Result]) -> list[Result]:
    """The corners of a point, each with the common decisions on targets "at every corner", and so have its chips.

    A corner whose chips are equal has only one, without a number, which counts with each chip of the others.
    A chip that a corner lacks, because that corner's chips ended earlier, may miss a target, but does not keep it.
    """
    names = [name for each in corners for name in each.decisions if name.endswith(EVERY_CORNER)]
    if not names:
        return list(corners)
    equal = [each for each in corners if each.chips and all(chip.chip is None for chip in each.chips)]
    by_chip = dict[int | None, list[Result]]()
    for each in (*corners, *(chip for corner in corners for chip in corner.chips)):
        by_chip.setdefault(each.chip, []).append(each)

    def together(result: Result) -> Result:
        some = by_chip[result.chip] if result.chip is None else [*equal, *by_chip[result.chip]]
        common = {name: worst_decision([each.decisions[name] for each in some]) for name in dict.fromkeys(names)}
        if len(some) < len(corners):
            common = {
                name: each if each.verdict == "missed" else Decision("undecided") for name, each in common.items()
            }
        return replace(result, decisions={**result.decisions, **common}, chips=tuple(map(together, result.chips)))

    return list(map(together, corners))
