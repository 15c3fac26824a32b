"""The condition of an accuracy, and a network under it."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from asim_lightning.checks import check_choice, check_whole
from asim_lightning.circuit import MacroConfig, StaticEffects
from asim_lightning.circuit.fields import settings_of
from asim_lightning.circuit.units import canonical_quantity
from asim_lightning.circuit.voltage import NOISE_AXES, NOISE_IN
from asim_lightning.classifier.network import CimModule
from asim_lightning.engine import SavedChip
from asim_lightning.evaluation.results import axis_text
from asim_lightning.nn.calibration import kept_fidelities, quantized_layers
from asim_lightning.nn.quantized import FIDELITIES
from asim_lightning.surgery import (
    apply_point,
    check_chip,
    kept_assignments,
    kept_train_noise,
    macro_layers,
    set_train_noise_,
)
from asim_lightning.surgery.families import layer_rules as plan_rules
from asim_lightning.surgery.plan import matching

EQUAL_CHIPS = (
    "`chip` changes nothing, because no macro has cells or converters that differ: all chips are equal if "
    "`macro.static` is 0; set a spread, such as {offset: 0.3 lsb}"
)
"""Why a number of a chip is refused."""

_SPREADS = [name for name, each in settings_of(StaticEffects).items() if each.role == "static" and name != "parasitics"]
"""Static effects that a chip is drawn from."""


@dataclass(frozen=True)
class Condition:
    """The condition of an accuracy.

    Attributes:
        fidelity: Fidelity of every layer: float, quantized, estimated or simulated.
        macro: Changed fields of the plan's macro; a layer's rule still decides the fields that it names.
        layers: Fidelity of some layers, by glob, `re:` or kind.
        trial: Number of the read of the chip: 0..65535; None: the classifier's.
        chip: Number of the chip: 0..2^32-1; None: the classifier's.
        rules: Changed fields of the macro of some layers, by glob, `re:` or kind; they replace the plan's rules for
            these fields. If several rules name a field, the first counts.
        noise_in: Noise in LSB with other bits or another range of the ADC: written (as many LSB of each ADC) or volts
            (the voltage that it has with the macro as it is).
        of_macro: Whether estimated layers have the error of their macro; else they have their noise of training.
    """

    fidelity: str = "simulated"
    macro: Mapping[str, Any] = field(default_factory=dict)
    layers: Mapping[str, str] = field(default_factory=dict)
    trial: int | None = None
    chip: int | None = None
    rules: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    noise_in: str = "written"
    of_macro: bool = False

    def __post_init__(self) -> None:
        check_choice("`fidelity`", self.fidelity, FIDELITIES)
        check_choice("`noise_in`", self.noise_in, NOISE_IN)
        for name, value, most in (("trial", self.trial, 2**16 - 1), ("chip", self.chip, 2**32 - 1)):
            if value is not None:
                check_whole(f"`{name}`", value, 0, most)


def check_one_chip(saved: SavedChip, chip: int | None, macros: Iterable[tuple[MacroConfig, MacroConfig]]) -> None:
    """Refuse another chip than the one in a file, and spreads other than before, because the file has its own.

    `macros` has the macro of each layer before and after a change.
    """
    if chip is not None:
        raise ValueError(
            f"`chip` and `chips` must be left out with `model.chip_file` {saved.path}, which is one chip, got {chip}"
        )
    for before, after in dict.fromkeys(macros):
        was, now = _spreads(before), _spreads(after)
        for name in (each for each in was if was[each] != now[each]):
            raise ValueError(
                f"`{name}` must stay {was[name]} with `model.chip_file` {saved.path}, whose chip has its own spreads, "
                f"got {now[name]}"
            )


def _spreads(macro: MacroConfig) -> dict[str, Any]:
    """Settings of a macro that draw a chip, by name."""
    static = macro.static
    drawn = {f"static.{name}": getattr(static, name) if static.is_drawn(name) else 0 for name in _SPREADS}
    trims = {f"static.{name}": getattr(static, name) for name in ("trim", "trim_step")}
    sigma = {"column_args.cell_sigma": macro.column_args.get("cell_sigma", 0)}
    return {name: canonical_quantity(value) for name, value in {**drawn, **trims, **sigma}.items()}


@contextmanager
def under(model: CimModule, condition: Condition) -> Iterator[None]:
    """The network in evaluation mode under a condition; afterwards every layer is as before."""
    layers = quantized_layers(model.backbone)
    training = {module: module.training for module in model.modules()}
    before = model.fidelity, model.trial, model.chip
    with kept_fidelities(model.backbone), kept_assignments(model.backbone), kept_train_noise(model.backbone):
        try:
            model.eval()
            model.fidelity = condition.fidelity
            for pattern, fidelity in condition.layers.items():
                for name in matched(model, pattern, "compare.layers"):
                    layers[name].fidelity = fidelity
            patterns = {pattern: matched(model, pattern, "compare.rules") for pattern in condition.rules}
            macros = [layer.macro for layer in macro_layers(model.backbone).values()]
            apply_point(model.backbone, condition.macro, condition.rules, patterns, condition.noise_in)
            if isinstance(model.chip, SavedChip):
                changed = [layer.macro for layer in macro_layers(model.backbone).values()]
                check_one_chip(model.chip, condition.chip, zip(macros, changed, strict=True))
            if condition.fidelity == "simulated":
                check_chip(model.backbone, model.chip)
            if condition.of_macro:
                set_train_noise_(model.backbone, 1.0, "macro")
            model.trial = model.trial if condition.trial is None else condition.trial
            model.chip = model.chip if condition.chip is None else condition.chip
            yield
        finally:
            model.fidelity, model.trial, model.chip = before  # `fidelity` first, because it sets every layer
            for module, mode in training.items():
                module.training = mode


def matched(model: CimModule, pattern: str, where: str) -> set[str]:
    """Names of the quantised layers that a pattern of the setting `where` matches; refuses one without a match.

    A pattern is a glob over full names, `re:` and a regular expression, or a kind.
    """
    layers = quantized_layers(model.backbone)
    return matching(pattern, {row.name: row.kind for row in model.report if row.name in layers}, where)


def layer_rules(model: CimModule, changes: Mapping[str, Mapping[str, Any]]) -> list[dict[str, Any]]:
    """`surgery.families.layer_rules` of a model; if its plan has rules, or is not known, all layers have rules."""
    plan = getattr(model, "hparams", {}).get("plan")
    return plan_rules(model.backbone, changes, plan is None or bool(plan["rules"]))


def is_noisy(model: CimModule) -> bool:
    """Whether reads differ under the model's condition: a simulated layer has noisy conversions."""
    layers = macro_layers(model.backbone).values()
    return any(layer.fidelity == "simulated" and any(layer.transfer.noisy) for layer in layers)


def noise_text(model: CimModule) -> str:
    """The noise of simulated layers, and their chip if chips differ, such as "random_noise 0.05, chip 0" or "no noise";
    empty if no layer is simulated."""
    layers = [layer for layer in macro_layers(model.backbone).values() if layer.fidelity == "simulated"]
    if not layers:
        return ""
    values = {name: dict.fromkeys(getattr(layer.macro, name) for layer in layers) for name in NOISE_AXES}
    found = [f"{name} {' and '.join(map(axis_text, each))}" for name, each in values.items() if any(each)]
    noise = ", ".join(found) or ("noise of the column" if is_noisy(model) else "no noise")
    if not any(layer.transfer.differs_by_chip for layer in layers):
        return noise
    return f"{noise}, chip {model.chip.path if isinstance(model.chip, SavedChip) else model.chip}"


def chips_differ(model: CimModule) -> bool:
    """Whether chips differ: a layer has cells or converters that do."""
    return any(layer.transfer.differs_by_chip for layer in macro_layers(model.backbone).values())
