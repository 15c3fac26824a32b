"""A doctor's plans are kept or not on images, noise and chips of their own, and a second call computes nothing."""

from collections.abc import Mapping
from copy import copy
from pathlib import Path
from typing import Any

import pytest
import torch

import asim_lightning
from asim_lightning import Rule
from asim_lightning.cost import Technology, cost
from asim_lightning.evaluation.condition import under
from asim_lightning.evaluation.loss_map import LossMap
from asim_lightning.evaluation.target import Target
from asim_lightning.exploration.axes import condition_at, nested
from asim_lightning.exploration.diagnosis import Diagnosis
from asim_lightning.exploration.doctor import Doctor
from asim_lightning.exploration.plan_study import DoctorSettings
from asim_lightning.exploration.prescription import prescriptions
from asim_lightning.exploration.runner import Work
from tests.exploration.conftest import MACRO, CountingSweep, Make, stored, trials

NOISY = MACRO.with_fields(random_noise=0.5)
TARGET = Target.read("accuracy 60 %", "`target`")


def work(of: CountingSweep, folder: Path, **changes: Any) -> Work:
    data = copy(of.data)
    data.test_images = None
    return Work(of.trainer, of.model, data, folder, **changes)


def doctor(made: Work, target: Target = TARGET, **settings: Any) -> Diagnosis:
    found = Doctor(made, DoctorSettings(target, **{"images": 24, "proof_images": 40, **settings}), Technology())
    found.map_loss()
    return found.run(progress=False)


def test_plans_are_proved_and_are_recipes_and_a_second_call_computes_nothing(make: Make, tmp_path: Path) -> None:
    rules = [Rule("layer1.0.conv1", {"adc_bits": 7})]
    of = make(macro=NOISY, batch=24, rules=rules)
    found = doctor(work(of, tmp_path), images=12)
    kept = [each for each in found.plans if each.verdict == "kept"]
    assert found.as_is.verdict == "missed"
    assert "no plan of all layers alike is likely" in " ".join(found.notes)
    assert kept
    assert kept == sorted(kept, key=lambda each: each.energy_uj) == list(found.plans[: len(kept)])
    assert all(each.low >= each.threshold == 0.6 for each in kept)
    images = {tuple(each.sample_index) for each in trials(tmp_path).values()}
    places = [int(each) for each in of.data.test_split().order]
    assert images == {tuple(sorted(places[:12])), tuple(sorted(places[12:52]))}  # of the choice, and of the proof

    for each in prescriptions(of.model, found.map, with_digital=False)[:3]:
        with under(of.model, condition_at(each.point, "simulated")):
            assert cost(of.model.backbone).energy.total * 1e-9 == pytest.approx(each.energy)
    for plan in found.plans:
        settings: Mapping[str, Any] = plan.recipe["model"]["plan"]
        other = make(
            macro=NOISY.with_fields(**settings.get("macro", {})),
            batch=24,
            rules=[Rule(**each) for each in settings.get("rules", [])] or rules,
        )
        assert cost(other.model.backbone).energy.total * 1e-9 == pytest.approx(plan.energy_uj)

    before = stored(tmp_path)
    again = doctor(work(make(macro=NOISY, batch=24, rules=rules), tmp_path), images=12)
    assert stored(tmp_path) == before
    assert again == found


@pytest.mark.slow
def test_chips_of_a_yield(make: Make, tmp_path: Path) -> None:
    macro = MACRO.with_fields(static={"offset": "2 lsb"})
    target = Target.read("yield 0.5 at 60 %", "`target`")
    found = doctor(work(make(macro=macro, batch=24), tmp_path), target, chips=20)
    assert found.as_is.verdict == "missed"
    assert found.plans[0].verdict == "kept"
    assert "the energy of a trim is not counted" in found.notes
    assert "offset and gain trimmed" in " ".join(each.text for each in found.plans)


@pytest.mark.slow
def test_the_map_of_a_network_that_has_collapsed_is_of_less_noise(make: Make, tmp_path: Path) -> None:
    found = doctor(work(make(macro=MACRO.with_fields(random_noise=8), batch=24), tmp_path))
    assert found.map.stepped_back_to is not None
    assert found.map.stepped_back_to < 1
    assert 0.1 < found.map.increase < 3
    assert any("collapsed" in note for note in found.notes)


@pytest.mark.slow
def test_forked_processes_find_the_same(make: Make, tmp_path: Path) -> None:
    found = []
    for options in ({}, {"devices": 2, "strategy": "ddp_fork"}):
        of = make(macro=NOISY, batch=12, trainer_options=options)
        found.append(doctor(work(of, tmp_path / str(len(found)))))
    assert found[0].plans == found[1].plans


@pytest.mark.slow
def test_other_weights(make: Make, tmp_path: Path) -> None:
    of, target = make(macro=MACRO.with_fields(random_noise=0.2), batch=24), Target.read("accuracy 30 %", "`target`")
    own = {name: value.clone() for name, value in of.model.state_dict().items()}

    def load(name: str) -> None:
        of.model.load_state_dict(own)

    found = doctor(work(of, tmp_path, load=load), target, checkpoints=["same"], plans=9)
    (same,) = [each for each in found.plans if each.checkpoint == "same"]
    (macro,) = [each for each in found.plans if not each.checkpoint and not each.rules]
    assert (same.macro, same.mean, same.energy_uj) == (macro.macro, macro.mean, macro.energy_uj)
    assert same.text == f"{macro.text}; weights of same"
    assert same.recipe["ckpt_path"] == "same"


@pytest.mark.slow
def test_from_python_with_other_samples_that_prove(make: Make) -> None:
    of = make(macro=NOISY, batch=24)
    samples = [of.data.test_dataloader().dataset[place] for place in range(8)]
    images, labels = torch.stack([each[0] for each in samples]), torch.tensor([int(each[1]) for each in samples])
    wrong = images, (labels + 1) % 10
    found = asim_lightning.doctor(of.model.backbone, of.data, "accuracy 60 %", images=24, proof_data=wrong)
    assert all(each.mean < 0.5 for each in (found.as_is, *found.plans))
    assert found.plans[0].text in str(found)
    assert LossMap.of_json(found.map.to_json()) == found.map
    assert found.plot("a map").figure.get_suptitle() == "a map"
    assert "<table" in found._repr_html_()


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"images": 0}, "`images` must be 1 or more"),
        ({"chips": 1}, "`chips` must be 2..10000"),
        ({"known": LossMap({"other": (1.0,)}, 1.0)}, "`map` must be of the 14 layers of this network"),
    ],
)
def test_what_is_not_allowed(settings: dict[str, Any], said: str, make: Make, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=said):
        doctor(work(make(), tmp_path), **settings)


def test_fields_as_a_recipe_has_them() -> None:
    assert nested({"rows": 8, "static.offset": "1 lsb"}) == {"rows": 8, "static": {"offset": "1 lsb"}}
    assert nested({"static": {"gain": 1}, "static.offset": 2}) == {"static": {"gain": 1, "offset": 2}}
