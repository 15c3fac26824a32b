"""Conversion of a trained network to one on macros, in place.

Layer: a convolution or linear layer, or a product that a module makes by a function call (a function product).
Operator: the module that computes a function product on a macro. Owner: the module whose forward makes the product.
Stem: a layer that reads the image itself. Score: output of a softmax, before any product. Kind: role of a layer.
Example: the input on which the network runs once. Probe: the facts from this run. Fold: merge a BatchNorm into a layer.
Stream: the sums of vectors that the blocks of a language model read and add to. Rotate: multiply these vectors by an
orthogonal matrix, and undo it in the layers that read them. Transform: what a layer does to its inputs at run time.
"""

from asim_lightning.surgery.conversion_report import ConversionReport, ReportRow, recount_, report_of
from asim_lightning.surgery.convert import convert_
from asim_lightning.surgery.fold import fold_batchnorm_, fold_state
from asim_lightning.surgery.plan import Plan, Rule
from asim_lightning.surgery.settings import (
    apply_point,
    change_macros_,
    check_chip,
    kept_assignments,
    kept_train_noise,
    macro_layers,
    place_tiles_,
    set_fidelity_,
    set_train_noise_,
)

__all__ = [
    "ConversionReport",
    "Plan",
    "ReportRow",
    "Rule",
    "apply_point",
    "change_macros_",
    "check_chip",
    "convert_",
    "fold_batchnorm_",
    "fold_state",
    "kept_assignments",
    "kept_train_noise",
    "macro_layers",
    "place_tiles_",
    "recount_",
    "report_of",
    "set_fidelity_",
    "set_train_noise_",
]
