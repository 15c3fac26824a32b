"""From a trained network to one on macros."""

from asim_lightning.surgery.convert import convert_
from asim_lightning.surgery.plan import Plan, Rule
from asim_lightning.surgery.report import ConversionReport, ReportRow
from asim_lightning.surgery.settings import (
    change_macros_,
    macro_layers,
    set_fidelity_,
    set_max_elements_,
    set_train_noise_,
)

__all__ = [
    "ConversionReport",
    "Plan",
    "ReportRow",
    "Rule",
    "change_macros_",
    "convert_",
    "macro_layers",
    "set_fidelity_",
    "set_max_elements_",
    "set_train_noise_",
]
