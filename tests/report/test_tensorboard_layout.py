"""Layouts of TensorBoard's tabs, from plain names and values."""

from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

from asim_lightning.report.tensorboard_layout import hparams_line, margin_chart, sweep_layout, training_layout

TAG = "sweep/accuracy_vs_random_noise_in_millipercent"


def test_a_curve_is_a_margin_chart_with_its_unit_in_the_title() -> None:
    chart = {"accuracy (x = random noise in millipercent)": ["Margin", [f"{TAG}/mean", f"{TAG}/low", f"{TAG}/high"]]}
    assert margin_chart(TAG) == chart
    assert sweep_layout(TAG) == {"Sweep": chart}


def test_training_without_accuracy_under_noise_has_no_heading_for_it() -> None:
    assert list(training_layout({})) == ["Training"]
    assert list(training_layout(margin_chart(TAG))) == ["Sweep", "Training"]


def test_the_table_shows_what_tells_runs_apart_first() -> None:
    columns, _, _ = hparams_line({"lr": 0.1, "adc_bits": 8, "rows": 255}, ["val/acc"], ["adc_bits"])
    data = HParamsPluginData.FromString(columns.value[0].metadata.plugin_data.content)
    assert {info.name: info.differs for info in data.experiment.hparam_infos} == {
        "lr": False, "adc_bits": True, "rows": False
    }  # fmt: skip
    assert [info.name.tag for info in data.experiment.metric_infos] == ["val/acc"]
