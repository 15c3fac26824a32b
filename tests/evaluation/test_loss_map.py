"""A map of the loss survives JSON, lists layers by their share, and its shares add up."""

import json

import pytest

from asim_lightning.evaluation.loss_map import Change, LossMap, block_of
from asim_lightning.surgery.plan import kinds_of

MAPPED = LossMap(
    {"conv1": (0.25, 0.5), "head": (1.0,)}, 1.5, 0.1, 40, {"conv1": 0.5}, (Change("head", {"votes": 3}, 0.5),), "it"
)


def test_json_has_a_share_for_each_diagonal_and_is_the_same_map() -> None:
    text = json.dumps(MAPPED.to_json(), allow_nan=False)
    assert json.loads(text) == {
        "shares": [
            {"layer": "conv1", "diagonal": 0, "share": 0.25},
            {"layer": "conv1", "diagonal": 1, "share": 0.5},
            {"layer": "head", "diagonal": 0, "share": 1.0},
        ],
        "sum": 2.25,
        "increase": 1.5,
        "stepped_back_to": 0.1,
        "images": 40,
        "rest": {"conv1": 0.5},
        "changes": [{"layer": "head", "fields": {"votes": 3}, "share": 0.5}],
        "made_for": "it",
    }
    assert LossMap.of_json(json.loads(text)) == MAPPED


def test_the_layer_with_the_largest_share_is_first() -> None:
    assert list(MAPPED.by_layer.items()) == [("conv1", 1.25), ("head", 1.0)]
    assert list(LossMap({"conv1": (0.25, 0.5), "head": (1.0,)}, 1.5).by_layer) == ["head", "conv1"]


@pytest.mark.parametrize("missing", ["shares", "increase", "stepped_back_to", "changes", "images"])
def test_a_map_that_lacks_a_value_is_not_read(missing: str) -> None:
    whole = MAPPED.to_json()
    with pytest.raises(KeyError, match=missing):
        LossMap.of_json({name: value for name, value in whole.items() if name != missing})


def test_layers_of_a_kind_differ_only_in_numbers_and_their_shares_add_up() -> None:
    names = ["stem", "layers.0.up", "layers.0.qk", "layers.1.up", "layers.10.qk"]
    assert kinds_of(names) == {
        "stem": ["stem"], "layers.*.up": ["layers.0.up", "layers.1.up"], "layers.*.qk": ["layers.0.qk", "layers.10.qk"],
    }  # fmt: skip
    assert list(map(block_of, names)) == ["", "0", "0", "1", "10"]
    found = LossMap(
        {"stem": (1.0,), "layers.0.up": (0.25, 0.5), "layers.1.up": (2.0,)}, 4.0, rest={"layers.1.up": 0.25}
    ).by_kind
    assert found.layers == {"stem": (1.0,), "layers.*.up": (2.25, 0.5)}
    assert found.by_layer == {"layers.*.up": 3.0, "stem": 1.0}
