"""Model surgery: the layers of a trained network become layers on macros, in place."""

from dataclasses import asdict, replace
from typing import Any

from torch import Tensor, nn

from asim_lightning.circuit import MacroConfig
from asim_lightning.nn import (
    PACT,
    CimAttention,
    CimConv2d,
    CimLinear,
    CimMatmul,
    FloatConv2d,
    FloatLinear,
    FloatMatmul,
    OnMacro,
    QuantConv2d,
    QuantizedLayer,
)
from asim_lightning.nn.attention import score_macro
from asim_lightning.surgery.fold import fold_when_loading_, replace_by_folded_
from asim_lightning.surgery.layers import FoundLayer, attention_class, find_layers, find_others, find_relus
from asim_lightning.surgery.match import matching
from asim_lightning.surgery.norms import find_folding
from asim_lightning.surgery.plan import Plan
from asim_lightning.surgery.probe import Sighting, probe
from asim_lightning.surgery.replace import replace_
from asim_lightning.surgery.report import ConversionReport, ReportRow


def convert_(model: nn.Module, plan: Plan, example: Tensor | None = None) -> ConversionReport:
    """Put a network's layers on macros, in place; parameters and state dict keys stay.

    Where the plan folds BatchNorms, the layers that take them up have parameters of their own, and state dict keys are
    those of a network without these BatchNorms; a state dict from before is folded as it is loaded.

    Works on timm's networks and on any network made of Conv2d and Linear. Inputs are unsigned where the operations
    before make them non-negative (ReLU, PACT, pooling of either) or the example shows no negative value, else signed.

    Args:
        model: The network.
        plan: Which layer gets which macro.
        example: A batch of real inputs; decides signs where the operations before do not. Default: a random one, which
            is used for sizes and the order of layers alone.

    Returns:
        One row a layer.

    Raises:
        ValueError: A rule or `keep` matches nothing, a layer is of a class that surgery does not know, a macro does not
            fit its layer, the network does not run on the example, or there is no BatchNorm to fold where the plan
            says so. The network is unchanged then.
    """
    _check_convertible(model)
    folding = find_folding(model, example) if plan.fold_batchnorm else None
    relus = find_relus(model, plan.pact_keep) if plan.pact else {}
    before: dict[str, nn.Module] = {}
    try:
        before = replace_by_folded_(model, folding) if folding else {}
        # an activation within a folded BatchNorm keeps its name, so that a PACT finds its place
        before = replace_(model, {name: PACT().train(relu.training) for name, relu in relus.items()}) | before
        report = _convert(model, plan, example)
    except Exception:
        replace_(model, before)
        raise
    if folding is None:
        return report
    fold_when_loading_(model, folding.pairs)
    return replace(report, notes=(*report.notes, str(folding)))


def _check_convertible(model: nn.Module) -> None:
    if find_layers(model):
        return
    if find_others(model):
        raise ValueError("convert_ found no layer to convert: those of this network are converted already")
    raise ValueError("convert_ needs a network with Conv2d or Linear layers, got one without")


def _convert(model: nn.Module, plan: Plan, example: Tensor | None) -> ConversionReport:
    layers = find_layers(model)
    seen = probe(model, layers, example)
    layers = _with_ends(layers, seen)
    kinds = {layer.name: layer.kind for layer in layers}
    keep = set().union(*(matching(pattern, kinds, "plan.keep") for pattern in plan.keep))
    rules = [(matching(rule.match, kinds, "plan.rules"), rule) for rule in plan.rules]
    modules: dict[str, nn.Module] = {}
    rows: list[ReportRow] = []
    is_transformer = any(layer.kind == "qk" for layer in layers)
    for layer in layers:
        if layer.unknown and layer.name not in keep:
            raise ValueError(layer.unknown)
        if layer.kind not in ("qk", "av") and not isinstance(layer.module.weight, nn.Parameter):
            raise ValueError(
                f"`{layer.name}` computes its weight anew (weight norm, pruning), and surgery needs a plain parameter; "
                "remove the reparametrisation first"
            )
        macro = score_macro(plan.macro) if layer.kind == "av" else plan.macro
        rule = next((rule for names, rule in rules if layer.name in names), None)
        if rule is not None:
            macro = rule.macro if isinstance(rule.macro, MacroConfig) else macro.with_fields(**rule.macro)
        sighting = seen.get(layer.name)
        unsigned, how = _sign(layer, sighting, example is not None)
        ruled = set() if rule is None else set(rule.macro if isinstance(rule.macro, dict) else asdict(rule.macro))
        keeps = layer.name in keep
        try:
            new, why = _replacement(layer, plan, macro, not unsigned, keeps, is_transformer, ruled)
        except ValueError as error:
            raise ValueError(f"Layer `{layer.name}`: {error}") from None
        if isinstance(new, (CimConv2d, CimLinear)) and plan.input_range == "pact":
            _follow(new, sighting, model)
        modules[layer.name] = new
        on_macro = new.macro if isinstance(new, OnMacro) else None
        stated = how if isinstance(new, QuantizedLayer) else "float"
        before = layer.kind.upper() + " product" if layer.kind in ("qk", "av") else type(layer.module).__name__
        stated = "signed: first layer" if isinstance(new, QuantConv2d) else stated
        macs = sighting.macs if sighting else None
        rows.append(ReportRow(layer.name, layer.kind, before, type(new).__name__, on_macro, macs, stated, why))
    for name, (kind, why) in find_others(model).items():
        rows.append(ReportRow(name, "-", kind, kind, None, None, "-", why))
    _install(model, layers, modules)
    order = {name: place for place, name in enumerate(seen)}
    return ConversionReport(tuple(sorted(rows, key=lambda row: order.get(row.name, len(order)))))


def _with_ends(layers: list[FoundLayer], seen: dict[str, Sighting]) -> list[FoundLayer]:
    """Name stem and head where no configuration does: the first convolution and the last linear layer to run."""
    by_name = {layer.name: layer for layer in layers}
    ends: dict[str, str] = {}
    if not any(layer.kind == "stem" for layer in layers):
        convs = [n for n in seen if isinstance(by_name[n].module, nn.Conv2d)]
        if convs and convs[0] == next(n for n in seen if by_name[n].kind not in ("qk", "av")):
            ends[convs[0]] = "stem"
    if not any(layer.kind == "head" for layer in layers) and seen:
        last = list(seen)[-1]
        if isinstance(by_name[last].module, nn.Linear):
            ends[last] = "head"
    return [FoundLayer(x.name, ends.get(x.name, x.kind), x.module, x.unknown) for x in layers]


def _sign(layer: FoundLayer, sighting: Sighting | None, real: bool) -> tuple[bool, str]:
    if layer.kind == "qk":
        return False, "signed: keys and queries"
    if layer.kind == "av":
        return True, "unsigned: scores"
    if sighting is None:
        return False, "signed: did not run"
    if sighting.origin is not None:
        return True, f"unsigned: after {sighting.origin.producer or 'a ReLU'}"
    if real and sighting.unsigned_values:
        return True, "unsigned: example batch"
    return False, "signed: example batch" if real else "signed: no ReLU before"


def _replacement(
    layer: FoundLayer, plan: Plan, macro: MacroConfig, signed: bool, keep: bool, is_transformer: bool, ruled: set[str]
) -> tuple[nn.Module, str]:
    """The new module, and why it is not on a macro."""
    module, name = layer.module, layer.name
    settings: dict[str, Any] = {"input_range": plan.input_range, "name": name}
    if layer.kind in ("qk", "av"):
        if keep:
            return FloatMatmul(), "plan.keep"
        # a product of activations has no clip before it
        product_range = "calibrated" if plan.input_range == "pact" else plan.input_range
        device = next(module.parameters()).device
        return CimMatmul(macro, signed, product_range, name, device).train(module.training), ""
    if keep:
        return _float(module), "plan.keep"
    settings["per_channel"] = plan.per_channel
    if layer.kind == "stem" and isinstance(module, nn.Conv2d) and plan.stem != "macro":
        if plan.stem == "float" or (plan.stem == "published" and is_transformer):
            return _float(module), "patch embedding" if is_transformer else "plan.stem"
        # published stems have 8 bits whatever the macro has; a wider macro's network would be limited by its stem
        bits = (
            macro.weight_bits if "weight_bits" in ruled else max(8, macro.weight_bits),
            macro.input_bits if "input_bits" in ruled else max(8, macro.input_bits),
        )
        if plan.input_range == "pact":
            settings["input_range"] = "calibrated"
        return QuantConv2d.from_float(module, *bits, signed_input=True, **settings), "first convolution: digital"
    if isinstance(module, nn.Conv2d):
        return CimConv2d.from_float(module, macro, signed, **settings), ""
    if isinstance(module, nn.Linear):
        return CimLinear.from_float(module, macro, signed, **settings), ""
    raise ValueError(f"surgery does not know {type(module).__name__}")


def _float(module: nn.Module) -> nn.Module:
    if isinstance(module, nn.Conv2d) and (type(module) is nn.Conv2d or type(module).__name__ == "Conv2dSame"):
        return FloatConv2d.from_float(module)
    if type(module) is nn.Linear:
        return FloatLinear.from_float(module)
    return module


def _follow(new: CimConv2d | CimLinear, sighting: Sighting | None, model: nn.Module) -> None:
    producer = sighting.origin.producer if sighting and sighting.origin else None
    pact = dict(model.named_modules()).get(producer) if producer else None
    if isinstance(pact, PACT):
        new.follow_pact(pact)
    else:
        new.input_range = "calibrated"


def _install(model: nn.Module, layers: list[FoundLayer], modules: dict[str, nn.Module]) -> None:
    attention = attention_class()
    replaced = {id(x.module): modules[x.name] for x in layers if x.kind not in ("qk", "av")}
    for name, module in list(model.named_modules(remove_duplicate=False)):
        if id(module) in replaced and type(module) is not attention:
            replace_(model, {name: replaced[id(module)]})
    wrapped: dict[int, CimAttention] = {}
    for name, module in list(model.named_modules(remove_duplicate=False)):
        if type(module) is attention:
            if id(module) not in wrapped:
                prefix = name + "." if name else ""
                wrapped[id(module)] = CimAttention(module, modules[prefix + "qk"], modules[prefix + "av"])
            replace_(model, {name: wrapped[id(module)]})
