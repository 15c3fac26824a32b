"""The settings of a config.py, taken one by one, so that each is used, noted or refused."""

from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from asim_lightning.checks import check_choice
from asim_lightning.exchange.published.assignments import Setting
from asim_lightning.exchange.published.known_settings import CNN, KNOWN, VIT

_OF_EXTENSIONS = {
    "voting_levels": "vote_levels",
    "num_samp": "votes",
    "non_linear_alpha": "column_args.alpha with column: current",
    "weight_var": "column_args.cell_sigma with column: current",
    "weight_bp": "weight_parallel",
}  # macro fields for what the published extensions add, by the end of a setting's name


class Given:
    """The settings of a file, and the notes on them. Every method takes the NAME of a cfg.NAME."""

    def __init__(self, file: Path, settings: Mapping[str, Setting]) -> None:
        self.file, self.settings = file, settings
        self._used: set[str] = set()
        self._notes: list[tuple[int, str]] = []

    def value(self, name: str) -> Any:
        """The value of a setting, or the published value if the file does not set it."""
        self._used.add(name)
        return self.settings[name].value if name in self.settings else KNOWN[name]

    def choice(self, name: str, allowed: Sequence[str]) -> str:
        """An allowed text; refuses any other."""
        value = self.value(name)
        check_choice(self._place(name), value, allowed)
        return str(value)

    def shown(self, name: str) -> str:
        """The source of a value; the published value if the file does not set it."""
        return self.settings[name].text if name in self.settings else repr(KNOWN[name])

    def error(self, name: str, what: str) -> ValueError:
        """An error with file and line, and the sentence about a setting."""
        return ValueError(f"{self._place(name)} {what}")

    def _place(self, name: str) -> str:
        line = f", line {self.settings[name].line}" if name in self.settings else ""
        return f"{self.file}{line}: cfg.{name}"

    def note(self, name: str, what: str) -> None:
        """Add a note on what to do instead of a setting without counterpart; none if the file does not set it."""
        self._used.add(name)
        if name in self.settings:
            self._notes.append((self.settings[name].line, f"cfg.{name} = {self.shown(name)}: {what}"))

    def ignore(self, *names: str) -> None:
        """Mark settings as used that have no effect here and in the published code."""
        self._used.update(names)

    def notes(self, network: str) -> tuple[str, ...]:
        """All notes in the order of the file, then notes on unused settings."""
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
