"""Finds changes with which a network keeps a target: maps its loss, ranks plans by cost, and proves them."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from math import sqrt
from operator import attrgetter
from pathlib import Path

import torch.nn.functional as F

from asim_lightning.classifier.outcome import Outcome, cross_entropy, right
from asim_lightning.cost import Technology
from asim_lightning.engine import SavedChip
from asim_lightning.evaluation.axis_settings import CHECKPOINT
from asim_lightning.evaluation.binomial import sequence_decides
from asim_lightning.evaluation.findings import Finding, findings
from asim_lightning.evaluation.layer_inputs import needed_layers
from asim_lightning.evaluation.loss_map import LossMap
from asim_lightning.evaluation.measure import Measure
from asim_lightning.evaluation.notes import interval_notes, near_notes
from asim_lightning.evaluation.results import Result, canonical_json
from asim_lightning.evaluation.run import DOCUMENT, MAP
from asim_lightning.exploration.axes import lsb_notes
from asim_lightning.exploration.diagnosis import Diagnosis, MeasuredPlan, plan_of, plan_of_digital
from asim_lightning.exploration.loss_mapping import MapMaker
from asim_lightning.exploration.plan_study import DoctorSettings, Family, PlanStudy, open_plans, proving, screening
from asim_lightning.exploration.point_costs import CostFigures
from asim_lightning.exploration.prescription import (
    Digital,
    Prices,
    changes_of_bits,
    changes_of_macro,
    changes_of_positions,
    prescriptions,
)
from asim_lightning.exploration.runner import Work
from asim_lightning.exploration.running import measure
from asim_lightning.exploration.search_space import of_network
from asim_lightning.exploration.study import Measured, Say, loaded_images, silent
from asim_lightning.nn import OnMacro
from asim_lightning.report.spec_doctor import PRICES
from asim_lightning.surgery.plan import kinds_of

_SCREENED_CHIPS, _FIRST_PROVED = 12, 1000
"""Chips that screen a plan, and the number of the first chip that proves a plan."""
_FEW_PROVE = 100
"""Number of images below which a line says that they prove little."""
_COLLAPSED = 0.5
"""Share of the quantised network's accuracy below which a macro is coarse as a whole."""
_FEWEST_ROWS, _FINE_LSB = 16, 1.25
"""Rows that are proposed at least, and counts of an LSB at most."""
_MEAN_CHIPS = 10
"""Most chips of a mean accuracy; a yield takes more."""
_OF_LAYERS: Mapping[str, Digital] = {
    "single layers": "all",
    "single layers, at most half digital": "half",
    "single layers without more digital positions": "none",
}
"""Families of changes of single layers, and how many more digital positions a layer may have."""
_BLOCKS = 3
"""From this number of layers of a kind on, on average, there are plans of kinds."""
_PLANS = 30
"""About how many trials a study of plans has."""


@dataclass(frozen=True, eq=False)
class Doctor:
    """A doctor that is ready to find and prove plans, because the loss is mapped and the plans are listed.

    Attributes:
        work: Network, data and trainer.
        proof: The work whose samples prove the plans.
        settings: The settings.
        costs: Costs of plans.
        mapped: The map of the loss.
        maker: Its samples and layers.
        families: All plans.
        screens: The study that screens the plans.
        proof_places: Places of the images that prove the plans.
        notes: What a reader should know, a line each.
    """

    work: Work
    proof: Work
    settings: DoctorSettings
    costs: CostFigures
    mapped: LossMap
    maker: MapMaker
    families: Sequence[Family]
    screens: PlanStudy
    proof_places: range
    notes: tuple[str, ...]

    @property
    def folder(self) -> Path:
        """Folder of the run."""
        return self.screens.folder.path

    def run(self, say: Say = silent, progress: bool = True) -> Diagnosis:
        """Find the cheapest plans, and prove them; `say` takes a message about each step."""
        target, measured = self.settings.measured, Measure.of_module(self.work.model)
        said = findings(self.work.model, (batch[0] for batch in self.maker.batches()), len(self.maker.places))
        count = sum(len(each.candidates) for each in self.families)
        say(f"plans    {count:,}, of which the likely ones are looked for")
        method = screening(self.families, self._margin_of)
        families = measure(self.screens, [], method, _PLANS, progress, say).answer
        self.screens.weights.switch(None)
        notes, least = list(self.notes), self.settings.least
        for family in families:
            if family.cheapest is None and family.tried:
                short = -max(margin for _, margin in family.tried)
                change = f"{100 * measured.plain_change(short):.1f} {measured.change_unit}"
                by = f"{short:.3g}" if measured.shown_as == "number" else change
                notes.append(f"no plan of {family.name} is likely to be proved: the nearest misses by {by}")
        study, tried = self._proved(families, say, progress)
        # the last of each kind; another plan without axes is the macro as it is
        last = {family: result for family, _, result in tried.answer if result.axes or not family}
        if more := len(tried.answer) - len({family for family, _, _ in tried.answer}):
            notes.append(f"plans tried on the same images besides these: {more}; each interval is of one plan")
        as_is, plans = self._ranked(list(last.values()))
        notes += interval_notes(list({canonical_json(each.axes): each for each in last.values()}.values()))
        notes += near_notes([target], [tried.others["quantized"][0]])
        gaps = {family: gap for family, gap, _ in tried.answer if gap is not None}
        if gaps:
            most = ", ".join(f"{family} {100 * gap:.2g} %" for family, gap in gaps.items())
            others = ", votes, ADC bits and ADC ranges" if least == "energy" else ""
            what = "energy" if least == "energy" else "digital products"
            notes.append(f"{what} above the cheapest combination of digital positions{others}, at most: {most}")
        digital, gap = plan_of_digital(self.proof.model, study, tried.others), [None, *gaps.values()][-1]
        said = _collapse_first(said, tried.answer[0][2], tried.others["quantized"][0])
        diagnosis = Diagnosis(
            target, as_is, plans, self.mapped, tuple(said), tuple(notes), gap, digital, measured, least
        )
        if self.work.trainer.is_global_zero:
            self.screens.folder.write(DOCUMENT, diagnosis.to_json())
            self.screens.folder.write(MAP, self.mapped.to_json())
        return diagnosis

    def _margin_of(self, result: Result) -> float:
        """How much the proof, with its images or chips, would exceed the target if the mean stays."""
        target = self.settings.measured
        decision = result.decisions[str(target)]
        if target.form == "yield":
            chips, least = self.settings.chips, target.value
            good = (good for good in range(chips + 1) if sequence_decides(good, chips, least))
            return decision.mean - next(good, chips + 1) / chips  # with these good chips it is surely kept
        return decision.margin - decision.reaches[0] * sqrt(result.images / len(self.proof_places))

    def _proved(
        self, families: Sequence[Family], say: Say, progress: bool
    ) -> tuple[PlanStudy, Measured[list[tuple[str, float | None, Result]]]]:
        """Measure the macro as it is and the cheapest plans on other images, noise and chips; and their study."""
        settings, model = self.settings, self.proof.model
        seed = model.noise_seed
        model.noise_seed = (seed + 1) % 2**32
        try:
            chips = range(_FIRST_PROVED, _FIRST_PROVED + _chips_of(settings))
            axes = self.screens.settings.axes
            study = open_plans(self.proof, settings, self.costs, axes, chips, self.proof_places)
            say("proof    of the cheapest likely plans, on other images, noise and chips")
            tried = measure(study, [], proving(families, settings.plans), _PLANS, progress, say)
            study.weights.switch(None)
        finally:
            model.noise_seed = seed
        return study, tried

    def _ranked(self, results: Sequence[Result]) -> tuple[MeasuredPlan, tuple[MeasuredPlan, ...]]:
        """The macro as it is, and the plans: kept ones first, the cheapest first, then the nearest ones."""
        target = str(self.settings.measured)
        first, *rest = {canonical_json(each.axes): each for each in results}.values()
        rest.sort(key=lambda each: -each.decisions[target].margin)
        as_is, *plans = (plan_of(self.proof.model, each, each.decisions[target]) for each in (first, *rest))
        price = attrgetter(PRICES[self.settings.least])
        kept = sorted((each for each in plans if each.verdict == "kept"), key=price)
        others = [each for each in plans if each.verdict != "kept"]
        numbered = (replace(each, file=f"plan-{number}.yaml") for number, each in enumerate([*kept, *others], 1))
        return as_is, tuple(numbered)


def open_doctor(
    work: Work,
    settings: DoctorSettings,
    technology: Technology = Technology(),
    given: LossMap | None = None,
    proof: Work | None = None,
    say: Say = silent,
) -> Doctor:
    """Make a doctor ready: map the loss, which may take minutes, and list the plans.

    Args:
        work: Network, data with all images, and trainer.
        settings: The settings.
        technology: Technology of the energies.
        given: A map of the same network, which is used again.
        proof: The work whose images prove the plans; None: the images after those of the map.
        say: Takes a message about the map.

    Raises:
        ValueError: A setting is not allowed, the chip is a saved one, or the given map has other layers.
    """
    if isinstance(chip := work.model.chip, SavedChip):
        raise ValueError(f"`model.chip_file` must be left out for plans of all chips, got {chip.path}")
    layers = needed_layers(work.model, "A doctor")
    base, corners = next(iter(layers.values())).assignment.base, work.corners
    used = corners.used(settings.corner, "corner", base, technology)
    target = replace(settings.measured, every_corner=settings.measured.every_corner or bool(used))
    corners.check_targets([target])
    settings = replace(settings, target=str(target), corner=used)
    costs = CostFigures(work.model, technology, corners=corners)
    for each in corners.points({}, used):  # refuses wrong settings early
        corners.check_volts(each, base)
        costs.at(each)
    if given is not None and (others := given.layers.keys() ^ layers.keys()):
        raise ValueError(f"`map` must be of the layers of this network, got other ones, such as {min(others)}")
    count = loaded_images(work.data)
    mapped_images = min(settings.images, count if proof else count // 2)
    if not mapped_images:
        raise ValueError(f"`data` must have 2 samples or more, for the choice of plans and a proof, got {count}")
    first, rest = (0, loaded_images(proof.data)) if proof else (mapped_images, count - mapped_images)
    proof_places = range(first, first + min(settings.proof_images, rest))
    proving = len(proof_places)
    few = f": {proving:,} images prove little, because they cannot tell small losses apart" * (proving < _FEW_PROVE)
    notes = [f"{mapped_images:,} images for map and choice of plans, {proving:,} for the proof{few}"]
    maker = MapMaker(work, layers, range(mapped_images))
    work.model.to(work.trainer.strategy.root_device)
    mapped, of_map = maker.run(given, say)
    families = list(_families(layers, mapped, Prices(costs, settings.least), settings.checkpoints))
    if any(each.group == "trimmed" for each in families):
        of_map.append("the energy of a trim is not counted")
    plans = [each.point for family in families for each in family.candidates]
    axes = list(dict.fromkeys(name for point in plans for name in point if name != CHECKPOINT))
    chips = range(_SCREENED_CHIPS if settings.measured.form == "yield" else _chips_of(settings))
    screens = replace(open_plans(work, settings, costs, axes, chips, maker.places), proves=False)
    points = list(map(of_network, plans))
    of_lsb = lsb_notes(points, {macro for point in points for macro in screens.points.macros(point)})
    if used:
        notes.append(
            f"map, findings and the choice of changes are of the recipe's macro; plans are screened and proved at "
            f"{', '.join(used)}, and their energy is the largest of these corners"
        )
    notes += [
        *corners.notes(used, ()),
        *of_map,
        *screens.folder.notes,
        *_of_loss(work.model.outcome),
        *of_lsb,
    ]
    return Doctor(work, proof or work, settings, costs, mapped, maker, families, screens, proof_places, tuple(notes))


def _collapse_first(said: Sequence[Finding], as_is: Result, quantized: Result) -> list[Finding]:
    """The findings, of which the one about a coarse macro comes first if the macro loses most of the accuracy.

    Plans change layers of the macro; no cheap one mends a macro that is coarse as a whole, so the text says what does.
    """
    others = [each for each in said if each.kind != "coarse"]
    is_kept = not quantized.measure.more_is_better or as_is.accuracy > _COLLAPSED * quantized.accuracy
    if is_kept or len(others) == len(said):
        return others
    found = next(each for each in said if each.kind == "coarse")
    rows = least = int(found.numbers["largest_kernel"])
    while rows > _FEWEST_ROWS and found.numbers["lsb"] * rows / found.numbers["rows"] > _FINE_LSB:
        rows = -(-rows // 2)
    fewer = f"fewer `rows`, such as {rows}" if min(rows, least) < found.numbers["rows"] else "a finer `adc_step`"
    kept = f"{100 * as_is.accuracy:.1f} of {100 * quantized.accuracy:.1f} %"
    text = (
        f"The macro keeps {kept}, and no plan mends that cheaply. {found.text}. Change the macro "
        f"by hand: {fewer}, 4 `weight_bits` and `input_bits`, then train with `model.train_noise_model macro`"
    )
    return [replace(found, text=text), *others]


def _chips_of(settings: DoctorSettings) -> int:
    """Most chips of a plan."""
    return settings.chips if settings.measured.form == "yield" else min(_MEAN_CHIPS, settings.chips)


def _of_loss(outcome: Outcome) -> list[str]:
    if outcome.loss is not F.cross_entropy or outcome.number in (right, cross_entropy):
        return []
    return [f"the map is of the cross-entropy; an Outcome with a `loss` maps the loss of {outcome.name}"]


def _families(
    layers: Mapping[str, OnMacro], mapped: LossMap, prices: Prices, checkpoints: Sequence[str]
) -> Iterator[Family]:
    """Changes of single layers and of kinds of layers, of the macro of all layers, and of this macro with each other
    checkpoint; for few digital products only of digital positions."""
    base = next(iter(layers.values())).assignment.base
    has_kinds, of_energy = _BLOCKS * len(kinds_of(layers)) <= len(layers), prices.least == "energy"
    singles: Mapping[str, Digital] = _OF_LAYERS if of_energy else {"digital positions of single layers": "all"}
    for name, digital in singles.items():
        yield Family(name, name, prescriptions(layers, mapped, prices, digital))
    if has_kinds:
        name = "kinds of layers"
        yield Family(name, name, prescriptions(layers, mapped, prices, by_kind=True))
    positions = Family("digital positions of all layers alike", "positions", changes_of_positions(base, prices))
    if not of_energy:
        yield positions
        return
    alike = changes_of_macro(base, prices)
    yield Family("all layers alike", "macro", alike)
    if base.static.trim == "none" and (base.static.is_set("offset") or base.static.is_set("gain")):
        yield Family("all layers alike and trimmed", "trimmed", changes_of_macro(base, prices, trims=True))
    yield positions
    yield Family("fewer bits of all layers alike", "bits", changes_of_bits(base, prices))
    for name in checkpoints:
        others = [replace(each, point={**each.point, CHECKPOINT: name}) for each in alike]
        yield Family(f"all layers alike with the weights of {name}", name, others)
