"""Repeats, and what they say."""

from asim_lightning.evaluation.times import InferenceTime, Repeats


def test_median_and_fastest() -> None:
    repeats = Repeats((3.0, 1.0, 2.0, 10.0))
    assert (repeats.median, repeats.fastest) == (2.5, 1.0)


def test_rates_are_those_of_the_median() -> None:
    time = InferenceTime("simulated", "every conversion", "native", 2, Repeats((1.0, 0.5, 2.0)), 100, 5.0, 5.0)
    assert (time.images_per_second, time.conversions_per_second, time.projected(10)) == (2.0, 200.0, 5.0)
    float32 = InferenceTime("float32", "", "torch", 2, Repeats((1.0,)), None, 1.0, 1.0)
    assert float32.conversions_per_second is None
