"""Settings by the name of an axis: macros, static effects, technologies, corners, chips and checkpoints."""

from collections.abc import Mapping

from asim_lightning.circuit import MacroConfig, StaticEffects
from asim_lightning.circuit.fields import Setting, settings_of
from asim_lightning.circuit.voltage import NOISE_AXES as NOISE_AXES
from asim_lightning.cost.technology import Technology

CORNER, CHIP, CHECKPOINT, TECHNOLOGY, RULES = "corner", "chip", "checkpoint", "technology.", "rules."
SETTINGS: Mapping[str, Setting] = {
    **settings_of(MacroConfig),
    **settings_of(StaticEffects),
    **{f"{TECHNOLOGY}{name}": each for name, each in settings_of(Technology).items()},
    CORNER: Setting("corner", role="condition"),
    CHIP: Setting("chip", role="condition"),
    CHECKPOINT: Setting("checkpoint"),
}


def setting_of(axis: str) -> Setting:
    """The setting of an axis, such as adc_bits, static.offset, rules.layer1.*.rows or technology.supply.

    An unknown name is a setting of the design, with the name as its label.
    """
    return SETTINGS.get(axis) or SETTINGS.get(axis.rpartition(".")[2]) or Setting(axis.replace("_", " "))


def rule_of(axis: str) -> tuple[str, str]:
    """Pattern and field of an axis rules.PATTERN.FIELD or rules.PATTERN.static.EFFECT."""
    pattern, _, field = axis.removeprefix(RULES).rpartition(".")
    if pattern.endswith(".static"):
        return pattern.removesuffix(".static"), f"static.{field}"
    return pattern, field


def is_condition(axis: str) -> bool:
    """Whether nobody chooses the values of an axis: noise, spreads, chips, the column."""
    return setting_of(axis).role != "design"
