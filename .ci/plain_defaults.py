"""Extension of griffe for the site: the reference shows `weight_bits: int = 8`, not the call that makes the field."""

from typing import Any

import griffe

_MAKERS = {"setting": "", "field": "", "_cost": "", "_noise": "0.0", "_of_preset": "None"}
"""Functions that make fields of frozen dataclasses, with the default that they give if the call gives none."""


class PlainDefaults(griffe.Extension):
    """Replaces the value of an attribute of a class by its default."""

    def on_attribute_instance(self, *, attr: griffe.Attribute, **kwargs: Any) -> None:
        """Called for each attribute, before griffe makes the signature of a dataclass from them."""
        call = attr.value
        if not isinstance(call, griffe.ExprCall) or (name := str(call.function)) not in _MAKERS:
            return
        first, *_ = [*call.arguments, None]
        given = {each.name: each.value for each in call.arguments if isinstance(each, griffe.ExprKeyword)}
        if first is not None and not isinstance(first, griffe.ExprKeyword):
            attr.value = first
        elif "default" in given:
            attr.value = given["default"]
        elif "default_factory" in given:
            attr.value = f"{given['default_factory']}()"
        elif _MAKERS[name]:
            attr.value = _MAKERS[name]
