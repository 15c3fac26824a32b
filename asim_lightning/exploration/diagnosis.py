"""The result of `doctor`: measured plans, the map of the loss, and problems that cost nothing to mend."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from math import isfinite
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes

from asim_lightning.classifier.network import CimModule
from asim_lightning.evaluation.axis_settings import setting_of
from asim_lightning.evaluation.chip_yield import yield_figures
from asim_lightning.evaluation.condition import layer_rules
from asim_lightning.evaluation.findings import Finding
from asim_lightning.evaluation.interval import NO_DIFFERENCE
from asim_lightning.evaluation.loss_map import LossMap
from asim_lightning.evaluation.measure import Measure
from asim_lightning.evaluation.results import Decision, Result, Verdict, axis_text
from asim_lightning.evaluation.target import Target
from asim_lightning.evaluation.worst_corner import worst_figures
from asim_lightning.exploration.axes import condition_at, nested
from asim_lightning.exploration.plan_study import PlanStudy
from asim_lightning.exploration.search_space import checkpoint_of, of_network
from asim_lightning.exploration.study import Others
from asim_lightning.nn import OnMacro
from asim_lightning.report.draw import figure_of
from asim_lightning.report.picture import WIDTH
from asim_lightning.report.spec_doctor import loss_map_pictures, loss_map_table, plans_table, plans_verdict
from asim_lightning.surgery import macro_layers
from asim_lightning.surgery.families import pattern_of
from asim_lightning.surgery.plan import kinds_of

_NAMED = 2
"""Most layers, or kinds of layers, that the text of a plan names."""


@dataclass(frozen=True)
class MeasuredPlan:
    """A plan and its measured result.

    Attributes:
        text: Its changes, in a few words.
        macro: Fields of the macro of all layers that differ.
        rules: Rules of single layers, which replace the network's rules, as in `plan.rules`; empty: no change.
        checkpoint: Other weights; None: the network's own.
        energy_uj: Energy of an image; low and high follow from the factors of the energy model.
        mean: The number that the target bounds, with its interval: accuracy, difference to another network, or yield.
        threshold: The least value of `mean` that keeps the target; the largest if less is better.
        verdict: kept, missed or undecided.
        images_to_decide: About how many images (chips of a yield) would decide; None: decided, or more do not help.
        file: Name of the recipe that has it; None: it is not written.
        less_is_better: Whether less of the outcome is better, as of a loss.
        differing: How many samples decide, if fewer than ten differ; see `Interval`.
        digital_percent: Percent of the products of bits on macros that are digital.
    """

    text: str
    macro: Mapping[str, Any]
    rules: Sequence[Mapping[str, Any]]
    checkpoint: str | None
    energy_uj: float
    energy_uj_low: float
    energy_uj_high: float
    mean: float
    low: float
    high: float
    threshold: float
    verdict: Verdict
    images_to_decide: int | None = None
    file: str | None = None
    less_is_better: bool = False
    differing: int | None = None
    digital_percent: float = 0.0


@dataclass(frozen=True, repr=False)
class Diagnosis:
    """What to change so that a network keeps a target.

    Attributes:
        target: The target.
        as_is: The macro as it is.
        plans: The cheapest plan of each kind, kept plans first; if no plan is kept, the nearest ones.
        map: Shares of the loss by layer and bit position.
        findings: Problems that cost nothing to mend.
        notes: What a reader should know, a line each.
        gap: How much more the last tried plan of single layers costs than its lower bound, as a share; None: no plan.
        digital: A purely digital macro, which computes the quantised network; None in results of earlier versions.
        measure: The measure of the outcome.
        least: What the plans should have little of: energy, or digital products.
    """

    target: Target
    as_is: MeasuredPlan
    plans: tuple[MeasuredPlan, ...]
    map: LossMap
    findings: tuple[Finding, ...] = ()
    notes: tuple[str, ...] = ()
    gap: float | None = None
    digital: MeasuredPlan | None = None
    measure: Measure = field(default_factory=Measure)
    least: str = "energy"

    def __str__(self) -> str:
        found, words = self.to_json(), self.measure.words
        tables = [str(each.in_words(words)) for each in (loss_map_table(self.map), plans_table(found))]
        first = [words(each.text) for each in self.findings if each.kind == "coarse"]
        said = [*(each.text for each in self.findings if each.kind != "coarse"), *self.notes, plans_verdict(found)]
        return "\n\n".join([*first, *tables, *map(words, said)])

    __repr__ = __str__

    def plot(self, title: str = "", width: float = WIDTH) -> Axes:
        """The map of the loss, `width` inches wide, as matplotlib's axes."""
        drawn = loss_map_pictures(self.map, title or "loss by layer and bit position")[0]
        return figure_of(drawn.in_words(self.measure.words), width=width).axes[0]

    def to_json(self) -> dict[str, Any]:
        """Plain values, as in doctor.json."""
        return _finite(
            {
                "target": str(self.target),
                "as_is": asdict(self.as_is),
                "plans": list(map(asdict, self.plans)),
                "findings": [asdict(each) for each in self.findings],
                "gap": self.gap,
                "digital": None if self.digital is None else asdict(self.digital),
                "notes": list(self.notes),
                "least": self.least,
                "are_images": self.measure.are_images,
                "shown_as": self.measure.shown_as,
            }
        )


def _finite(value: Any) -> Any:
    """A value of JSON, with null for the ends of intervals without bounds, for which JSON has no number."""
    if isinstance(value, dict):
        return {name: _finite(each) for name, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(each) for each in value]
    return None if isinstance(value, float) and not isfinite(value) else value


def plan_of(model: CimModule, result: Result, decision: Decision) -> MeasuredPlan:
    """A plan from its result; the axes of the result are the changes of the network."""
    condition, checkpoint = condition_at(of_network(result.axes), "simulated"), checkpoint_of(result.axes)
    layers = macro_layers(model.backbone)
    changes = {name: condition.rules[of] for name in layers if (of := pattern_of(name)) in condition.rules}
    alike = dict[str, list[str]]()  # the layers of each change
    for name, fields in changes.items():
        alike.setdefault(_layer_text(layers[name], fields), []).append(name)
    kinds = {kind: names for kind, names in kinds_of(layers).items() if len(names) > 1}
    energy, least, most = (result.figures[f"energy_uj{end}"] for end in ("", "_low", "_high"))
    return MeasuredPlan(
        _text(condition.macro, alike, kinds, checkpoint), nested(condition.macro),
        layer_rules(model, changes) if changes else [], checkpoint, energy, least, most,
        decision.mean, decision.low, decision.high, decision.threshold, decision.verdict,
        None if decision.is_over else decision.images,
        less_is_better=decision.less_is_better, differing=decision.differing,
        digital_percent=result.figures.get("digital_percent", 0.0),
    )  # fmt: skip


def plan_of_digital(model: CimModule, study: PlanStudy, others: Others) -> MeasuredPlan:
    """A purely digital macro with the bits of the network's macro, from the references of a study of plans."""
    (target,), (result, outcomes) = study.settings.targets, others["quantized"]
    figures = worst_figures([study.figures_at(each, "simulated") for each in study.at_corners({})])
    figures |= {f"energy_uj{end}": figures[f"all_digital_uj{end}"] for end in ("", "_low", "_high")}
    if target.form == "yield":
        figures |= yield_figures([[outcomes]], target.accuracy, False)
    result = replace(result, axes={}, figures=figures, difference=NO_DIFFERENCE)
    plan = plan_of(model, result, study.decision(target, result, [[outcomes]], others))
    return replace(plan, text="a purely digital macro of the same bits", digital_percent=100.0)


def _text(
    macro: Mapping[str, Any],
    alike: Mapping[str, Sequence[str]],
    kinds: Mapping[str, Sequence[str]],
    checkpoint: str | None,
) -> str:
    """A plan in a few words, as "10 ADC bits, 64 rows; weights of fashion_resnet_nat"."""
    words = {name: f"{axis_text(value)} {setting_of(name).label}" for name, value in macro.items()}
    if words.pop("static.trim_step", None):
        words["static.trim"] = "offset and gain trimmed"
    parts = [", ".join(words.values())]
    groups = sorted(alike.items(), key=lambda each: -len(each[1]))
    for change, names in groups[:_NAMED]:
        parts.append(f"{_named(names, kinds, 'layers')}: {change}")
    if rest := [name for _, names in groups[_NAMED:] for name in names]:
        parts.append(f"{_named(rest, kinds, 'other layers')} otherwise")
    if checkpoint is not None:
        parts.append(f"weights of {Path(checkpoint).stem}")
    return "; ".join(each for each in parts if each) or "the macro as it is"


def _named(names: Sequence[str], kinds: Mapping[str, Sequence[str]], layers: str) -> str:
    """Up to two names, with the kind instead of all its layers, such as `layers.*.up_proj`; else how many layers."""
    whole = {name: kind for kind, each in kinds.items() if set(each) <= set(names) for name in each}
    shown = list(dict.fromkeys(whole.get(name, name) for name in names))
    return ", ".join(shown) if len(shown) <= _NAMED else f"{len(names)} {layers}"


def _layer_text(layer: OnMacro, fields: Mapping[str, Any]) -> str:
    """The change of a layer in a few words."""
    positions, parts = layer.transfer.bit_positions, []
    if (digital := fields.get("digital_levels")) is not None:
        parts.append("digital" if digital == positions else f"{digital} digital positions")
    if "votes" in fields:
        levels = fields["vote_levels"]
        parts.append(f"{fields['votes']} votes at {'all' if levels == positions else levels} positions")
    if "adc_bits" in fields:
        of = f", {step} count{'s' * (step > 1)} an LSB" if (step := fields.get("adc_step")) else ""
        parts.append(f"{fields['adc_bits']} ADC bits{of}")
    return " and ".join(parts)
