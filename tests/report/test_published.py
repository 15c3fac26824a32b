"""Accuracies of a sweep next to published ones."""

from asim_lightning.report.published import published_text
from tests.report.conftest import simulated


def test_a_point_agrees_if_the_published_accuracy_is_near_its_interval() -> None:
    results = [simulated(adc_bits=bits) for bits in (6, 7, 8)]
    low, high = (100 * end for end in (results[0].low, results[0].high))
    published = [high + 0.4, low - 0.6, 100 * results[0].accuracy]
    *_, six, seven, eight, verdict = published_text(results, published, "ResNet-18, CIFAR-10").splitlines()
    assert six.split()[-2:] == [f"{published[0]:.2f}", "agrees"]
    assert seven.split()[-2:] == [f"{80 - published[1]:+.1f}", "points"]
    assert eight.split()[-1] == "agrees"
    assert verdict.startswith("2 of 3 points agree with ResNet-18, CIFAR-10")
