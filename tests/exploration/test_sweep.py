"""A point's result depends on the point alone, and the network is left as it was."""

import pytest

from asim_lightning import Rule
from asim_lightning.cost import Technology
from asim_lightning.exploration.axes import SweepAxes
from asim_lightning.surgery import macro_layers
from tests.exploration.conftest import IMAGES, MACRO, Make, predictions


def test_several_axes_give_every_combination(make: Make) -> None:
    results = make(SweepAxes(adc_bits=[6, None], random_noise=[0.0, 0.2])).run()
    assert [(r.kind, r.axes) for r in results] == [
        ("float", {}),
        ("quantized", {}),
        ("simulated", {"adc_bits": 6, "random_noise": 0}),
        ("simulated", {"adc_bits": 6, "random_noise": 0.2}),
        ("simulated", {"adc_bits": None, "random_noise": 0}),
        ("simulated", {"adc_bits": None, "random_noise": 0.2}),
    ]
    assert [r.trials for r in results] == [1, 1, 1, 2, 1, 2]  # what has no noise gives the same each time
    assert all(r.images == IMAGES and r.low <= r.accuracy <= r.high for r in results)
    assert results[4].accuracy == results[1].accuracy  # an ideal converter is the quantised network


def test_all_points_of_a_run_have_the_cost_of_the_last_technology(make: Make) -> None:
    make(SweepAxes(random_noise=[0.3]), trials=1, technology=Technology()).run()
    sweep = make(SweepAxes(random_noise=[1.0]), trials=1, technology=Technology(supply=0.7))
    expected = sweep.run()[-1].figures
    assert [row.figures for row in sweep.records.results()[2:]] == [expected, expected]


def test_a_mapping_can_be_a_value(make: Make) -> None:
    macro = MACRO.with_fields(column="current", column_args={"alpha": 0.1})
    results = make(SweepAxes(column_args=[{"alpha": 0.0}, {"alpha": 0.3}]), macro=macro).run()
    assert [r.axes["column_args"] for r in results[2:]] == [{"alpha": 0}, {"alpha": 0.3}]


def test_a_point_does_not_depend_on_the_others_or_their_order(make: Make) -> None:
    forward, backward = make(), make(SweepAxes(random_noise=[1.0, 0.3]), folder="b")
    one = make(SweepAxes(random_noise=[0.3]), folder="c")
    for sweep in (forward, backward, one):
        sweep.run()
    assert predictions(forward) == predictions(backward)
    assert predictions(one).items() <= predictions(forward).items()


def test_trials_differ_and_batches_do_not_matter(make: Make) -> None:
    axes = SweepAxes(random_noise=[1.0])
    whole, parts = make(axes, batch=IMAGES), make(axes, batch=5, folder="b")
    whole.run()
    parts.run()
    assert predictions(whole) == predictions(parts)
    (second,) = (answers for (_, trial), answers in predictions(whole).items() if trial == 1)
    assert second not in [answers for (_, trial), answers in predictions(whole).items() if trial == 0]


def test_a_point_is_what_asim_test_measures_there(make: Make) -> None:
    sweep = make(SweepAxes(random_noise=[0.3]), trials=1)
    accuracy = sweep.run()[-1].accuracy
    alone = make(macro=MACRO.with_fields(random_noise=0.3))
    measured = alone.trainer.test(alone.model, datamodule=alone.data, verbose=False)[0]["test/acc"]
    assert measured == pytest.approx(accuracy)


def test_rules_win_over_axes(make: Make) -> None:
    rules = [Rule("fc", {"adc_bits": 8}), Rule("layer1.*", {"random_noise": 0})]
    sweep = make(SweepAxes(adc_bits=[3], random_noise=[1.0]), trials=1, rules=rules)
    before = {name: layer.assignment for name, layer in sweep.layers.items()}
    accuracy = sweep.run()[-1].accuracy
    assert {name: layer.assignment for name, layer in sweep.layers.items()} == before
    alone = make(macro=MACRO.with_fields(adc_bits=3, random_noise=1.0), rules=rules)
    measured = alone.trainer.test(alone.model, datamodule=alone.data, verbose=False)[0]["test/acc"]
    assert measured == pytest.approx(accuracy)
    without = make(SweepAxes(adc_bits=[3], random_noise=[1.0]), trials=1, folder="b")
    without.run()
    assert sorted(predictions(without).values()) != sorted(predictions(sweep).values())


def test_the_network_is_left_as_it_was(make: Make) -> None:
    sweep = make(SweepAxes(adc_bits=[5], random_noise=[0.2]), fidelity="quantized", trial=3)
    callbacks = list(sweep.trainer.callbacks)  # type: ignore[attr-defined]
    sweep.run()
    assert {layer.macro for layer in macro_layers(sweep.model.backbone).values()} == {MACRO}
    assert (sweep.model.fidelity, sweep.model.trial) == ("quantized", 3)
    assert sweep.trainer.callbacks == callbacks  # type: ignore[attr-defined]


@pytest.mark.parametrize("trials", [0, 65536])
def test_trials_are_checked(trials: int, make: Make) -> None:
    with pytest.raises(ValueError, match=r"`trials` must be 1\.\.65535"):
        make(trials=trials)
