"""A study of plans: changes of a macro, of single layers and of weights, each measured against a target."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from asim_lightning.evaluation.axis_settings import CHECKPOINT, CHIP
from asim_lightning.evaluation.binomial import clopper_pearson
from asim_lightning.evaluation.chip_yield import good_chips, yield_figures
from asim_lightning.evaluation.interval import Interval
from asim_lightning.evaluation.results import Decision, Outcomes, Result, canonical_json
from asim_lightning.evaluation.target import Target, decide
from asim_lightning.exploration.figures import CostFigures
from asim_lightning.exploration.methods import Point
from asim_lightning.exploration.plan_choice import PlanMethod, Proposer
from asim_lightning.exploration.records import Records, paired_difference
from asim_lightning.exploration.search_space import checkpoint_of, of_network
from asim_lightning.exploration.study import REFERENCES, Planned, Study, Work
from asim_lightning.nn.calibration import quantized_layers

_MANY = 10**9
"""Images or chips that an undecided plan may ask for."""
_ALL_GOOD = 6
"""Good chips without a bad one from which a yield is likely."""


@dataclass(frozen=True)
class Measured:
    """What plans are measured on.

    Attributes:
        target: The target.
        chips: Numbers of the chips of a plan whose chips differ.
        places: Places of the images; None: all.
        reads: Reads of each chip of a noisy plan.
        proves: Whether chips end when they answer the target, else when it is clear whether it is likely.
    """

    target: Target
    chips: range
    places: range | None = None
    reads: int = 1
    proves: bool = False

    @property
    def good_chips(self) -> int:
        """Good chips of which a yield is surely kept, if their number is fixed; one more than there are if none is."""
        count = len(self.chips)
        kept = (good for good in range(count + 1) if clopper_pearson(good, count)[0] >= self.target.value)
        return next(kept, count + 1)


class PlanStudy(Study):
    """Measures plans one after another.

    Args:
        work: What it works with.
        measured: What plans are measured on.
        names: Names of the axes of all plans.
        checkpoints: Weights of plans, next to the network's own.
        figures: What plans cost.

    Raises:
        ValueError: The data has not so many images, or workers would not follow other weights.
    """

    known = None
    """No plan is known before: the study is its own method, and asks the one that it runs."""

    def __init__(
        self, work: Work, measured: Measured, names: Sequence[str], checkpoints: Sequence[str], figures: CostFigures
    ) -> None:
        super().__init__(work.trainer, work.model, work.data, work.runner)
        if checkpoints and not self.runner.follows_network:
            raise ValueError(
                "`checkpoints` must be absent with `runner: ray`, whose workers keep the weights that they started with"
            )
        self.measured, self.figures, self._load_weights = measured, figures, work.load
        self.chips_may_end = measured.target.form == "yield"
        self._own = {name: value.clone() for name, value in self.model.state_dict().items()} if checkpoints else {}
        self._loaded: str | None = None
        self._of_kind: dict[str, Result] = {}
        self._paired: dict[str, Interval] = {}
        self._records: dict[str | None, Records] = {}
        of = {"target": str(measured.target), "chips": str(measured.chips), "images": str(measured.places)}
        axes = [*(name for name in names if name != CHECKPOINT), CHIP]
        for checkpoint in (None, *checkpoints):
            self._switch(checkpoint)
            records = Records(
                self.trainer, self.model, self.data, axes, work.folder, "doctor", described={"doctor": of},
                fresh=work.fresh, places=measured.places,
            )  # fmt: skip
            for kind in REFERENCES:
                records.points.add({}, kind)
            records.points.add({}, "simulated")
            records.open(has_table=checkpoint is None)  # the weights are part of the key
            self._records[checkpoint] = records
        self._switch(None)
        self.records = self._records[None]
        self.folder, self.notes = self.records.folder, self.records.notes

    def run(self, make: Callable[[], Proposer], most: int, say: Callable[[str], None], progress: bool) -> Proposer:
        """Measure the plans that a method proposes.

        Args:
            make: Makes the method.
            most: Trials at most, about.
            say: Takes a line about the time that is left, and one on trials of an earlier run.
            progress: Whether a progress bar is shown.

        Returns:
            The method, which was told all results; in the first process only.
        """
        if self.trainer.is_global_zero:
            self.records.store.clear_points(self.folder.name)
        first = [Planned({}, kind, ({},), 1, self.records) for kind in REFERENCES]
        self._plans: PlanMethod = make()
        results = self.evaluate(first, self, most, progress, say)
        self._switch(None)
        replayed = make()  # forked processes told their own copy
        self._of_kind = {each.kind: each for each in results if each.kind != "simulated"}
        for each in results:
            if each.kind == "simulated":
                replayed.next()
                replayed.told(each)
        replayed.next()
        return replayed

    def ask(self) -> Point | None:
        """The next plan, as a method of the study."""
        return self._plans.next()

    def tell(self, point: Point, costs: Sequence[float], excesses: Mapping[str, float]) -> None:
        """Learns nothing: `told` does."""

    def planned(self, point: Point) -> Planned:
        """The trials of a plan, on each chip if chips differ."""
        records, measured = self._records[checkpoint_of(point)], self.measured
        return self.on_chips(point, records, measured.chips, measured.reads)

    def told(self, planned: Planned, chips: list[list[Outcomes]]) -> list[Result]:
        """The result of a plan, over all its chips, with its cost and decision, which the method is told."""
        if planned.kind != "simulated":
            self._of_kind[planned.kind] = planned.records.result({}, planned.kind, chips)
            return [self._of_kind[planned.kind]]
        target, quantized = self.measured.target, self.references["quantized"][1]
        result = planned.records.result(of_network(planned.point), "simulated", chips, quantized)
        figures = self.figures.at(planned.point)
        if target.form == "yield":
            figures |= yield_figures(chips, target.accuracy)
        result = replace(result, axes=planned.point, figures=figures)
        if target.of is not None:
            self._paired[canonical_json(result.axes)] = paired_difference(chips, self.references[target.of][1])
        decision = self._decided(result, chips)
        result = replace(result, decisions={str(target): decision})
        self._plans.told(result)
        return [result]

    def is_over(self, planned: Planned, chips: Sequence[Sequence[Outcomes]]) -> bool:
        """Whether the chips of a plan so far are enough, as `Measured.proves` says."""
        measured = self.measured
        if planned.kind != "simulated" or measured.target.form != "yield":
            return False
        good = good_chips(chips, measured.target.accuracy)
        if measured.proves:
            return measured.target.answer_of_chips(good, len(chips)) is not None
        bad = len(chips) - good
        return bad > len(measured.chips) * (1.0 - measured.target.value) or (bad == 0 and len(chips) >= _ALL_GOOD)

    def load(self, planned: Planned) -> None:
        """Load the weights of a plan."""
        self._switch(checkpoint_of(planned.point))

    def compared(self, result: Result) -> tuple[Interval, float]:
        """What the target bounds of a plan, with its interval, and the least that it must be."""
        target = self.measured.target
        paired = self._paired.get(canonical_json(result.axes))
        return target.bounds(result, self._of_kind[target.of] if target.of else None, paired)

    def _decided(self, result: Result, chips: Sequence[Sequence[Outcomes]]) -> Decision:
        target = self.measured.target
        if target.form != "yield" or len(chips) < 2:
            return self.decision(target, result, chips, _MANY if len(chips) == 1 else None)
        answer = target.answer_of_chips(good_chips(chips, target.accuracy), len(chips))
        if answer is None:
            return decide(*target.bounds(result, None), len(chips), _MANY)
        return Decision("kept" if answer else "missed")

    def _switch(self, checkpoint: str | None) -> None:
        if checkpoint == self._loaded:
            return
        if checkpoint is None:
            self.model.load_state_dict(self._own)
        elif self._load_weights is None:
            raise ValueError("`checkpoints` needs a way to load weights, got none")
        else:
            for layer in quantized_layers(self.model.backbone).values():
                if layer.input_range == "calibrated":
                    layer.clear_range(self.model.device)  # else weights without ranges would keep those of others
            self._load_weights(checkpoint)
            self.model.calibrate_where_missing(self.data)
        self._loaded = checkpoint
