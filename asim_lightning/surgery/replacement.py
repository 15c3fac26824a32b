"""The replacement of a layer: on a macro, digital, or float."""

from typing import Any

from torch import nn
from torch.nn.utils.parametrize import is_parametrized

from asim_lightning.circuit import MacroConfig
from asim_lightning.nn import (
    PACT,
    Assignment,
    CimFunctionalLinear,
    CimMatmul,
    FloatMatmul,
    OnMacro,
    QuantConv2d,
)
from asim_lightning.nn.hadamard import Hadamard, input_transform, transform_inputs_
from asim_lightning.nn.layer_kinds import kind_of
from asim_lightning.surgery.layers import FoundLayer, is_known
from asim_lightning.surgery.plan import Plan, Rule


def replacement(
    layer: FoundLayer, plan: Plan, assignment: Assignment, signed: bool, kept: str
) -> tuple[nn.Module, str]:
    """The new module of a layer, and why it is not on a macro (empty if it is); `kept` says why it stays float."""
    new, why = _replacement(layer, plan, assignment, signed, kept)
    transform = input_transform(layer.module) if layer.product is None else None
    if layer.kind == "qk" and plan.rotate == "hadamard" and not kept:
        transform = Hadamard()
    if transform is not None and input_transform(new) is None:
        transform_inputs_(new, transform)
    return new, why


def _replacement(
    layer: FoundLayer, plan: Plan, assignment: Assignment, signed: bool, kept: str
) -> tuple[nn.Module, str]:
    macro, module = assignment.macro, layer.module
    if layer.product is not None:
        return (FloatMatmul(), kept) if kept else (_operator(layer, plan, macro, signed), "")
    if kept:
        return _float(module), kept
    common: dict[str, Any] = {"input_range": plan.input_range, "name": layer.name, "per_channel": plan.per_channel}
    if layer.kind != "stem" or plan.stem == "macro":
        kind: Any = kind_of(module)
        return kind.on_macro.from_float(module, macro, signed, **common), ""
    if plan.stem == "float":
        return _float(module), "plan.stem"
    if plan.stem == "published" and is_patch_embedding(module):
        return _float(module), "patch embedding"
    if not isinstance(module, nn.Conv2d):
        if plan.stem == "published":
            return _float(module), f"first layer: no digital {type(module).__name__}"
        raise ValueError(
            f"`plan.stem` must be published, float or macro if the first layer is a {type(module).__name__}, got "
            "quantized"
        )
    if plan.input_range == "pact":
        common["input_range"] = "calibrated"
    digital = QuantConv2d.from_float(module, *assignment.digital_bits, signed_input=signed, **common)
    return digital, "first convolution: digital"


def is_patch_embedding(stem: nn.Module) -> bool:
    """Whether a stem embeds patches that do not overlap."""
    if not isinstance(stem, nn.modules.conv._ConvNd):
        return True
    return stem.stride == stem.kernel_size and max(stem.kernel_size) > 1


def is_signed(layer: FoundLayer, plan: Plan, rule: Rule | None) -> tuple[bool, str]:
    """Whether the inputs of a layer are signed, and the reason; `rule` is the layer's rule, if it has one."""
    ruled = None if rule is None else rule.signed_input
    for where, signed in (("plan.rules", ruled), ("plan.signed_input", plan.signed_input)):
        if signed is not None:
            return signed, f"{'signed' if signed else 'unsigned'}: {where}"
    if layer.kind == "stem" and plan.stem != "macro":
        return True, "signed: first layer"
    if layer.kind == "qk":
        return True, "signed: keys and queries"
    origin = layer.input.origin
    if origin is None:
        return True, "signed: no ReLU before"
    what = "scores" if layer.input.is_score and not origin else f"after {origin or 'a ReLU'}"
    return False, f"unsigned: {what}"


def follow_pact(new: OnMacro, layer: FoundLayer, model: nn.Module) -> None:
    """Take a layer's input range from the PACT before it; calibrate it if there is no PACT."""
    pact = dict(model.named_modules()).get(layer.input.origin) if layer.input.origin else None
    if isinstance(pact, PACT):
        new.follow_pact(pact)
    else:
        new.input_range = "calibrated"


def _operator(layer: FoundLayer, plan: Plan, macro: MacroConfig, signed: bool) -> nn.Module:
    # a product of activations has no clip before it
    input_range = "calibrated" if plan.input_range == "pact" else plan.input_range
    new: CimMatmul | CimFunctionalLinear
    if layer.product is not None and layer.product.batched and layer.part is None:
        new = CimMatmul(macro, signed, input_range, layer.name, rows_in_cells=layer.kind == "qk")
    else:
        new = CimFunctionalLinear(macro, signed, input_range, plan.per_channel, layer.name)
    device = next((p.device for p in layer.module.parameters()), None)
    return new.to(device).train(layer.module.training)  # type: ignore[no-any-return]


def _float(module: nn.Module) -> nn.Module:
    kind = kind_of(module)
    # a parametrised layer's class computes its weight
    if kind is None or not is_known(module) or is_parametrized(module):
        return module
    return kind.in_float.from_float(module)  # type: ignore[no-any-return]
