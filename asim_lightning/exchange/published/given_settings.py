"""The settings of a config.py, taken one by one, so that each of them is used, noted or refused."""

import math
from collections.abc import Callable, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from asim_lightning.exchange.published.assignments import Setting, one_of
from asim_lightning.exchange.published.known_settings import CNN, KNOWN, VIT

_OF_EXTENSIONS = {
    "voting_levels": "vote_levels",
    "num_samp": "votes",
    "non_linear_alpha": "column_args.alpha with column: current",
    "weight_var": "column_args.cell_sigma with column: current",
    "weight_bp": "weight_parallel",
}  # macro fields for what the published extensions add, by the end of a setting's name


class Given:
    """The settings of a file, and the notes on them. Every method takes the NAME of a cfg.NAME.

    Args:
        file: The file.
        settings: Its settings.
    """

    def __init__(self, file: Path, settings: Mapping[str, Setting]) -> None:
        self.file, self.settings = file, settings
        self._used: set[str] = set()
        self._notes: list[tuple[int, str]] = []

    def value(self, name: str) -> Any:
        """The value of a setting; the published one where the file does not set it."""
        self._used.add(name)
        return self.settings[name].value if name in self.settings else KNOWN[name]

    def whole(self, name: str, low: int, high: int | None = None) -> int:
        """An integer from `low` to `high`; ValueError for other values, as in the methods below."""
        allowed = f"a whole number of {low} or more" if high is None else f"{low}..{high}"
        return int(self._checked(name, lambda v: type(v) is int and low <= v <= (v if high is None else high), allowed))

    def number(self, name: str, high: float = math.inf, above: bool = False) -> float:
        """A number of 0 or more (with `above`: above 0), and `high` or less."""
        allowed = f"0..{high:g}" if high < math.inf else "above 0" if above else "0 or more"
        low = math.nextafter(0, 1) if above else 0
        return float(self._checked(name, lambda v: type(v) in (int, float) and low <= v <= high, allowed))

    def flag(self, name: str) -> bool:
        """True or False."""
        return bool(self._checked(name, lambda v: isinstance(v, bool), "True or False"))

    def choice(self, name: str, allowed: Sequence[str]) -> str:
        """A text that is allowed."""
        if self.value(name) not in allowed:
            raise self.error(name, f"must be {one_of(allowed, self.shown(name))}")
        return str(self.value(name))

    def text(self, name: str) -> str | None:
        """A text that is not empty, or None."""
        found: str | None = self._checked(name, lambda v: v is None or (isinstance(v, str) and v), "a text or None")
        return found

    def _checked(self, name: str, fits: Callable[[Any], Any], allowed: str) -> Any:
        if not fits(self.value(name)):
            raise self.error(name, f"must be {allowed}, got {self.shown(name)}")
        return self.value(name)

    def shown(self, name: str) -> str:
        """The source of a value; the published value where the file does not set it."""
        return self.settings[name].text if name in self.settings else repr(KNOWN[name])

    def error(self, name: str, what: str) -> ValueError:
        """An error with file and line, and the sentence about a setting."""
        place = f", line {self.settings[name].line}" if name in self.settings else ""
        return ValueError(f"{self.file}{place}: cfg.{name} {what}")

    def note(self, name: str, what: str) -> None:
        """Add a note on a setting without counterpart, which says what to do instead; nothing where the file does not
        set it."""
        self._used.add(name)
        if name in self.settings:
            self._notes.append((self.settings[name].line, f"cfg.{name} = {self.shown(name)}: {what}"))

    def ignore(self, *names: str) -> None:
        """Mark settings as used that have no effect on what is computed, here and in the published code."""
        self._used.update(names)

    def notes(self, network: str) -> tuple[str, ...]:
        """All notes in the order of the file, followed by those on unused settings.

        Args:
            network: Published name of the network.
        """
        found = [text for _, text in sorted(self._notes, key=lambda note: note[0])]
        left = [name for name in self.settings if name not in self._used]
        found += [self._unknown(name) for name in left if name not in KNOWN]
        for group, layers in ((CNN, "ResNets and VGGs"), (VIT, "transformers")):
            idle = [f"cfg.{name}" for name in left if name in group]
            if idle:
                ends = " to ".join(dict.fromkeys((idle[0], idle[-1])))
                what = f"nothing to do: {network} has no such layers, and the published code does not read them either"
                found.append(f"{len(idle)} settings of {layers}, {ends}: {what}")
        missing = [name for name in KNOWN if name in self._used - set(self.settings) and KNOWN[name] is not None]
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
        return f"cfg.{name} = {self.shown(name)}: {what}"
