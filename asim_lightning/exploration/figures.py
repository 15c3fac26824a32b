"""What a network costs at a point: energy, latency and TOPS/W under a condition."""

from collections.abc import Mapping
from typing import Any

from asim_lightning.classifier import CimClassifier
from asim_lightning.cost import Technology, cost, network_shape
from asim_lightning.evaluation import Condition, under
from asim_lightning.evaluation.results import AxisValue

FIGURES = ("energy", "latency", "tops_per_watt")
"""Figures of a cost that a search may trade."""


class CostFigures:
    """Figures of one network, whose shapes are found once.

    Args:
        model: Converted classifier.
        technology: What they are computed from.
    """

    def __init__(self, model: CimClassifier, technology: Technology) -> None:
        self._model, self._technology = model, technology
        self._shape = network_shape(model.backbone)

    def at(self, condition: Condition, changes: Mapping[str, AxisValue]) -> dict[str, float]:
        """Energy (uJ an image), its ends by the model's factor, all-digital energy (uJ), latency (ms) and TOPS/W.

        Args:
            condition: What the network is simulated under.
            changes: Fields of the technology that differ.

        Raises:
            ValueError: The technology does not take a field, or asks for counts of images.
        """
        fields: dict[str, Any] = dict(changes)
        with under(self._model, condition):
            found = cost(self._model.backbone, self._technology.with_fields(**fields), shape=self._shape)
        low, high = found.energy_range
        digital_low, digital_high = found.all_digital_range
        return {
            "energy": 1e-9 * found.energy.total,
            "energy_low": 1e-9 * low,
            "energy_high": 1e-9 * high,
            "all_digital": 1e-9 * found.all_digital,
            "all_digital_low": 1e-9 * digital_low,
            "all_digital_high": 1e-9 * digital_high,
            "latency": 1e3 * found.latency,
            "tops_per_watt": found.tops_per_watt or 0.0,
        }
