"""Patterns that name layers: globs, regular expressions, kinds."""

import pytest

from asim_lightning.surgery.plan import matching

KINDS = {
    "conv1": "stem",
    "layer1.0.conv1": "conv",
    "layer1.0.conv10": "conv",
    "layer2.0.conv1": "depthwise",
    "fc": "head",
}


@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        ("conv1", {"conv1"}),
        ("*conv1", {"conv1", "layer1.0.conv1", "layer2.0.conv1"}),
        ("layer1.*", {"layer1.0.conv1", "layer1.0.conv10"}),
        ("layer[12].?.conv1", {"layer1.0.conv1", "layer2.0.conv1"}),
        ("conv", {"layer1.0.conv1", "layer1.0.conv10"}),  # a kind
        ("head", {"fc"}),
        ("re:layer1.*conv1", {"layer1.0.conv1"}),  # of the whole name
        (r"re:.*\.conv\d+", {"layer1.0.conv1", "layer1.0.conv10", "layer2.0.conv1"}),
    ],
)
def test_names_that_a_pattern_matches(pattern: str, names: set[str]) -> None:
    assert matching(pattern, KINDS, "plan.rules") == names


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("layer9.*", r"`plan\.rules` matches no layer with 'layer9\.\*'; nearest: layer"),
        ("Conv", r"matches no layer with 'Conv'; nearest: conv"),
        ("re:conv", r"matches no layer with 're:conv'; nearest: conv"),
        ("re:layer(", r"`plan\.rules` has an invalid regular expression 're:layer\(': "),
    ],
)
def test_a_pattern_that_matches_nothing_is_refused(pattern: str, message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        matching(pattern, KINDS, "plan.rules")
    assert "\n" not in str(caught.value)
