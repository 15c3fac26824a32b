"""What a network costs at a point: energy, latency and TOPS/W under a condition."""

from collections.abc import Mapping
from typing import Any

from asim_lightning.classifier import CimClassifier
from asim_lightning.cost import Technology, cost, network_shape
from asim_lightning.evaluation import Condition, under
from asim_lightning.evaluation.canonical import canonical_json
from asim_lightning.evaluation.results import NOISE_AXES, AxisValue, Kind
from asim_lightning.exploration.axes import condition_at

_FREE = ("chip", *NOISE_AXES)
"""Axes that change no cost."""
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
        self._shape = network_shape(model.backbone, model.example)

    def at(self, condition: Condition, changes: Mapping[str, AxisValue]) -> dict[str, float]:
        """Energy (uJ an image), its ends by the model's factor, all-digital energy (uJ), latency (ms) and TOPS/W.

        Args:
            condition: What the network is simulated under.
            changes: Fields of the technology that differ.

        Raises:
            ValueError: The technology does not take a field, or asks for counts of images.
        """
        fields: dict[str, Any] = dict(changes)
        technology = self._technology.with_fields(**fields)
        if technology.charging != "fixed":
            raise ValueError(
                f"`technology.charging` must be fixed in a sweep or search, which keeps no counts, got "
                f"{technology.charging!r}; asim cost takes it"
            )
        with under(self._model, condition):
            found = cost(self._model.backbone, technology, shape=self._shape)
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


class PointFigures:
    """What the points of a sweep cost: energy (uJ an image), latency (ms) and TOPS/W, as columns of results.csv.

    A quantised network is priced in a digital macro, which has no latency here; a float one is not priced.

    Args:
        model: Converted classifier.
        technology: What figures are computed from.

    Raises:
        ValueError: The technology asks for counts of images, which a sweep does not keep.
    """

    def __init__(self, model: CimClassifier, technology: Technology) -> None:
        self.technology = technology
        self._figures = CostFigures(model, technology)
        self._known: dict[str, dict[str, float]] = {}
        self({}, "simulated")  # refuses before the work

    def __call__(self, axes: Mapping[str, AxisValue], kind: Kind) -> dict[str, float]:
        """Figures of a point; none of a float one.

        Args:
            axes: Values of axes.
            kind: What computes the products.
        """
        if kind == "float":
            return {}
        key = canonical_json({name: value for name, value in axes.items() if name.split(".")[-1] not in _FREE})
        if key not in self._known:
            self._known[key] = self._figures.at(condition_at(axes, "simulated"), {})
        found = self._known[key]
        energy, digital, efficiency = (found[name] for name in ("energy", "all_digital", "tops_per_watt"))
        if kind == "quantized":
            return {"energy_uj": digital, "tops_per_watt": efficiency * energy / digital if digital else 0.0}
        return {"energy_uj": energy, "latency_ms": found["latency"], "tops_per_watt": efficiency}

    def __str__(self) -> str:
        """What the figures rest on, in a line."""
        t = self.technology
        return (
            f"cost     of an image at {t} (technology {t.preset}), typically within {t.factor:g} times of silicon in "
            f"analog parts, {t.digital_factor:g} in digital ones; quantized: in a digital macro"
        )
