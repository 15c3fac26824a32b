"""A doctor's plans are kept or not on images, noise and chips of their own, and a second call computes nothing."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

import asim_lightning
from asim_lightning import MacroConfig, Plan, Rule, convert_
from asim_lightning.backbone.small_gpt import SmallGPT
from asim_lightning.circuit import transfer
from asim_lightning.classifier.network import GivenNetwork
from asim_lightning.cost import Technology, cost
from asim_lightning.evaluation.binomial import sequence_interval
from asim_lightning.evaluation.condition import under
from asim_lightning.evaluation.loss_map import LossMap
from asim_lightning.evaluation.results import Decision, Result
from asim_lightning.exploration.axes import condition_at, flat, nested, recipe_of
from asim_lightning.exploration.corners import Corners
from asim_lightning.exploration.diagnosis import Diagnosis, plan_of
from asim_lightning.exploration.doctor import open_doctor
from asim_lightning.exploration.plan_study import DoctorSettings
from asim_lightning.exploration.point_costs import CostFigures
from asim_lightning.exploration.prescription import (
    Prices,
    changes_of_bits,
    changes_of_macro,
    changes_of_positions,
    prescriptions,
)
from asim_lightning.exploration.runner import Work
from asim_lightning.surgery import macro_layers
from asim_lightning.surgery.families import pattern_of
from tests.conftest import rows_of
from tests.exploration.conftest import small_work, stored, trials
from tests.exploration.own_network import MACRO, own_images, own_network

NOISY = MACRO.with_fields(random_noise=1.0, static={})
RULES = [Rule("head", {"adc_bits": 6})]


def work(folder: Path, macro: MacroConfig = NOISY, rules: Sequence[Rule] = (), **trainer: Any) -> Work:
    return small_work(folder, macro, rules, 80, **trainer)


def doctor(made: Work, target: str = "accuracy 60 %", known: LossMap | None = None, **settings: Any) -> Diagnosis:
    given = {"images": 20, "proof_images": 60, **settings}
    return open_doctor(made, DoctorSettings(target, **given), Technology(), known).run(progress=False)


def test_plans_are_proved_and_are_recipes_and_a_second_call_computes_nothing(tmp_path: Path) -> None:
    of = work(tmp_path, rules=RULES)
    found = doctor(of)
    kept = [each for each in found.plans if each.verdict == "kept"]
    assert found.as_is.verdict == "missed"
    assert kept
    assert kept == sorted(kept, key=lambda each: each.energy_uj) == list(found.plans[: len(kept)])
    assert all(each.low >= each.threshold == 0.6 for each in kept)
    images = {tuple(each.sample_index) for each in trials(tmp_path).values()}
    assert images == {tuple(range(20)), tuple(range(20, 80))}  # of the choice, and of the proof

    layers, figures = macro_layers(of.model.backbone), CostFigures(of.model, Technology())
    for each in prescriptions(layers, found.map, Prices(figures), "none")[:3]:
        with under(of.model, condition_at(each.point, "simulated")):
            assert energy(of) == pytest.approx(each.price)
    for plan in found.plans:
        recipe = recipe_of(of.model, plan.macro, plan.rules, "weights")
        assert recipe["ckpt_path"] == "weights"
        settings = recipe["model"]["plan"]
        rules = [Rule(**each) for each in settings["rules"]]
        assert energy(work(tmp_path, MacroConfig(**settings["macro"]), rules)) == pytest.approx(plan.energy_uj)

    before = stored(tmp_path)
    known = replace(found.map, images=7)
    assert doctor(work(tmp_path, rules=RULES), known=known) == replace(found, map=known)
    assert doctor(work(tmp_path, rules=RULES)) == found
    others = doctor(work(tmp_path, rules=RULES), known=replace(known, made_for="another macro")).notes
    assert any(note.startswith("the map is of another macro") for note in others)
    assert doctor(work(tmp_path, rules=RULES), known=replace(known, made_for="")).notes == found.notes
    assert stored(tmp_path) == before


def energy(of: Work) -> float:
    return 1e-9 * cost(of.model.backbone, example=of.model.example).energy.total


def test_the_map_of_a_network_that_has_collapsed_is_of_less_noise(tmp_path: Path) -> None:
    found = doctor(work(tmp_path, NOISY.with_fields(random_noise=8)), proof_images=20)
    assert found.map.stepped_back_to is not None
    assert found.map.stepped_back_to < 0.1
    assert 0.1 < found.map.increase < 3
    assert "because the network has collapsed" in str(found)
    assert "no plan of all layers alike is likely" in " ".join(found.notes)


def test_a_macro_that_is_coarse_as_a_whole_is_named_first(tmp_path: Path) -> None:
    macro = NOISY.with_fields(rows=1152, random_noise="8 lsb", adc_bits=6)
    found = doctor(work(tmp_path, macro), "accuracy 60 %", proof_images=20)
    first = found.findings[0]
    assert first.kind == "coarse"
    assert str(found).startswith(first.text)
    lsb = 1152 / 63
    assert first.numbers["lsb"] == pytest.approx(lsb)
    assert first.numbers["noise"] == pytest.approx(8 * lsb)
    fine = doctor(work(tmp_path, NOISY), "accuracy 60 %", proof_images=20)
    assert "coarse" not in {each.kind for each in fine.findings}


def test_changes_of_all_layers_are_priced_and_keep_half_of_the_cycles_analog(tmp_path: Path) -> None:
    of = work(tmp_path, macro := NOISY.with_fields(weight_bits=6, input_bits=6))
    figures = CostFigures(of.model, Technology())
    for changes, names in (
        (changes_of_macro, {"adc_bits", "rows", "encoding_bits"}),
        (changes_of_positions, {"adc_bits", "encoding_bits", "digital_levels"}),
        (changes_of_bits, {"adc_bits", "rows", "encoding_bits", "weight_bits", "input_bits"}),
    ):
        found = changes(macro, Prices(figures))
        assert {name for each in found for name in each.point} - {"digital_adc"} == names
        assert [each.price for each in found] == sorted(figures.at(each.point)["energy_uj"] for each in found)
        if changes is changes_of_positions:
            cycles = [transfer(macro.with_fields(**each.point), False).cycles for each in found]
            assert all(2 * sum(one.analog for one in each) >= len(each) for each in cycles)
            least = min(found, key=lambda each: each.strength[-1])  # the weakest has the fewest digital positions
            assert least.point["digital_levels"] == 1


def test_ranges_have_the_noise_of_the_macro_and_not_of_the_map(tmp_path: Path) -> None:
    macro = NOISY.with_fields(random_noise="12 lsb", rows=256)  # of which the map steps back
    of = work(tmp_path, macro)
    made = open_doctor(of, DoctorSettings("accuracy 60 %", images=20, proof_images=20))
    assert made.mapped.stepped_back_to is not None
    layers, figures = macro_layers(of.model.backbone), CostFigures(of.model, Technology())
    ranged = [
        (name, value)
        for plan in prescriptions(layers, made.mapped, Prices(figures), "none")
        for name, value in plan.point.items()
        if name.endswith(".random_noise")
    ]
    assert ranged
    assert all(value == pytest.approx(100 * 12 / 127) for _, value in ranged)


def test_plans_are_kept_at_every_corner_and_the_energy_is_the_largest(tmp_path: Path) -> None:
    given = {"tt": {}, "ss": {"macro.random_noise": 2.0, "technology.supply": 0.81}, "ff": {"technology.supply": 0.99}}
    of = replace(work(tmp_path), corners=Corners.read(given))
    found = doctor(of, "accuracy 55 %")
    assert str(found.target) == "accuracy 55 % at every corner"
    kept = [each for each in found.plans if each.verdict == "kept"]
    assert kept
    assert found.as_is.verdict == "missed"
    for each, name in ((found.as_is, "energy"), (found.digital, "all_digital")):
        energies = []
        for corner in of.corners.fields.values():
            technology = Technology(supply=corner.get("technology.supply", 0.9))
            found_here = cost(of.model.backbone, technology, example=of.model.example)
            energies.append(1e-9 * (found_here.all_digital if name == "all_digital" else found_here.energy.total))
        assert each is not None
        assert each.energy_uj == pytest.approx(max(energies))
    designs = dict[tuple[str, ...], dict[str, float]]()
    for row in [row for file in tmp_path.glob("doctor-*/results.csv") for row in rows_of(file)]:
        if row["kind"] == "simulated":
            axes = tuple(value for name, value in row.items() if name in list(row)[1 : list(row).index("kind")])
            designs.setdefault(axes, {})[row["corner"]] = float(row["energy_uj"])
    assert {frozenset(each) for each in designs.values()} == {frozenset(given)}
    largest = {f"{max(each.values()):.6g}" for each in designs.values()}
    assert {f"{each.energy_uj:.6g}" for each in (found.as_is, *found.plans)} <= largest
    before = stored(tmp_path)
    assert doctor(of, "accuracy 55 %").plans == found.plans
    assert stored(tmp_path) == before
    assert "are screened and proved at tt, ss, ff" in str(found)


def test_a_doctor_at_corners_needs_noise_that_is_no_lsb(tmp_path: Path) -> None:
    for noise, other in ((1.0, "0.3 lsb"), ("0.3 lsb", 1.0)):
        of = work(tmp_path, NOISY.with_fields(random_noise=noise))
        of = replace(of, corners=Corners.read({"ss": {"macro.random_noise": other}}))
        with pytest.raises(ValueError, match=r"`macro.random_noise` must be in % or mV if corners .*, got '0.3 lsb'"):
            doctor(of)


def test_a_target_on_a_loss(tmp_path: Path) -> None:
    network = own_network(macro=NOISY)
    found = asim_lightning.doctor(network, own_images(80), "loss within 30 % of quantized", outcome="loss", images=20)
    assert found.as_is.less_is_better
    assert found.as_is.verdict == "missed"
    assert all(each.high <= each.threshold for each in found.plans if each.verdict == "kept")
    assert not any(note.startswith("the map is of the cross-entropy") for note in found.notes)
    digital = found.digital
    assert digital is not None
    assert (digital.mean, digital.low, digital.high, digital.verdict) == (0.0, 0.0, 0.0, "kept")
    assert digital.energy_uj == pytest.approx(1e-9 * cost(network).all_digital)


@pytest.mark.slow
def test_chips_of_a_yield(tmp_path: Path) -> None:
    macro = NOISY.with_fields(random_noise=0, static={"offset": "4 lsb"})
    found = doctor(work(tmp_path, macro), "yield 0.5 at 60 %", chips=12)
    assert found.as_is.verdict == "missed"
    assert found.plans[0].verdict == "kept"
    assert "the energy of a trim is not counted" in found.notes
    assert any("offset and gain trimmed" in each.text for each in found.plans)
    # outcomes end the chips, so the bounds are sequential
    assert any(found.as_is.high == pytest.approx(sequence_interval(0, chips)[1]) for chips in range(2, 13))


def test_other_weights_and_other_samples_that_prove() -> None:
    network, (images, labels) = own_network(macro=NOISY), own_images(20)
    own, wrong = {name: value.clone() for name, value in network.state_dict().items()}, (images, (labels + 1) % 4)
    given = {"proof_data": wrong, "proof_images": 12, "images": 20, "weights": {"same": own}}
    found = asim_lightning.doctor(network, (images, labels), "accuracy 60 %", **given)
    assert all(each.mean < 0.5 for each in (found.as_is, *found.plans))
    (same,) = [each for each in found.plans if each.checkpoint == "same"]
    (macro,) = [each for each in found.plans if not each.checkpoint and each.macro == same.macro]
    assert (same.mean, same.energy_uj) == (macro.mean, macro.energy_uj)
    assert same.text == f"{macro.text}; weights of same"
    assert found.plans[0].text in str(found)
    assert found.plot("a map").figure.get_suptitle() == "a map"


@pytest.mark.parametrize(
    ("digital", "text"),
    [
        (["up"], "blocks.*.up: digital"),
        (["up", "down"], "blocks.*.up, blocks.*.down: digital"),
        (["up", "down", "proj"], "9 layers: digital"),
    ],
)
def test_a_plan_names_two_kinds_of_layers_and_counts_layers(digital: Sequence[str], text: str) -> None:
    network = SmallGPT(32, 8, width=8, depth=3, heads=2)
    tokens = torch.zeros(1, 4, dtype=torch.int64)
    convert_(network, Plan(MacroConfig(rows=8), input_range="token"), tokens)
    names = [name for name in macro_layers(network) if name.rpartition(".")[2] in digital]
    positions = transfer(MacroConfig(rows=8), False).bit_positions
    axes = {f"rules.{pattern_of(name)}.digital_levels": positions for name in names}
    figures = {f"energy_uj{end}": 1.0 for end in ("", "_low", "_high")}
    result = Result(axes, "simulated", 1, 1, 0.5, 0.4, 0.6, 0.0, "exact", figures=figures)
    assert plan_of(GivenNetwork(network), result, Decision("kept")).text == text


def test_what_is_not_allowed() -> None:
    for wrong in ({"images": 0}, {"chips": 1}):
        with pytest.raises(ValueError, match=f"`{next(iter(wrong))}` must be"):
            DoctorSettings(**wrong)


def test_fields_as_a_recipe_has_them() -> None:
    assert nested({"rows": 8, "static.offset": "1 lsb"}) == {"rows": 8, "static": {"offset": "1 lsb"}}
    assert nested(both := {"static": {"gain": 1}, "static.offset": 2}) == {"static": {"gain": 1, "offset": 2}}
    assert flat(both) == {"static.gain": 1, "static.offset": 2}


def test_plans_with_few_digital_products_change_only_digital_positions(tmp_path: Path) -> None:
    found = doctor(work(tmp_path), least="digital")
    kept = [each for each in found.plans if each.verdict == "kept"]
    assert kept
    assert kept == sorted(kept, key=lambda each: each.digital_percent)
    assert all(0 < each.digital_percent <= 100 for each in kept)
    fields = {name for each in found.plans for name in each.macro}
    fields |= {name for each in found.plans for rule in each.rules for name in rule["macro"]}
    assert fields <= {"digital_levels", "digital_adc", "rows"}  # rows of a layer that is digital as a whole
    assert f"fewest digital products ({kept[0].digital_percent:.3g} %)" in str(found)
