"""Cost of a network at a point: energy, latency and TOPS/W under a condition."""

import json
from collections.abc import Mapping
from typing import Any

from asim_lightning.classifier.network import CimModule
from asim_lightning.cost import CostReport, Technology, cost, network_shape
from asim_lightning.evaluation.axis_settings import CHECKPOINT, CHIP, NOISE_AXES, TECHNOLOGY
from asim_lightning.evaluation.condition import under
from asim_lightning.evaluation.results import AxisValue, Kind, canonical_json
from asim_lightning.evaluation.run import LAYERS
from asim_lightning.exploration.axes import condition_at
from asim_lightning.exploration.corners import Corners
from asim_lightning.exploration.run_folder import RunFolder
from asim_lightning.exploration.search_space import of_network, of_technology
from asim_lightning.whole_file import write_whole

_FREE = (CHIP, *NOISE_AXES)
"""Axes that change no cost in the package's energy model."""
_MOST_DESIGNS = 1000
"""Most designs for which costs of each layer are stored: 10 MB for a network of 15 layers."""
FIGURES = ("energy", "latency", "tops_per_watt")
"""Costs that a search may trade."""


class CostFigures:
    """Costs of the points of one network; each design is priced once."""

    def __init__(
        self, model: CimModule, technology: Technology, noise_in: str = "written", corners: Corners = Corners()
    ) -> None:
        self._model, self.technology, self.noise_in, self.corners = model, technology, noise_in, corners
        self._shape = network_shape(model.backbone, model.example)
        self._known: dict[str, tuple[dict[str, float], dict[str, float]]] = {}

    def at(self, axes: Mapping[str, AxisValue], kind: Kind = "simulated") -> dict[str, float]:
        """Energy (uJ an image) with low and high, all-digital energy (uJ), latency (ms) and TOPS/W; if there are
        digital cycles, also the percent of the products of bits on macros that are digital.

        A quantised network is priced on a digital macro, which has no latency here; a float network has no price. A
        technology that needs counts of images is refused.
        """
        if kind == "float":
            return {}
        found = dict(self._priced(axes)[0])
        if kind == "quantized":
            energy, digital = found["energy_uj"], found["all_digital_uj"]
            priced = {f"energy_uj{end}": found[f"all_digital_uj{end}"] for end in ("", "_low", "_high")}
            return {**priced, "tops_per_watt": found["tops_per_watt"] * energy / digital if digital else 0.0}
        return found

    def sizes_at(self, axes: Mapping[str, AxisValue]) -> dict[str, float]:
        """Number of ADCs, and area (mm^2) if the technology knows it, of a simulated point."""
        return self._priced(axes)[1]

    def _priced(self, axes: Mapping[str, AxisValue]) -> tuple[dict[str, float], dict[str, float]]:
        """Costs and sizes of a point."""
        key = canonical_json(self.deciding(axes))
        if key not in self._known:
            report = self.report(axes)
            area = {} if report.area is None else {"area_mm2": report.area}
            self._known[key] = _figures_of(report), {"adcs": float(report.converters), **area}
        return self._known[key]

    def deciding(self, axes: Mapping[str, AxisValue]) -> dict[str, AxisValue]:
        """The axes on which a cost may depend: noise and chip only if the user's energy model may use them."""
        named = f"{TECHNOLOGY}energy_model" in self.corners.at(axes)
        own = named or self.technology.energy_model != Technology().energy_model
        free = () if own else _FREE
        return {name: value for name, value in axes.items() if name != CHECKPOINT and name.split(".")[-1] not in free}

    def report(self, axes: Mapping[str, AxisValue]) -> CostReport:
        """The cost of one image at a point, by layer."""
        axes = self.corners.at(axes)
        fields: dict[str, Any] = of_technology(axes)
        model, technology = self._model, self.technology.with_fields(**fields)
        if technology.charging != "fixed":
            raise ValueError(
                f"`technology.charging` must be fixed in a sweep or search, which keeps no counts, got "
                f"{technology.charging!r}; asim cost takes it"
            )
        with under(model, condition_at(of_network(self.deciding(axes)), "simulated", noise_in=self.noise_in)):
            return cost(model.backbone, technology, report=model.report, shape=self._shape)

    def __str__(self) -> str:
        """The assumptions of the costs, in a line."""
        t = self.technology
        analog = f"{t.factor:g} for analog parts ({t.source('factor')})"
        analog += "; your `adc_pj` is exact" if t.adc_pj is not None else ""
        is_changed = any(name.startswith(TECHNOLOGY) for each in self.corners.fields.values() for name in each)
        changed = ", which corners change" if is_changed else ""
        return (
            f"cost     of an image at {t} (technology {t.preset}{changed}). Ranges of energy are typical errors and no "
            f"bounds: factors of {analog}, and of {t.digital_factor:g} for digital parts. The quantized network is "
            "priced on a digital macro"
        )


def _figures_of(found: CostReport) -> dict[str, float]:
    low, high = found.energy_range
    digital_low, digital_high = found.all_digital_range
    percent = found.on_macro.digital_percent
    return {
        "energy_uj": 1e-9 * found.energy.total,
        "energy_uj_low": 1e-9 * low,
        "energy_uj_high": 1e-9 * high,
        "all_digital_uj": 1e-9 * found.all_digital,
        "all_digital_uj_low": 1e-9 * digital_low,
        "all_digital_uj_high": 1e-9 * digital_high,
        "latency_ms": 1e3 * found.latency,
        "tops_per_watt": found.tops_per_watt or 0.0,
        **({"digital_percent": percent} if percent else {}),
    }


def write_layers(figures: CostFigures, folder: RunFolder) -> None:
    """Write layers.json: the cost of each layer for one image at each design of a run; the store keeps the costs, too.

    If there are more than `_MOST_DESIGNS` designs, nothing is written, and the file of an earlier call is removed.
    """
    path, designs = folder.path / LAYERS, dict[str, dict[str, AxisValue]]()
    for point in folder.results():
        if point.kind == "simulated":
            axes = figures.deciding(point.axes)
            designs.setdefault(canonical_json(axes), axes)
    if len(designs) > _MOST_DESIGNS:
        path.unlink(missing_ok=True)
        folder.write(LAYERS, [])
        return
    found = [{"axes": axes, "layers": figures.report(axes).rows()} for axes in designs.values()]
    folder.write(LAYERS, found)
    text = json.dumps({"designs": found}, allow_nan=False) + "\n"
    write_whole(path, lambda file: file.write(text.encode()))
