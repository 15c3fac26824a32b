"""Groups of settings, such as `model` and `trainer`, hold settings."""

from collections.abc import Iterable

from jsonargparse import Namespace

from asim_lightning.cli.messages import UsageError

_HINTS = {"model.plan": ", such as {keep: ['*']} for a float network"}
_WORDS = {None: "null", True: "true", False: "false"}


def check_groups(settings: Namespace, names: Iterable[str]) -> None:
    """Refuse what stands in place of a group: jsonargparse takes `model: null` and `model: [1]`.

    Args:
        settings: Settings of a command.
        names: Full names of its settings.

    Raises:
        UsageError: A group holds something else.
    """
    for group in sorted(group_names(names)):  # those around others first
        value = settings.get(group, Namespace())
        if not isinstance(value, (Namespace, dict)):
            given = _WORDS[value] if value is None or isinstance(value, bool) else repr(value)
            raise UsageError(f"`{group}` must be a mapping{_HINTS.get(group, ' of settings')}, got {given:.100}")


def group_names(names: Iterable[str]) -> set[str]:
    """Full names of the groups that settings are in.

    Args:
        names: Full names of settings.
    """
    return {name[:place] for name in names for place, letter in enumerate(name) if letter == "."}
