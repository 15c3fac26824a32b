"""Published macros by name: the published facts of each chip, their source, and how the macro differs from it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any

import yaml

from asim_lightning.circuit.fields import settings_of
from asim_lightning.circuit.macro import MacroConfig
from asim_lightning.resources import MACRO, shipped_folder


@dataclass(frozen=True)
class Preset:
    """A published macro."""

    name: str
    """As in ``plan.preset``."""
    chip: str
    """Name, first author and publication."""
    source: str
    """DOI, arXiv number or title."""
    node: int
    """nm."""
    cell: str
    """Transistors and capacitors of a cell, and how a column sums."""
    macro: Mapping[str, Any]
    """Published fields of the macro; the others are absent."""
    differs: str
    """How the macro differs from the chip."""
    technology: Mapping[str, float] = field(default_factory=dict)
    """Published fields of the technology, such as the supply; the others are absent."""
    tops_per_watt: float | None = None
    """Published operations of one bit by one bit per picojoule, two a product; None if none are published."""

    def config(self, **changes: Any) -> MacroConfig:
        """The macro; fields that nobody published have their defaults."""
        return MacroConfig().with_fields(**{**self.macro, **changes})

    def describes(self, macro: MacroConfig) -> bool:
        """Whether a macro is the published one. An unpublished field that costs no energy may differ."""
        published = type(macro)().with_fields(**self.macro)
        names = {name for name, each in settings_of(type(macro)).items() if each.decides_energy}
        return all(getattr(macro, name) == getattr(published, name) for name in {*names, *self.macro})


def preset_names() -> list[str]:
    """Names of all presets, sorted."""
    return sorted(path.stem.removeprefix(MACRO) for path in shipped_folder("configs").glob(f"{MACRO}*.yaml"))


def preset(name: str) -> Preset:
    """A preset by its name; an unknown name is refused with the nearest names."""
    names = preset_names()
    if name not in names:
        near = get_close_matches(str(name), names, n=3, cutoff=0.4) or names
        raise ValueError(
            f"`plan.preset` must be a published macro that asim macros lists, got {name!r}; nearest: {', '.join(near)}"
        )
    file = shipped_folder("configs") / f"{MACRO}{name}.yaml"
    return Preset(name, **yaml.safe_load(file.read_text(encoding="utf-8")))
