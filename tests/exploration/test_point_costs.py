"""What the points of a sweep cost: next to accuracies in the table and in results.csv."""

import json
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from asim_lightning.circuit import MacroConfig
from asim_lightning.circuit.schedule import Cycle
from asim_lightning.cost import ActiveCells, ConversionEnergy, EnergyModel, Technology, cost
from asim_lightning.evaluation.run import are_among, read_run
from asim_lightning.evaluation.store import Store
from asim_lightning.exploration.methods import Point
from asim_lightning.exploration.point_costs import CostFigures, write_layers
from asim_lightning.exploration.publish import publish
from asim_lightning.surgery import change_macros_
from tests.exploration.conftest import Make, grid, made_up, rows


class Thermal(EnergyModel):
    """A converter of less noise takes more."""

    def conversion(self, macro: MacroConfig, cycle: Cycle, active: ActiveCells | None = None) -> ConversionEnergy:
        one = super().conversion(macro, cycle, active)
        return ConversionEnergy(one.array, one.adc / (macro.random_noise_percent or 1.0) ** 2, one.drivers)


def run_of(points: Sequence[Point], folder: Path) -> Any:
    """The folder of a run with some points."""
    store = Store(folder.parent)
    return SimpleNamespace(results=lambda: map(made_up, points), path=folder, write=partial(store.write, folder.name))


def test_a_users_model_of_energies_may_follow_noise(make: Make, tmp_path: Path) -> None:
    figures = CostFigures(make().model, Technology(energy_model=f"{__name__}.Thermal"))
    at = [figures.at({"random_noise": noise}, "simulated")["energy_uj"] for noise in (0.1, 0.2, 0.1)]
    assert at[0] == at[2] > 2 * at[1]
    write_layers(figures, run_of([{"random_noise": noise, "checkpoint": "a"} for noise in (0.1, 0.2)], tmp_path / "a"))
    designs = json.loads((tmp_path / "a" / "layers.json").read_text())["designs"]
    assert [each["axes"] for each in designs] == [{"random_noise": 0.1}, {"random_noise": 0.2}]


def test_macro_fields_change_a_cost_and_noise_and_chips_do_not(make: Make) -> None:
    model = make().model
    figures = CostFigures(model, Technology())
    base = figures.at({}, "simulated")
    assert figures.at({"random_noise": 0.3, "chip": 4}, "simulated") == base
    fewer = figures.at({"adc_bits": 6}, "simulated")
    assert fewer["energy_uj"] < base["energy_uj"]
    assert fewer["latency_ms"] == base["latency_ms"]
    assert figures.at({"rules.layer1.*.adc_bits": 6}, "simulated")["energy_uj"] < base["energy_uj"]
    assert figures.at({"static.columns_per_adc": 2}, "simulated")["latency_ms"] == pytest.approx(2 * base["latency_ms"])
    change_macros_(model.backbone, adc_bits=6)
    expected = cost(model.backbone, example=model.example)
    assert fewer["energy_uj"] == pytest.approx(1e-9 * expected.energy.total)
    assert fewer["latency_ms"] == pytest.approx(1e3 * expected.latency)
    assert fewer["tops_per_watt"] == pytest.approx(expected.tops_per_watt)


def test_a_quantized_network_is_priced_in_a_digital_macro_and_a_float_one_is_not(make: Make) -> None:
    model = make().model
    figures = CostFigures(model, Technology())
    expected = cost(model.backbone, example=model.example)
    found = figures.at({}, "quantized")
    assert found["energy_uj"] == pytest.approx(1e-9 * expected.all_digital)
    assert found["tops_per_watt"] == pytest.approx(2e3 * expected.done.macs / expected.all_digital)
    assert "latency_ms" not in found
    assert figures.at({}, "float") == {}


def test_a_technology_that_asks_for_counts_is_refused_before_the_work(make: Make) -> None:
    with pytest.raises(ValueError, match=r"`technology.charging` must be fixed in a sweep or search, .* got 'ground'"):
        make(settings={"technology": Technology(charging="ground")})


def test_costs_stand_in_the_table_and_in_results_csv(make: Make) -> None:
    """Of a sweep that goes on, with the technology that is asked for now; axes are read back as they were."""
    axes = grid(adc_bits=[6, 8])
    plain = make(axes, trials=1).run()
    sweep = make(axes, trials=1, settings={"technology": Technology(preset="65nm")})
    results, figures = sweep.run(), sweep.costs
    assert [row.axes for row in read_run(sweep.folder).results] == [row.axes for row in plain]
    written = {(row["kind"], row["adc_bits"]): row for row in rows(sweep.folder)}
    assert written["float", ""]["energy_uj"] == ""
    assert written["quantized", ""]["latency_ms"] == ""
    assert float(written["simulated", "6"]["energy_uj"]) == pytest.approx(
        figures.at({"adc_bits": 6}, "simulated")["energy_uj"], rel=1e-5
    )
    assert "95 % interval  energy (uJ)  latency (ms)  TOPS/W  trials" in publish(results, sweep.made, "tiny")


def test_layers_of_each_design_are_kept_for_a_report(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    axes = grid(adc_bits=[6, 8], random_noise=[0, 0.1])
    sweep = make(axes, trials=1)
    sweep.run()
    found = read_run(sweep.folder)
    assert [design["axes"] for design in found.designs] == [{"adc_bits": 6}, {"adc_bits": 8}]  # noise changes none
    for point in found.of_kind("simulated"):
        (design,) = (design for design in found.designs if are_among(design["axes"], point.axes))
        energy = sum(layer["energy_pj"] for layer in design["layers"])
        assert 1e-6 * energy == pytest.approx(point.figures["energy_uj"], rel=1e-5)
    assert found.designs[0]["layers"][0]["why_digital"] == "first convolution: digital"
    monkeypatch.setattr("asim_lightning.exploration.point_costs._MOST_DESIGNS", 1)
    sweep.run()
    assert read_run(sweep.folder).designs == ()
    assert not (sweep.folder / "layers.json").exists()


def test_layers_follow_the_technology_of_a_search_and_no_checkpoint(make: Make, tmp_path: Path) -> None:
    points = [{"technology.supply": volts, "checkpoint": name} for volts in (0.8, 0.9) for name in ("a", "b")]
    write_layers(CostFigures(make().model, Technology()), run_of(points, tmp_path / "a"))  # type: ignore[arg-type]
    low, high = (design["layers"] for design in json.loads((tmp_path / "a" / "layers.json").read_text())["designs"])
    assert low[1]["array_pj"] == pytest.approx((0.8 / 0.9) ** 2 * high[1]["array_pj"])
