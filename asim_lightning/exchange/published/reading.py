"""Takes settings out of a published config one by one, so that each is used, noted or refused."""

import math
from collections.abc import Sequence
from difflib import get_close_matches
from typing import Any

from asim_lightning.exchange.published.keys import CNN, KNOWN, VIT
from asim_lightning.exchange.published.statements import PublishedConfig

_OF_EXTENSIONS = {
    "voting_levels": "vote_levels",
    "num_samp": "votes",
    "non_linear_alpha": "column_args.alpha with column: current",
    "weight_var": "column_args.cell_sigma with column: current",
    "weight_bp": "weight_parallel",
}
"""Macro fields for what the published extensions add, by the end of a setting's name."""


class ConfigReading:
    """A published config that is being read, and the notes that this gives.

    Args:
        config: The config.
    """

    def __init__(self, config: PublishedConfig) -> None:
        self.config = config
        self._read: set[str] = set()
        self._notes: list[tuple[float, str]] = []

    def has(self, name: str) -> bool:
        """Whether the file sets it."""
        return name in self.config.settings

    def value(self, name: str) -> Any:
        """The value of a setting; where the file does not set it, the published one."""
        self._read.add(name)
        return self.config.settings[name].value if self.has(name) else KNOWN[name]

    def whole(self, name: str, low: int, high: int | None = None) -> int:
        """A whole number of `low` or more, and `high` or less.

        Raises:
            ValueError: It is none.
        """
        value = self.value(name)
        is_whole = isinstance(value, int) and not isinstance(value, bool)
        if not is_whole or value < low or (high is not None and value > high):
            allowed = f"a whole number of {low} or more" if high is None else f"{low}..{high}"
            raise self.error(name, f"must be {allowed}, got {_shown(value)}")
        return int(value)

    def number(self, name: str, high: float = math.inf, above: bool = False) -> float:
        """A number of 0 or more.

        Args:
            name: The setting.
            high: Largest value.
            above: Whether 0 is refused.

        Raises:
            ValueError: It is none.
        """
        value = self.value(name)
        is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
        if not is_number or not 0 <= value <= high or (above and value == 0):
            allowed = f"0..{high:g}" if high < math.inf else "above 0" if above else "0 or more"
            raise self.error(name, f"must be {allowed}, got {_shown(value)}")
        return float(value)

    def flag(self, name: str) -> bool:
        """True or False.

        Raises:
            ValueError: It is neither.
        """
        value = self.value(name)
        if not isinstance(value, bool):
            raise self.error(name, f"must be True or False, got {_shown(value)}")
        return value

    def choice(self, name: str, allowed: Sequence[str]) -> str:
        """One of some texts.

        Raises:
            ValueError: It is none of them.
        """
        value = self.value(name)
        if not isinstance(value, str) or value not in allowed:
            near = get_close_matches(str(value), allowed, n=1, cutoff=0.5)
            meant = f"; nearest: {near[0]}" if near else ""
            raise self.error(name, f"must be one of {', '.join(allowed)}, got {_shown(value)}{meant}")
        return value

    def text(self, name: str) -> str | None:
        """A text that is not empty, or None.

        Raises:
            ValueError: It is neither.
        """
        value = self.value(name)
        if value is not None and (not isinstance(value, str) or not value):
            raise self.error(name, f"must be a text or None, got {_shown(value)}")
        return value

    def error(self, name: str, what: str) -> ValueError:
        """An error that names file, line and setting.

        Args:
            name: The setting.
            what: What is allowed and given.
        """
        place = f", line {self.config.settings[name].line}" if self.has(name) else ""
        return ValueError(f"{self.config.path}{place}: cfg.{name} {what}")

    def note(self, name: str, what: str) -> None:
        """Say of a setting that it has no counterpart, and what to do; where the file does not set it, nothing is said.

        Args:
            name: The setting.
            what: What to do instead.
        """
        self._read.add(name)
        if self.has(name):
            setting = self.config.settings[name]
            self._notes.append((setting.line, f"cfg.{name} = {_shown(setting.value)}: {what}"))

    def ignore(self, *names: str) -> None:
        """Count settings as used whose value has no effect on what is computed, here and in the published code."""
        self._read.update(names)

    def notes(self, network: str) -> tuple[str, ...]:
        """All notes in the order of the file, then those of settings that nobody read.

        Args:
            network: Published name of the network.
        """
        found = [text for _, text in sorted(self._notes, key=lambda note: note[0])]
        unread = [name for name in self.config.settings if name not in self._read]
        found += [self._unknown(name) for name in unread if name not in KNOWN]
        for group, layers in ((CNN, "ResNets and VGGs"), (VIT, "transformers")):
            idle = [name for name in unread if name in group]
            if idle:
                shown = f"cfg.{idle[0]}" if len(idle) == 1 else f"cfg.{idle[0]} to cfg.{idle[-1]}"
                what = f"nothing to do: {network} has no such layers, and the published code does not read them either"
                found.append(f"{len(idle)} settings of {layers}, {shown}: {what}")
        missing = [name for name in KNOWN if name in self._read and not self.has(name) and KNOWN[name] is not None]
        if missing:
            shown = ", ".join(f"{name} ({KNOWN[name]})" for name in missing)
            found.append(f"not in the file, published values taken: {shown}")
        return tuple(found)

    def _unknown(self, name: str) -> str:
        near = get_close_matches(name, KNOWN, n=1, cutoff=0.7)
        field = next((field for end, field in _OF_EXTENSIONS.items() if name.endswith(end)), None)
        what = "the published config.py has no such setting, and the recipe does not either"
        if field:
            what = f"a setting of an extension: `model.plan.macro.{field}` in the recipe"
        elif near:
            what += f"; nearest: cfg.{near[0]}"
        return f"cfg.{name} = {_shown(self.config.settings[name].value)}: {what}"


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 160 else text[:157] + "..."
