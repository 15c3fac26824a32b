"""From a trained network to one on macros."""

from asim_lightning.surgery.conversion_report import ConversionReport, ReportRow
from asim_lightning.surgery.convert import convert_
from asim_lightning.surgery.fold import fold_batchnorm_, fold_state
from asim_lightning.surgery.norms import FoldedNorm, Folding
from asim_lightning.surgery.plan import Plan, Rule
from asim_lightning.surgery.settings import (
    apply_point,
    change_macros_,
    kept_assignments,
    macro_layers,
    set_fidelity_,
    set_max_elements_,
    set_train_noise_,
)

__all__ = [
    "ConversionReport",
    "FoldedNorm",
    "Folding",
    "Plan",
    "ReportRow",
    "Rule",
    "apply_point",
    "change_macros_",
    "convert_",
    "fold_batchnorm_",
    "fold_state",
    "kept_assignments",
    "macro_layers",
    "set_fidelity_",
    "set_max_elements_",
    "set_train_noise_",
]
