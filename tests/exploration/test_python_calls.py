"""Studies and searches in Python: a user's network and data give what the commands give, in one call."""

import pydoc
import sys
from copy import deepcopy
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from lightning.pytorch import LightningDataModule, LightningModule, Trainer
from torch import nn
from torch.utils.data import DataLoader, IterableDataset, TensorDataset

import asim_lightning
from asim_lightning import (
    CimClassifier,
    MacroConfig,
    Plan,
    Results,
    calibrate_,
    calibrate_adc_,
    convert_,
    describe_chip,
)
from asim_lightning.classifier import BackboneConfig
from asim_lightning.cost import cost
from asim_lightning.evaluation.evaluate import quiet_trainer
from asim_lightning.report.results_table import point_table
from asim_lightning.surgery import macro_layers
from tests.exploration.conftest import Make, grid, without_time
from tests.exploration.own_network import MACRO, _trained, own_images, own_network

AXES = {"adc_bits": [6, 8], "random_noise": [0.3, 1.0]}


def values(results: Results) -> list[Any]:
    return [(each.kind, each.axes, each.value, each.low, each.high, each.samples) for each in results]


@pytest.fixture(scope="module")
def network() -> nn.Module:
    return own_network()


def test_a_study_gives_what_a_sweep_gives(make: Make) -> None:
    sweep = make(grid(**AXES))
    expected = sweep.run()
    found = asim_lightning.study(sweep.model, sweep.data, axes=AXES, trials=2)
    assert without_time(found) == without_time(expected)
    assert [each.difference for each in found] == [each.difference for each in expected]
    # the classifier's network alone, with its noise
    alone = asim_lightning.study(sweep.model.backbone, sweep.data, axes=AXES, trials=2)
    assert without_time(alone) == without_time(expected)


def test_samples_of_a_group_are_resampled_together(network: nn.Module) -> None:
    inputs, targets = own_images(40)
    samples = TensorDataset(inputs.repeat_interleave(5, 0), targets.repeat_interleave(5))
    alone = asim_lightning.study(network, samples, axes={"adc_bits": [4]}, fresh=True)
    samples.groups = torch.arange(40).repeat_interleave(5)  # type: ignore[attr-defined]
    together = asim_lightning.study(network, samples, axes={"adc_bits": [4]})
    for one, other in zip(alone, together, strict=True):
        assert (other.value, other.samples) == (pytest.approx(one.value), 200)
        assert other.high - other.low > 1.5 * (one.high - one.low)


def test_noise_in_volts_is_what_the_same_percents_are() -> None:
    axes = {"adc_bits": [5, 8]}
    lsb, percent = (
        own_network(macro=MACRO.with_fields(adc_bits=6, random_noise=noise, static={})) for noise in ("1 lsb", 100 / 63)
    )
    volts = asim_lightning.study(lsb, own_images(40), axes=axes, noise_in="volts")
    assert values(volts) == values(asim_lightning.study(percent, own_images(40), axes=axes))
    assert values(volts) != values(asim_lightning.study(lsb, own_images(40), axes=axes))
    assert "an LSB of each layer's own ADC (noise_in volts)" in str(volts)
    asked = {"space": axes, "noise_in": "volts"}
    assert values(asim_lightning.search(lsb, own_images(40), **asked))[-2:] == values(volts)[-2:]
    with pytest.raises(ValueError, match="`noise_in` must be"):
        asim_lightning.study(lsb, own_images(40), axes=axes, noise_in="mV")


class OwnModule(LightningModule):
    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.network(images)  # type: ignore[no-any-return]


def test_a_lightning_module_is_studied_and_found_again(network: nn.Module, tmp_path: Path) -> None:
    module = OwnModule(network)
    first, again = (study(module, folder=tmp_path) for _ in range(2))
    assert values(first) == values(again) == values(study(network))
    assert "Reusing 3 stored results; nothing to compute." in str(again)


class OwnData(LightningDataModule):
    def test_dataloader(self) -> DataLoader[Any]:
        return DataLoader(TensorDataset(*own_images()), 5)


def test_all_forms_of_data_give_the_same(network: nn.Module) -> None:
    pair = own_images()
    samples = TensorDataset(*pair)
    given = [pair, samples, DataLoader(samples, 7), OwnData(), [(x, int(y), "more") for x, y in samples]]
    first, *others = (values(asim_lightning.study(network, each, axes={"random_noise": [0.5]})) for each in given)
    assert all(each == first for each in others)
    assert len(first) == 3
    assert first[0][-1] == 24


def test_chips_yield_targets_and_what_shows_them(network: nn.Module) -> None:
    targets = ["yield 0.5 at 25 %", "accuracy 25 %", "energy 1 uJ"]
    found = asim_lightning.study(network, own_images(), axes={"adc_bits": [7]}, chips=3, targets=targets)
    assert [each.chip for each in found.points] == [0, 1, 2]
    assert found.targets == tuple(targets)
    assert {each.decisions["energy 1 uJ"].verdict for each in found.points} == {"kept"}
    (chips,) = found.yields
    assert found.points[0].figures["yield"] == chips.at(0.25).share
    assert "good chips" in str(found)
    assert "yield 0.5 at 25 %, all chips" in found._repr_html_()


def test_a_search_finds_the_cheapest_point(network: nn.Module, tmp_path: Path) -> None:
    found = asim_lightning.search(
        network, own_images(), space={"adc_bits": [3, 7, 8]}, constraints=["accuracy 50 %"], images=20
    )
    assert len(found.points) == 3
    assert found[0].samples == 20
    assert {each.axes["adc_bits"] for each in found.front} >= {3}
    (best,) = found.cheapest
    kept = [each for each in found.points if each.verdict == "kept"]
    assert best is min(kept, key=lambda each: each.energy_uj or 0.0, default=None)
    assert found.plot().figure.get_suptitle().startswith("OwnNetwork: search of ADC bits 3")
    assert "search of" in found.report(tmp_path / "page.html").read_text()


def test_corners_in_all_calls(network: nn.Module) -> None:
    corners = {"tt": {}, "ss": {"macro.random_noise": 3.0, "technology.supply": 0.81}}
    data, every = own_images(), "accuracy 60 % at every corner"
    found = asim_lightning.study(network, data, corners=corners, targets=[every])
    assert [each.axes for each in found[2:]] == [{"corner": "tt"}, {"corner": "ss"}]
    assert found[3].value < found[2].value
    assert found[2].decisions == found[3].decisions
    assert str(found).split()[1] == "corner"
    best = asim_lightning.search(network, data, space={"adc_bits": [5, 8]}, constraints=[every], corners=corners)
    assert [each.axes["adc_bits"] for each in best.compared] == [5, 8]
    limits = asim_lightning.spec(network, data, every, properties=["random_noise"], corners=corners)
    assert str(limits.target) == every
    plans = asim_lightning.doctor(network, own_images(48), every, images=16, corners=corners)
    assert str(plans.target) == every
    loss = ["loss 0.3 at every corner", "loss within 5 % of quantized at every corner"]
    other = asim_lightning.study(network, data, corners=corners, targets=loss, outcome="loss")
    assert list(other[2].decisions) == loss
    assert other[2].decisions == other[3].decisions


def test_a_study_leaves_the_network_and_other_outcomes_have_other_keys(network: nn.Module, tmp_path: Path) -> None:
    before = {name: each.clone() for name, each in network.state_dict().items()}
    first, other = (study(network, folder=tmp_path, outcome=outcome) for outcome in ("accuracy", "loss"))
    assert values(other) != values(first)
    assert all(bool((each == before[name]).all()) for name, each in network.state_dict().items())
    assert not any(each.training for each in network.modules())


def brightness(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    return outputs.softmax(1)[:, 0]


def test_other_outcomes_are_measured_in_their_words(network: nn.Module, tmp_path: Path) -> None:
    given = {"axes": {"random_noise": [0.5, 2.0]}, "targets": ["brightness 10 %"]}
    found = asim_lightning.study(network, own_images(), outcome=brightness, **given)
    assert "brightness (%)" in str(found)
    assert "accuracy" not in str(found)
    assert [set(each.decisions) for each in found.points] == [{"accuracy 10 %"}] * 2
    assert "brightness" in found.report(tmp_path / "page.html").read_text().partition("<body>")[2]
    assert found.plot().get_ylabel() == "brightness (%)"
    images, _ = own_images()
    with torch.no_grad():
        asim_lightning.set_fidelity_(network, "float")
        expected = float(network(images).softmax(1)[:, 0].mean())
        asim_lightning.set_fidelity_(network, "simulated")
    assert found[0].value == pytest.approx(expected)
    assert found[0].low < expected < found[0].high


def test_inputs_that_are_no_images_are_samples_in_all_texts(tmp_path: Path) -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(12, 16), nn.ReLU(), nn.Linear(16, 4)).eval()
    data, plan = (torch.randn(60, 12), torch.arange(60) % 4), Plan(MACRO)
    chips = asim_lightning.study(net, data, axes={"adc_bits": [6]}, chips=3, targets=["yield 0.5 at 1 %"], plan=plan)
    found = asim_lightning.search(
        net, data, space={"adc_bits": [5, 7]}, constraints=["accuracy 90 % of quantized"], plan=plan
    )
    spec = asim_lightning.spec(net, data, "accuracy 90 % of quantized", properties=["random_noise"], plan=plan)
    doctor = asim_lightning.doctor(net, data, "accuracy 90 % of quantized", images=20, plan=plan)
    few = asim_lightning.doctor(net, data, "accuracy 90 % of quantized", images=20, plan=plan, least="digital")
    assert all({*plan.macro} <= {"digital_levels", "digital_adc"} for plan in few.plans)
    assert few.least == "digital"
    drawn = doctor.plot().figure
    assert drawn is not None
    shown = " ".join(" ".join(each.get_text().split()) for each in drawn.texts)
    assert "(20 samples)" in shown
    for text in (str(chips), chips._repr_html_(), str(found), str(spec), str(doctor), chips.plot().get_xlabel(), shown):
        assert "image" not in text
        assert "sample" in text
    page = chips.report(tmp_path / "page.html").read_text().partition("<body>")[2]
    assert "on these 60 samples" in page
    assert "on these 60 images" not in page
    assert "images" in point_table(chips, chips.own_target).numbers[0]  # columns of files keep their names


def test_less_of_a_loss_is_better(network: nn.Module, tmp_path: Path) -> None:
    space = {"random_noise": [0.5], "adc_bits": [3, 8]}
    found = asim_lightning.search(network, own_images(), space=space, objectives=["loss", "energy"], outcome="loss")
    coarse, fine = found.points
    assert coarse.value > fine.value
    assert list(found.front) == [fine, coarse]
    assert found.plot().get_ylabel() == "loss"
    chips = asim_lightning.study(network, own_images(), axes={"adc_bits": [7]}, chips=3, outcome="loss")
    assert len(chips.points) == 3
    assert chips.plot().get_ylabel() == "loss"
    assert "loss within 1 % of quantized (" in found.report(tmp_path / "page.html").read_text()
    bound = f"loss {(coarse.value + fine.value) / 2:.4g}"
    judged = study(network, targets=[bound, "loss within 5 % of quantized"], outcome="loss", axes=space)
    assert [point.decisions[bound].margin > 0 for point in judged.points] == [False, True]
    assert "24 samples" in str(judged)


@pytest.mark.process
def test_two_processes_give_the_same(network: nn.Module) -> None:
    """They end their chips alike, too."""
    runners = (None, quiet_trainer(accelerator="cpu", devices=2, strategy="ddp_fork"))
    several: dict[str, Any] = {"axes": {"random_noise": [0.5, 1.0]}, "trials": 2}
    for given in (several, {"axes": {}, "chips": 20, "until": "yield 0.2 at 30 %"}):
        one, two = (study(network, data=own_images(23), runner=each, **given) for each in runners)
        assert values(one) == values(two)
        assert len(one.points) < 20


def test_cost_takes_kinds_from_the_conversion(network: nn.Module) -> None:
    kinds = {layer.name: layer.kind for layer in cost(network).layers}
    assert kinds == {"stem.0": "stem", "conv.0": "conv", "qkv": "qkv", "qk": "qk", "av": "av", "head": "head"}
    assert cost(network)._repr_html_().startswith("<pre>technology")


SPAWNING = Trainer(accelerator="cpu", strategy="ddp_spawn", logger=False)


class Endless(IterableDataset[Any]):
    def __iter__(self) -> Any:
        yield own_images(1)


def study(network: nn.Module, **changes: Any) -> Results:
    given: dict[str, Any] = {"data": own_images(), "axes": {"random_noise": [0.5]}, **changes}
    return asim_lightning.study(network, given.pop("data"), **given)


@pytest.mark.parametrize(
    ("said", "changes"),
    [
        ("an accuracy needs targets", {"data": own_images()[0]}),
        ("24 inputs and 23 targets", {"data": (own_images()[0], own_images()[1][1:])}),
        ("got one with a RandomSampler", {"data": DataLoader(TensorDataset(*own_images()), 4, shuffle=True)}),
        ("indexable, got a Endless", {"data": DataLoader(Endless(), 4)}),
        ("got 1 value", {"data": TensorDataset(own_images()[0])}),
        ("got a NoneType", {"data": None}),
        ("accuracy takes outputs (batch, classes) and", {"data": (own_images()[0], torch.zeros(24, 4))}),
        ("must have 99 samples", {"images": 99}),
        ("`macro.technology.supply` is no field", {"axes": {"technology": {"supply": [0.8]}}}),
        ("needs `chips`", {"targets": ["yield 0.9 at 85 %"]}),
        ("ddp or ddp_fork, got one that spawns", {"runner": SPAWNING}),
        ("on all samples", {"outcome": brightness, "until": "brightness 50 %"}),
        ("on all samples", {"outcome": "loss", "until": "loss 2"}),
        ("on the outcome loss, as in 'loss 2.1'", {"outcome": "loss", "until": "accuracy 50 %"}),
        ("does not take outputs (24, 4) and targets (24,)", {"outcome": "segmentation"}),
    ],
)
def test_a_wrong_use_is_one_sentence(network: nn.Module, said: str, changes: dict[str, Any]) -> None:
    with pytest.raises((ValueError, TypeError)) as refused:
        study(network, **changes)
    assert said in str(refused.value)
    assert "\n" not in str(refused.value)


def test_wrong_points_of_a_search_are_one_sentence(network: nn.Module) -> None:
    given: dict[str, Any] = {"space": {"adc_bits": [6]}}
    with pytest.raises(ValueError, match="`points` must be a number of points with the method grid"):
        asim_lightning.search(network, own_images(), points=[{"adc_bits": 6}], **given)


def test_networks_that_cannot_be_studied_are_refused() -> None:
    with pytest.raises(ValueError, match="call convert_"):
        study(nn.Linear(4, 2))
    with pytest.raises(ValueError, match="call calibrate_"):
        study(own_network(calibrated=False))


def test_a_classifier_measures_its_accuracy_only(make: Make) -> None:
    with pytest.raises(ValueError, match="is its accuracy, got loss; its `backbone` takes any"):
        study(make().model, outcome="loss")


def test_modes_of_training_stay_and_missing_ranges_come_from_training_images() -> None:
    class WithTraining(OwnData):
        def train_dataloader(self) -> DataLoader[Any]:
            return DataLoader(TensorDataset(*own_images(32)), 8, shuffle=True)

    network = own_network(calibrated=False)
    network.head.train()
    found = study(network, data=WithTraining())
    assert [name for name, each in network.named_modules() if each.training] == ["head"]
    assert values(found) == values(study(network))


def test_a_network_that_is_not_converted_takes_a_plan_and_stays_as_it_is() -> None:
    plain, images = _trained(), own_images()
    kept = {name: value.clone() for name, value in plain.state_dict().items()}
    plan = Plan(MACRO, fold_batchnorm=True)
    found = asim_lightning.study(plain, images, axes={"random_noise": [0.5]}, plan=plan)
    network = deepcopy(plain)
    convert_(network, plan, images[0][:1])
    calibrate_(network, [images[0]])
    assert values(found) == values(study(network))
    assert plain.state_dict().keys() == kept.keys()
    assert all(torch.equal(value, kept[name]) for name, value in plain.state_dict().items())
    with pytest.raises(ValueError, match="`plan` is for a network that is not converted"):
        study(network, plan=plan)


def test_names_of_arguments_are_checked_as_python_does(network: nn.Module) -> None:
    for call, given in ((study, {"trial": 1}), (asim_lightning.spec, {"noise_in": "volts"})):
        with pytest.raises(TypeError, match=f"got an unexpected keyword argument '{next(iter(given))}'"):
            call(network, *([own_images(), "accuracy 60 %"] if call is not study else []), **given)
    with pytest.raises(TypeError, match=r"argument 'axis'; did you mean 'axes'\?"):
        study(network, axis=AXES)
    for wrong, kind in (({"technology": "28nm"}, "Technology"), ({"plan": MACRO}, "Plan")):
        with pytest.raises(TypeError, match=f"must be a {kind}, such as"):
            study(network, **wrong)
    assert {"Attributes:", "adc_bits:", "rules:"} <= set(
        (pydoc.render_doc(MacroConfig) + pydoc.render_doc(Plan)).split()
    )


def test_a_frame_has_a_row_a_result(network: nn.Module, monkeypatch: pytest.MonkeyPatch) -> None:
    found = study(network)
    monkeypatch.setitem(sys.modules, "pandas", SimpleNamespace(DataFrame=list))
    assert [row["value"] for row in found.frame()] == [each.value for each in found]


def test_adc_ranges_are_fitted_in_place() -> None:
    network = own_network()
    found = calibrate_adc_(network, [own_images()])
    assert {each.name: each.step for each in found} == {
        name: layer.macro.adc_step for name, layer in macro_layers(network).items()
    }
    assert found._repr_html_().startswith("<table>")
    assert all(each.after >= each.before for each in found)
    digital = own_network()
    head = macro_layers(digital)["head"]
    head.macro = head.macro.with_fields(digital_levels=99)
    assert [each.name for each in calibrate_adc_(digital, [own_images()])] == ["conv.0", "qkv", "qk", "av"]
    assert head.macro.adc_step is None
    with pytest.raises(ValueError, match="calibrate_adc_ needs a network with layers on a macro"):
        calibrate_adc_(nn.Linear(2, 2), [own_images()[0]])


def test_a_chip_is_a_row_a_layer() -> None:
    found = describe_chip(own_network(), own_images()[0], chip=3)
    assert [each.name for each in found] == ["conv.0", "qkv", "head", "qk", "av"]
    assert "worst converters" in str(found)
    convert_(equal := nn.Sequential(nn.Linear(4, 2)), Plan(MacroConfig()), torch.zeros(1, 4))
    with pytest.raises(ValueError, match="No chip differs from another"):
        describe_chip(equal, torch.zeros(1, 4))


def test_a_classifier_is_measured_by_its_own_outcome() -> None:
    model = CimClassifier(
        BackboneConfig(
            network="asim_lightning.backbone.small_gpt.SmallGPT",
            kwargs={"vocabulary": 7, "window": 6, "width": 8, "depth": 1, "heads": 2},
            input_shape=[6],
            input_values=7,
        ),
        Plan(MacroConfig(weight_bits=4, input_bits=4), input_range="token"),
        outcome="perplexity",
    )
    tokens = torch.randint(7, (4, 6), generator=torch.Generator().manual_seed(0))
    calibrate_(model.backbone, [tokens])
    noise, target = {"random_noise": [0.0]}, "perplexity within 50 % of quantized"
    found = asim_lightning.study(model, (tokens, tokens), axes=noise, targets=[target])
    assert found.points[0].measure.name == "perplexity"
    with pytest.raises(ValueError, match=r"^`outcome` of a CimClassifier is its perplexity, got accuracy"):
        asim_lightning.study(model, (tokens, tokens), axes=noise, outcome="accuracy")
