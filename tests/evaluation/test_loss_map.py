"""A map of the loss survives JSON, lists layers by their share, and its shares add up."""

import json
from itertools import pairwise
from math import fsum

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asim_lightning.evaluation.loss_map import Change, LossMap

NAMES = st.text(min_size=1, max_size=8)
NUMBERS = st.floats(-10, 10)
FIELDS = st.dictionaries(NAMES, st.none() | st.booleans() | st.integers(0, 64) | NUMBERS | NAMES, max_size=3)


@st.composite
def maps(draw: st.DrawFn) -> LossMap:
    """Maps whose layers have a position or more each, and some changes."""
    layers = draw(st.dictionaries(NAMES, st.lists(NUMBERS, min_size=1, max_size=15).map(tuple), max_size=4))
    changes = st.lists(st.builds(Change, NAMES, FIELDS, NUMBERS), max_size=3).map(tuple)
    return LossMap(
        layers,
        draw(NUMBERS),
        draw(st.none() | st.floats(0, 1)),
        draw(changes),
        draw(st.integers(0, 10**6)),
        {name: draw(NUMBERS) for name in layers},
    )


@settings(max_examples=30)
@given(maps())
def test_a_map_is_the_same_after_json_and_shares_add_up_the_largest_first(mapped: LossMap) -> None:
    text = json.dumps(mapped.to_json(), allow_nan=False)
    assert LossMap.of_json(json.loads(text)) == mapped
    found = mapped.by_layer
    assert found == {
        name: pytest.approx(fsum([*shares, mapped.rest.get(name, 0.0)]), abs=1e-12)
        for name, shares in mapped.layers.items()
    }
    assert all(one >= other for one, other in pairwise(found.values()))
    assert mapped.sum == pytest.approx(fsum(found.values()), abs=1e-12)
    assert mapped.to_json()["sum"] == mapped.sum


def test_json_has_a_share_for_each_diagonal() -> None:
    mapped = LossMap({"conv1": (0.25, 0.5), "head": (1.0,)}, 1.5, changes=(Change("head", {"votes": 3}, 0.5),))
    assert mapped.to_json() == {
        "shares": [
            {"layer": "conv1", "diagonal": 0, "share": 0.25},
            {"layer": "conv1", "diagonal": 1, "share": 0.5},
            {"layer": "head", "diagonal": 0, "share": 1.0},
        ],
        "sum": 1.75,
        "increase": 1.5,
        "stepped_back_to": None,
        "images": 0,
        "rest": {},
        "changes": [{"layer": "head", "fields": {"votes": 3}, "share": 0.5}],
    }
    assert list(mapped.by_layer) == ["head", "conv1"]


@pytest.mark.parametrize("missing", ["shares", "increase", "stepped_back_to", "changes", "images"])
def test_a_map_that_lacks_a_value_is_not_read(missing: str) -> None:
    whole = LossMap({"head": (1.0,)}, 1.0).to_json()
    with pytest.raises(KeyError, match=missing):
        LossMap.of_json({name: value for name, value in whole.items() if name != missing})
