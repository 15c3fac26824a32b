"""The map of the loss of a network for the doctor: from the store, or made after a step back to less noise."""

import secrets
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from math import sqrt
from typing import Any

import numpy as np
import torch
from torch import Tensor

from asim_lightning.data.given import with_indices
from asim_lightning.evaluation.attribution import Fields, loss_map
from asim_lightning.evaluation.condition import Condition, under
from asim_lightning.evaluation.evaluate import loader_of
from asim_lightning.evaluation.layer_inputs import layer_counts
from asim_lightning.evaluation.loss_map import LossMap
from asim_lightning.evaluation.results import digest_of
from asim_lightning.evaluation.store import Store
from asim_lightning.exploration.answers import loss_of
from asim_lightning.exploration.fingerprint import fingerprint
from asim_lightning.exploration.needed_images import Images
from asim_lightning.exploration.point import Points
from asim_lightning.exploration.prescription import changes_of
from asim_lightning.exploration.runner import Work
from asim_lightning.exploration.spec import scaled, spreads_of
from asim_lightning.exploration.study import Say
from asim_lightning.exploration.trials import Trials
from asim_lightning.nn import Assignment, OnMacro
from asim_lightning.nn.count_histograms import fitted_range
from asim_lightning.nn.inputs import moved
from asim_lightning.surgery import kept_assignments

_MAPPED_CHIPS = 2
_MAPS = "maps of the loss"
"""Key of the maps in the store."""
_RANGED, _STEPPING, _BISECTIONS = 100, 100, 7
"""Images that ADC ranges are fitted to, images that a step back looks at, and most bisections of a step back."""
_LEAST_FACTOR = 1e-3
_COLLAPSED, _LOST, _STEPPED = 3.0, 0.25, (0.6, 1.4)
"""The network has collapsed beyond this increase of the loss in nats, or below this share of right answers. Noise and
spreads are then lowered until the increase is in the range."""


@dataclass(frozen=True, eq=False)
class MapMaker:
    """Maps the loss of a network on some of its samples.

    Attributes:
        work: Network, data and trainer.
        layers: The layers on macros, by full name.
        places: Places of the samples in the test loader.
    """

    work: Work
    layers: Mapping[str, OnMacro]
    places: range

    def batches(self, images: int | None = None) -> Iterator[tuple[Any, Any, Tensor]]:
        """Inputs, targets and indices of the first images of the map."""
        yield from loader_of(with_indices(self.work.data.test_dataloader()), self.places[:images])

    def run(self, given: LossMap | None, say: Say) -> tuple[LossMap, list[str]]:
        """The given map, the map of an earlier command, or a new one; and notes on it."""
        work = self.work
        store, points = Store(work.folder), Points(work.model)
        made = fingerprint(work.model, work.data, work.trainer, [])
        made_for = digest_of([points.digest({}, "simulated"), made.settings["weights"]])
        if given is not None:
            is_other = given.made_for not in ("", made_for)
            other = "the map is of another macro or of other weights: its loss is not this network's"
            return given, [other] * is_other
        trials = Trials(work, store, points, Images.of(work, places=self.places), made, secrets.token_hex())
        loss = loss_of(work.model, work.data, work.trainer) if work.trainer.is_global_zero else ""
        key = f"{trials.key({}, 'simulated')} {self.places} {loss}"
        if work.trainer.is_global_zero and not work.fresh and (known := store.read(_MAPS, key)) is not None:
            say("map      of an earlier run")
            return LossMap.of_json(known), []
        say(f"map      which layers lose the answers of {len(self.places):,} images, by path attribution")
        with kept_assignments(work.model.backbone):
            factor, notes = self._step_back()  # to noise and spreads that leave something to rank
            mapped = loss_map(work.model, self.batches(), range(_MAPPED_CHIPS), self._changes())
        mapped = replace(mapped, stepped_back_to=factor, made_for=made_for)
        if work.trainer.is_global_zero:
            store.write(_MAPS, key, mapped.to_json())
        return mapped, notes

    def _changes(self) -> dict[str, list[Fields]]:
        """Changes of each layer to try, with an ADC range that fits the layer's counts."""
        layers = self.layers.items()
        lossy = {name: each for name, each in layers if any(c.counts_a_code > 1 for c in each.transfer.cycles)}
        images = (batch[0] for batch in self.batches())
        counts, _ = layer_counts(self.work.model, lossy, images, _RANGED, "test") if lossy else ({}, "")
        ranges = {name: [fitted_range(name, lossy[name], each).fields] for name, each in counts.items()}
        return {name: changes_of(layer, ranges.get(name, ())) for name, layer in layers}

    def _step_back(self) -> tuple[float | None, list[str]]:
        """Lower the noise and the spreads of all layers until the loss has risen by about a nat; return the factor, and
        notes."""
        own = {name: layer.assignment for name, layer in self.layers.items()}
        if not self._increase(own, 1.0)[1]:
            return None, []
        if self._increase(own, 0.0)[0] > _STEPPED[1]:
            self._increase(own, 1.0)
            return None, ["the network has collapsed without noise and spreads too, and no ranking of layers helps"]
        low, high, tried = _LEAST_FACTOR, 1.0, dict[float, float]()
        for _ in range(_BISECTIONS):
            factor = sqrt(low * high)
            tried[factor], _ = self._increase(own, factor)
            if _STEPPED[0] <= tried[factor] <= _STEPPED[1]:
                break
            low, high = (low, factor) if tried[factor] > _STEPPED[1] else (factor, high)
        nearest = min(tried, key=lambda each: abs(tried[each] - 1.0))
        self._increase(own, nearest)  # leaves the layers at this factor
        return nearest, []

    def _increase(self, own: Mapping[str, Assignment], factor: float) -> tuple[float, bool]:
        """Give all layers their noise and spreads times a factor. Return how much the macro then raises the loss of the
        first images, nats, and whether the network has collapsed."""
        for name, layer in self.layers.items():
            macro = own[name].macro
            layer.assignment = own[name].ruled_by(scaled(spreads_of(macro), macro).axes(factor))
        model, images = self.work.model, 0
        sums = {"quantized": np.zeros(2), "simulated": np.zeros(2)}  # of the loss, and of the outcomes
        for inputs, targets, ids in self.batches(_STEPPING):
            images += len(ids)
            for fidelity in sums:
                with under(model, Condition(fidelity)), torch.no_grad():
                    answers = model.answered(moved((inputs, targets, ids), model.device))[:2]
                loss, values = model.outcome.mean_loss(*answers), model.outcome.numbers(*answers)["value"]
                sums[fidelity] += [len(ids) * float(loss), float(values.sum())]
        increase = float(sums["simulated"][0] - sums["quantized"][0]) / images
        is_lost = model.outcome.is_share and sums["simulated"][1] < _LOST * sums["quantized"][1]
        return increase, bool(increase > _COLLAPSED or is_lost)
