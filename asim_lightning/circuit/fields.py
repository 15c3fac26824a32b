"""Descriptions of fields: label, unit, role. Axes, keys, labels and the meaning of "cheapest" follow from them."""

from dataclasses import MISSING, dataclass, field, fields
from typing import Any, Literal, TypeAlias

Role: TypeAlias = Literal["design", "condition", "static"]
"""design: a designer chooses it; condition: a design must cope with it; static: it differs across a chip."""
_KEY = "setting"


@dataclass(frozen=True)
class Setting:
    """Description of a field of a configuration.

    Attributes:
        label: Its name in tables and pictures.
        unit: Unit of its numbers; empty if they have none.
        role: Who decides it.
        decides_outcomes: Whether an outcome may depend on it.
        decides_energy: Whether the published energy of a chip may depend on it. If it does, a macro with another value
            is no longer the published one.
        by_effect: Whether a trial is identified by the field's effect (cycles, noise in percent, spreads in codes)
            instead of its value. A user's column may still use the value.
        harder: Whether larger numbers are harder conditions (1), smaller ones (-1), or neither (0). `asim spec` finds a
            limit of every field of a macro whose larger numbers are harder.
        no_limit: Why `asim spec` finds no limit of such a field; empty if it does.
        has_units: Whether a value may be a text with a unit, such as "0.3 lsb".
        within: Its smallest and largest number, of floats if the field takes floats; None if its class checks it
            otherwise.
    """

    label: str
    unit: str = ""
    role: Role = "design"
    decides_outcomes: bool = True
    decides_energy: bool = True
    by_effect: bool = False
    harder: int = 0
    no_limit: str = ""
    has_units: bool = False
    within: tuple[float, float] | None = None

    @property
    def heading(self) -> str:
        """Label with the unit, such as "random noise (% of full scale)"."""
        return f"{self.label} ({self.unit})" if self.unit else self.label


def setting(
    default: Any = MISSING, *, label: str, default_factory: Any = MISSING, kw_only: bool = False, **said: Any
) -> Any:
    """A field of a frozen dataclass with a default and a `Setting`.

    Args:
        default: Default of the field.
        label: Label of the setting.
        default_factory: Makes the default, if it is mutable.
        kw_only: Whether the field is given by name only.
        said: Other attributes of the setting.
    """
    metadata = {_KEY: Setting(label, **said)}
    return field(default=default, default_factory=default_factory, metadata=metadata, kw_only=kw_only)


def settings_of(kind: type) -> dict[str, Setting]:
    """The settings of a dataclass by name, in the order of its fields."""
    return {each.name: each.metadata[_KEY] for each in fields(kind) if _KEY in each.metadata}
