"""Finds changes with which a network keeps a target: maps its loss, ranks plans by cost, and proves them."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from math import sqrt
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from asim_lightning.classifier.outcome import cross_entropy, right
from asim_lightning.cost import Technology
from asim_lightning.engine import SavedChip
from asim_lightning.evaluation.attribution import Fields, loss_map
from asim_lightning.evaluation.axis_settings import CHECKPOINT
from asim_lightning.evaluation.binomial import sequence_decides
from asim_lightning.evaluation.condition import Condition, under
from asim_lightning.evaluation.evaluate import loader_of
from asim_lightning.evaluation.findings import findings
from asim_lightning.evaluation.layer_inputs import layer_counts, needed_layers
from asim_lightning.evaluation.loss_map import LossMap
from asim_lightning.evaluation.results import Result, canonical_json, digest_of, interval_notes
from asim_lightning.evaluation.target import measured_target, near_notes
from asim_lightning.exploration.axes import lsb_notes
from asim_lightning.exploration.diagnosis import Diagnosis, Plan, plan_of, plan_of_digital
from asim_lightning.exploration.figures import CostFigures
from asim_lightning.exploration.plan_study import DoctorSettings, Family, PlanStudy, proving, screening
from asim_lightning.exploration.prescription import (
    Digital,
    changes_of,
    changes_of_bits,
    changes_of_macro,
    changes_of_positions,
    prescriptions,
)
from asim_lightning.exploration.probe import loss_of
from asim_lightning.exploration.records import Records
from asim_lightning.exploration.runner import Work
from asim_lightning.exploration.search_space import of_network
from asim_lightning.exploration.spec import scaled, spreads_of
from asim_lightning.exploration.study import loaded_images
from asim_lightning.nn.count_histograms import fitted_range
from asim_lightning.surgery import kept_assignments

_SCREENED_CHIPS, _FIRST_PROVED = 12, 1000
"""Chips that screen a plan, and the number of the first chip that proves a plan."""
_MAPPED_CHIPS = 2
_MAPS = "maps of the loss"
"""Key of the maps in the store."""
_RANGED, _STEPPING, _BISECTIONS = 100, 100, 7
"""Images that ADC ranges are fitted to, images that a step back looks at, and most bisections of a step back."""
_FEW_PROVE = 100
"""Number of images below which a line says that they prove little."""
_MEAN_CHIPS = 10
"""Most chips of a mean accuracy; a yield takes more."""
_OF_LAYERS: Mapping[str, Digital] = {
    "single layers": "all",
    "single layers, at most half digital": "half",
    "single layers without more digital positions": "none",
}
"""Families of changes of single layers, and how many more digital positions a layer may have."""
_PLANS = 30
"""About how many trials a study of plans has."""
_LEAST_FACTOR = 1e-3
_COLLAPSED, _LOST, _STEPPED = 3.0, 0.25, (0.6, 1.4)
"""The network has collapsed beyond this increase of the loss in nats, or below this share of right answers. Noise and
spreads are then lowered until the increase is in the range."""


class Doctor:
    """Maps the loss of a network, then finds and proves the cheapest plans that keep a target.

    The data must have all images. `known` is a map of the same network, which is used again. Without `proof`, the
    images after the map's images prove the plans. A saved chip, and a known map of other layers, are refused.
    """

    def __init__(
        self,
        work: Work,
        settings: DoctorSettings,
        technology: Technology,
        known: LossMap | None = None,
        proof: Work | None = None,
    ) -> None:
        if isinstance(chip := work.model.chip, SavedChip):
            raise ValueError(f"`model.chip_file` must be left out for plans of all chips, got {chip.path}")
        self._work, self.settings, self._known, self._proof = work, settings, known, proof or work
        self.target = measured_target(settings.target)
        self._chips = settings.chips if self.target.form == "yield" else min(_MEAN_CHIPS, settings.chips)
        self._layers = needed_layers(work.model, "A doctor")
        self._own = {name: layer.assignment for name, layer in self._layers.items()}
        self._figures = CostFigures(work.model, technology)
        self._figures.at({})  # refuses wrong settings early
        if known is not None and (others := known.layers.keys() ^ self._layers.keys()):
            raise ValueError(f"`map` must be of the layers of this network, got other ones, such as {min(others)}")
        count = loaded_images(work.data)
        mapped = min(settings.images, count if proof else count // 2)
        if not mapped:
            raise ValueError(f"`data` must have 2 samples or more, for the choice of plans and a proof, got {count}")
        first, rest = (0, loaded_images(proof.data)) if proof else (mapped, count - mapped)
        self._places, self._proof_places = range(mapped), range(first, first + min(settings.proof_images, rest))
        proving = len(self._proof_places)
        few = f": {proving:,} images prove little, because they cannot tell small losses apart" * (proving < _FEW_PROVE)
        self.notes = [f"{mapped:,} images for map and choice of plans, {proving:,} for the proof{few}"]

    def map_loss(self, say: Callable[[str], None] = lambda line: None) -> None:
        """Map the loss, and list the plans; `say` takes each message."""
        self._work.model.to(self._work.trainer.strategy.root_device)
        self._map = self._kept(say)
        self._families = list(self._likely())
        chips = range(_SCREENED_CHIPS if self.target.form == "yield" else self._chips)
        self._screens = self._study(self._work, chips, self._places, proves=False)
        self.folder = self._screens.folder
        self.notes += self._screens.notes
        outcome = self._work.model.outcome
        if outcome.loss is F.cross_entropy and outcome.number not in (right, cross_entropy):
            said = f"the map is of the cross-entropy; an Outcome with a `loss` maps the loss of {outcome.name}"
            self.notes.append(said)
        points = [of_network(each.point) for family in self._families for each in family.candidates]
        macros_at = self._screens.records.points.macros
        self.notes += lsb_notes(points, {macro for point in points for macro in macros_at(point)})

    def run(self, say: Callable[[str], None] = lambda line: None, progress: bool = True) -> Diagnosis:
        """Find the cheapest plans, and prove them; `say` takes a message about each step."""
        said = findings(self._work.model, (batch[0] for batch in self._batches()), len(self._places))
        count = sum(len(each.candidates) for each in self._families)
        say(f"plans    {count:,}, of which the likely ones are looked for")
        families = self._screens.run(screening(self._families, self._margin_of), _PLANS, say, progress)
        for family in families:
            if family.cheapest is None and family.tried:
                short = -max(margin for _, margin in family.tried)
                by = f"{100 * short:.1f} points" if self.target.measure.is_share else f"{short:.3g}"
                self.notes.append(f"no plan of {family.name} is likely to be proved: the nearest misses by {by}")
        as_is, plans, digital, gap = self._proved(families, say, progress)
        return Diagnosis(self.target, as_is, plans, self._map, tuple(said), tuple(self.notes), gap, digital)

    def _batches(self, images: int | None = None) -> Iterator[tuple[Any, Any, Tensor]]:
        """Inputs, targets and indices of the first images of the map."""
        yield from loader_of(self._work.data.test_dataloader(), self._places[:images])

    def _kept(self, say: Callable[[str], None]) -> LossMap:
        """The known map, the map of an earlier command, or a new one."""
        work = self._work
        records = Records(work, [], "doctor", places=self._places)
        records.points.add({}, "simulated")
        records.open(has_table=False)
        made_for = digest_of([records.points.digest({}, "simulated"), records.settings["weights"]])
        if self._known is not None:
            if self._known.made_for not in ("", made_for):
                self.notes.append("the map is of another macro or of other weights: its loss is not this network's")
            return self._known
        loss = loss_of(work.model, work.data) if work.trainer.is_global_zero else ""
        key = f"{records.key({}, 'simulated')} {self._places} {loss}"
        if work.trainer.is_global_zero and not work.fresh and (known := records.store.read(_MAPS, key)) is not None:
            say("map      of an earlier run")
            return LossMap.of_json(known)
        say(f"map      of the loss of {len(self._places):,} images, by path attribution")
        with kept_assignments(work.model.backbone):
            factor = self._step_back()  # to noise and spreads that leave something to rank
            found = loss_map(work.model, self._batches(), range(_MAPPED_CHIPS), self._changes())
        found = replace(found, stepped_back_to=factor, made_for=made_for)
        if work.trainer.is_global_zero:
            records.store.write(_MAPS, key, found.to_json())
        return found

    def _changes(self) -> dict[str, list[Fields]]:
        """Changes of each layer to try, with an ADC range that fits the layer's counts."""
        layers = self._layers.items()
        lossy = {name: each for name, each in layers if any(c.counts_a_code > 1 for c in each.transfer.cycles)}
        images = (batch[0] for batch in self._batches())
        counts, _ = layer_counts(self._work.model, lossy, images, _RANGED, "test") if lossy else ({}, "")
        ranges = {name: [fitted_range(name, lossy[name], each).fields] for name, each in counts.items()}
        return {name: changes_of(layer, ranges.get(name, ())) for name, layer in layers}

    def _step_back(self) -> float | None:
        """Lower the noise and the spreads of all layers until the loss has risen by about a nat; return the factor."""
        if not self._increase(1.0)[1]:
            return None
        if self._increase(0.0)[0] > _STEPPED[1]:
            self._increase(1.0)
            self.notes.append("the network has collapsed without noise and spreads too, and no ranking of layers helps")
            return None
        low, high, tried = _LEAST_FACTOR, 1.0, dict[float, float]()
        for _ in range(_BISECTIONS):
            factor = sqrt(low * high)
            tried[factor], _ = self._increase(factor)
            if _STEPPED[0] <= tried[factor] <= _STEPPED[1]:
                break
            low, high = (low, factor) if tried[factor] > _STEPPED[1] else (factor, high)
        nearest = min(tried, key=lambda each: abs(tried[each] - 1.0))
        self._increase(nearest)  # leaves the layers at this factor
        return nearest

    def _increase(self, factor: float) -> tuple[float, bool]:
        """Give all layers their noise and spreads times a factor. Return how much the macro then raises the loss of the
        first images, nats, and whether the network has collapsed."""
        for name, layer in self._layers.items():
            macro = self._own[name].macro
            layer.assignment = self._own[name].ruled_by(scaled(spreads_of(macro), macro).axes(factor))
        model, images = self._work.model, 0
        sums = {"quantized": np.zeros(2), "simulated": np.zeros(2)}  # of the loss, and of the outcomes
        for inputs, targets, ids in self._batches(_STEPPING):
            images += len(ids)
            for fidelity in sums:
                with under(model, Condition(fidelity)), torch.no_grad():
                    answers = model.answered((inputs.to(model.device), targets.to(model.device), ids))[:2]
                loss, values = model.outcome.loss(*answers), model.outcome.numbers(*answers)["value"]
                sums[fidelity] += [len(ids) * float(loss), float(values.sum())]
        increase = float(sums["simulated"][0] - sums["quantized"][0]) / images
        is_lost = model.outcome.is_share and sums["simulated"][1] < _LOST * sums["quantized"][1]
        return increase, bool(increase > _COLLAPSED or is_lost)

    def _likely(self) -> Iterator[Family]:
        """Changes of single layers, of the macro of all layers, and of this macro with each other checkpoint."""
        base, figures = next(iter(self._layers.values())).assignment.base, self._figures
        for name, digital in _OF_LAYERS.items():
            yield Family(name, name, prescriptions(self._layers, self._map, figures, digital))
        plain = changes_of_macro(base, figures)
        yield Family("all layers alike", "macro", plain)
        if base.static.trim == "none" and (base.static.is_set("offset") or base.static.is_set("gain")):
            yield Family("all layers alike and trimmed", "trimmed", changes_of_macro(base, figures, trims=True))
            self.notes.append("the energy of a trim is not counted")
        yield Family("digital positions of all layers alike", "positions", changes_of_positions(base, figures))
        yield Family("fewer bits of all layers alike", "bits", changes_of_bits(base, figures))
        for name in self.settings.checkpoints:
            others = [replace(each, point={**each.point, CHECKPOINT: name}) for each in plain]
            yield Family(f"all layers alike with the weights of {name}", name, others)

    def _study(self, work: Work, chips: range, places: range, proves: bool) -> PlanStudy:
        return PlanStudy(work, self.settings, self._figures, self._families, chips, places, proves)

    def _margin_of(self, result: Result) -> float:
        """How much the proof, with its images or chips, would exceed the target if the mean stays."""
        decision = result.decisions[str(self.target)]
        if self.target.form == "yield":
            chips, least = self.settings.chips, self.target.value
            good = (good for good in range(chips + 1) if sequence_decides(good, chips, least))
            return decision.mean - next(good, chips + 1) / chips  # with these good chips it is surely kept
        return decision.margin - decision.reaches[0] * sqrt(result.images / len(self._proof_places))

    def _proved(
        self, families: Sequence[Family], say: Callable[[str], None], progress: bool
    ) -> tuple[Plan, tuple[Plan, ...], Plan, float | None]:
        """Measure the macro as it is, the cheapest plans, and a purely digital macro, on other images, noise and chips;
        return also the gap."""
        settings, model = self.settings, self._proof.model
        seed = model.noise_seed
        model.noise_seed = (seed + 1) % 2**32
        try:
            chips = range(_FIRST_PROVED, _FIRST_PROVED + self._chips)
            study = self._study(self._proof, chips, self._proof_places, proves=True)
            say("proof    of the cheapest likely plans, on other images, noise and chips")
            tried = study.run(proving(families, settings.plans), _PLANS, say, progress)
        finally:
            model.noise_seed = seed
        # the last of each kind; another plan without axes is the macro as it is
        last = {family: result for family, _, result in tried if result.axes or not family}
        if more := len(tried) - len({family for family, _, _ in tried}):
            self.notes.append(f"plans tried on the same images besides these: {more}; each interval is of one plan")
        different = {canonical_json(each.axes): each for each in last.values()}
        first, *rest = different.values()
        rest.sort(key=lambda each: -each.decisions[str(self.target)].margin)
        as_is, *plans = (plan_of(model, each, each.decisions[str(self.target)]) for each in (first, *rest))
        kept = sorted((each for each in plans if each.verdict == "kept"), key=lambda each: each.energy_uj)
        others = [each for each in plans if each.verdict != "kept"]
        self.notes += interval_notes(list(different.values()))
        self.notes += near_notes([self.target], [study.references["quantized"]])
        gaps = {family: gap for family, gap, _ in tried if gap is not None}
        if gaps:
            most = ", ".join(f"{family} {100 * gap:.2g} %" for family, gap in gaps.items())
            options = "digital positions, votes, ADC bits and ADC ranges"
            self.notes.append(f"energy above the cheapest combination of {options}, at most: {most}")
        return as_is, (*kept, *others), plan_of_digital(model, study), [None, *gaps.values()][-1]
