"""How much of the loss each layer and each of its bit positions causes: shares that add up."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from asim_lightning.surgery.plan import kinds_of


def block_of(name: str) -> str:
    """The numbers in a layer's full name, such as 3 in `model.layers.3.mlp.up_proj`; empty if there are none."""
    return ".".join(part for part in name.split(".") if part.isdigit())


@dataclass(frozen=True)
class Change:
    """Changed fields of one layer's macro, and the layer's remaining share of the loss increase."""

    layer: str
    fields: Mapping[str, Any]
    share: float


@dataclass(frozen=True)
class LossMap:
    """Shares of the loss that a macro adds.

    Attributes:
        layers: The share of each bit position of each layer, least significant first, by the layer's full name. A bit
            position is a diagonal of cycles: the index of the weight bit plus the index of the input digit.
        increase: Mean loss of the simulated network minus the quantised network's, nats an image for a classifier.
        stepped_back_to: Factor of noise and spreads in the map; None: 1, the macro as it is.
        images: Number of images.
        rest: The share of a layer that stays if all its bit positions are digital, if any: the share of stuck cells.
        changes: Changes of single layers, with the layer's remaining share.
        made_for: Digest of the macros and weights of the network; empty if it is not known.
    """

    layers: Mapping[str, tuple[float, ...]]
    increase: float
    stepped_back_to: float | None = None
    images: int = 0
    rest: Mapping[str, float] = field(default_factory=dict)
    changes: tuple[Change, ...] = ()
    made_for: str = ""

    @property
    def by_layer(self) -> dict[str, float]:
        """The share of each layer, the largest first."""
        found = {name: sum(shares) + self.rest.get(name, 0.0) for name, shares in self.layers.items()}
        return dict(sorted(found.items(), key=lambda each: -each[1]))

    @property
    def by_kind(self) -> "LossMap":
        """The map with one line a kind of layers (see `kinds_of`), its share the sum over its layers; no changes."""
        kinds = kinds_of(self.layers)
        longest = {kind: max(len(self.layers[name]) for name in names) for kind, names in kinds.items()}
        shares = {
            kind: tuple(
                sum(self.layers[name][bit] for name in names if bit < len(self.layers[name]))
                for bit in range(longest[kind])
            )
            for kind, names in kinds.items()
        }
        rest = {kind: sum(self.rest.get(name, 0.0) for name in names) for kind, names in kinds.items()}
        return replace(self, layers=shares, rest={kind: share for kind, share in rest.items() if share}, changes=())

    @property
    def sum(self) -> float:
        """The sum of all shares: near `increase`, because the path is integrated at 8 points."""
        return sum(self.by_layer.values())

    def to_json(self) -> dict[str, Any]:
        """Plain values, as in map.json."""
        shares = [
            {"layer": name, "diagonal": diagonal, "share": share}
            for name, shares in self.layers.items()
            for diagonal, share in enumerate(shares)
        ]
        others = {name: value for name, value in asdict(self).items() if name != "layers"}
        return {"shares": shares, "sum": self.sum, **others, "changes": list(others["changes"])}

    @classmethod
    def of_json(cls, given: Mapping[str, Any]) -> "LossMap":
        """Read `to_json`; a KeyError or TypeError if it is not a map."""
        layers, rest, made_for = dict[str, tuple[float, ...]](), given.get("rest", {}), given.get("made_for", "")
        for each in given["shares"]:
            layers[each["layer"]] = (*layers.get(each["layer"], ()), float(each["share"]))
        changes = tuple(Change(**each) for each in given["changes"])
        return cls(layers, given["increase"], given["stepped_back_to"], given["images"], rest, changes, made_for)
