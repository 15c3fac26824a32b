"""Show `8` in a signature on the site, not `setting(8, label=..., ...)`: griffe reads sources and runs nothing."""

from typing import Any

import griffe

_DEFAULTS = {"setting": None, "_noise": "0.0", "_cost": None, "_of_preset": "None"}
"""Functions that make a field, with the default that each knows itself; None: its first argument."""


class PlainDefaults(griffe.Extension):
    """Replaces the call that makes a field by the field's default."""

    def on_attribute_instance(self, *, attr: griffe.Attribute, **_: Any) -> None:
        """Look at a field, before griffe makes the signature of its dataclass."""
        call = attr.value
        if not isinstance(call, griffe.ExprCall) or str(call.function) not in _DEFAULTS:
            return
        attr.value = _DEFAULTS[str(call.function)] or call.arguments[0]
        if isinstance(attr.value, griffe.ExprKeyword):  # default_factory
            attr.value = f"{attr.value.value}()"
