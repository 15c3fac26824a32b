"""The table lines up and says what the results say."""

from asim_lightning.evaluation.results import Result
from asim_lightning.report.results_table import published_text, results_table
from tests.report.runs import simulated


def test_table():
    rows = [
        Result({"random_noise": 0.05, "column": "charge"}, "simulated", 5, 2000, 0.8765, 0.861, 0.89, 12.34, "events"),
        Result({"random_noise": 10, "column": "current"}, "simulated", 5, 2000, 0.1, 0.09, 0.11, 3, "native"),
        Result({}, "quantized", 1, 2000, 0.92, 0.91, 0.93, 1, "exact"),
        Result({}, "float", 1, 2000, 1.0, 0.998, 1.0, 1, "torch"),
    ]
    assert str(results_table(rows)).splitlines() == [
        "kind       random_noise  column   accuracy (%)    95 % interval  trials  images  seconds  algorithm",
        "---------  ------------  -------  ------------  ---------------  ------  ------  -------  ---------",
        "float                 -  -              100.00  [99.80, 100.00]       1    2000      1.0  torch",
        "quantized             -  -               92.00   [91.00, 93.00]       1    2000      1.0  exact",
        "simulated          0.05  charge          87.65   [86.10, 89.00]       5    2000     12.3  events",
        "simulated            10  current         10.00    [9.00, 11.00]       5    2000      3.0  native",
    ]


def test_the_table_counts_where_images_are_few() -> None:
    def point(images: int, *right: int) -> Result:
        return Result({}, "simulated", 2, images, 0.875, 0.5, 1.0, 1.0, "events", right)

    assert str(results_table([point(20, 17, 18)])).endswith("  1.0  events     17.5 of 20 (17 to 18)")
    for rows in ([point(100, 87, 88)], [point(20)], [point(20, 17, 18), point(20)]):
        assert "right" not in str(results_table(rows))


def test_costs_stand_beside_accuracies():
    """A dash where a point has none."""
    figures = {"energy_uj": 2.3418, "latency_ms": 1.568}
    rows = [
        Result({"adc_bits": 6}, "simulated", 1, 2000, 0.9, 0.89, 0.91, 3, "native", figures=figures),
        Result({}, "float", 1, 2000, 0.92, 0.91, 0.93, 1, "torch"),
    ]
    assert [row[4:6] for row in results_table(rows).shown] == [
        ["energy (uJ)", "latency (ms)"], ["-", "-"], ["2.34", "1.57"],
    ]  # fmt: skip


def test_a_point_agrees_if_the_published_accuracy_is_near_its_interval() -> None:
    results = [simulated(adc_bits=bits) for bits in (6, 7, 8)]
    low, high = (100 * end for end in (results[0].low, results[0].high))
    published = [high + 0.4, low - 0.6, 100 * results[0].accuracy]
    *_, six, seven, eight, verdict = published_text(results, published, "ResNet-18, CIFAR-10").splitlines()
    assert six.split()[-2:] == [f"{published[0]:.2f}", "agrees"]
    assert seven.split()[-2:] == [f"{80 - published[1]:+.1f}", "points"]
    assert eight.split()[-1] == "agrees"
    assert verdict.startswith("2 of 3 points agree with ResNet-18, CIFAR-10")
