"""Classes that a checkpoint's settings name by import path: importing them would run code of whoever wrote the file."""

from collections.abc import Iterator, Mapping
from typing import Any


def named_code(settings: Any, prefix: str = "model") -> Iterator[tuple[str, str]]:
    """Settings of a classifier that name a class by import path, and the path.

    Args:
        settings: Settings of a CimClassifier as plain values, such as a checkpoint's hyper_parameters.
        prefix: What stands before their names.
    """
    if not isinstance(settings, Mapping):
        return
    yield from _paths(f"{prefix}.train_noise_model", settings.get("train_noise_model"))
    plan = settings.get("plan")
    if not isinstance(plan, Mapping):
        return
    yield from _columns(f"{prefix}.plan.macro", plan.get("macro"))
    rules = plan.get("rules")
    for rule in rules if isinstance(rules, (list, tuple)) else ():
        if isinstance(rule, Mapping):
            yield from _columns(f"{prefix}.plan.rules.macro", rule.get("macro"))


def refuse_named_code(path: str, checkpoint: Any, allowed: Any) -> None:
    """Refuse a checkpoint whose settings name a class that the user did not name; nothing is imported.

    Args:
        path: The checkpoint's file, for the message.
        checkpoint: What is in it.
        allowed: Settings of the classifier that the user wrote, as plain values.

    Raises:
        ValueError: It names one.
    """
    trusted = {name for _, name in named_code(allowed)}
    settings = checkpoint.get("hyper_parameters") if isinstance(checkpoint, Mapping) else None
    for setting, name in named_code(settings):
        if name not in trusted:
            raise ValueError(
                f"{path} names the class {name} for `{setting}`, and a checkpoint may not name code that runs here; if "
                f"you trust it, name the same yourself: --{setting} {name}, or in a recipe"
            )


def _columns(setting: str, macro: Any) -> Iterator[tuple[str, str]]:
    if isinstance(macro, Mapping):
        yield from _paths(f"{setting}.column", macro.get("column"))


def _paths(setting: str, name: Any) -> Iterator[tuple[str, str]]:
    if isinstance(name, str) and "." in name:  # built-in names have none
        yield setting, name
