"""Model surgery: layers on macros replace the layers of a trained network, in place."""

from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace

from torch import nn

from asim_lightning.checks import check_kind
from asim_lightning.nn import PACT, Assignment, OnMacro, QuantizedLayer
from asim_lightning.nn.calibration import kept_fidelities
from asim_lightning.nn.hadamard import Hadamard
from asim_lightning.nn.inputs import Inputs
from asim_lightning.nn.layer_kinds import TORCH_LAYERS
from asim_lightning.nn.routed import RoutedModule
from asim_lightning.surgery.check import check_installed
from asim_lightning.surgery.conversion_report import KEPT, NOT_COUNTED, TRANSFORM, WHOLE, ConversionReport, ReportRow
from asim_lightning.surgery.fold import fold_when_loading_, replace_by_folded_
from asim_lightning.surgery.install import find_multiheads, install_, replace_
from asim_lightning.surgery.layers import (
    FoundLayer,
    converted_layers,
    find_layers,
    find_relus,
    named_by_kind,
    operator_names,
    other_layers,
    unknown_layer,
)
from asim_lightning.surgery.norms import find_folding
from asim_lightning.surgery.plan import Plan, Rule, matching
from asim_lightning.surgery.probe import Probe, keep_example_, on_example, probe
from asim_lightning.surgery.reasons import asked_to_stay, reasons, with_idle, with_parts, without_images
from asim_lightning.surgery.replacement import follow_pact, is_signed, replacement
from asim_lightning.surgery.samples import find_samples
from asim_lightning.surgery.settings import place_tiles_, set_fidelity_

_BY_ROW = (
    "Rows of %d layers on a macro belong to no single sample, such as rows that a router sends to experts. Each row "
    "has noise of its own integers, and MACs are those of the example."
)


def convert_(model: nn.Module, plan: Plan, example: Inputs | None = None) -> ConversionReport:
    """Put a network's layers on macros, in place; parameters and state dict keys stay.

    If the plan folds BatchNorms, the layers before them get new parameters, and the state dict has no keys of these
    BatchNorms. A state dict from before folding is folded when it is loaded.

    If the plan rotates the network, its embeddings, norms and linear layers get new parameters, and a last layer that
    shares the embedding gets a weight of its own. The state dict has the key `asim_rotation`. A state dict from before
    the rotation is rotated when it is loaded.

    It converts convolutions, linear layers, and products that modules make by function calls, such as in an attention.
    The network runs on the example to find them; its forward does not change. A layer's inputs are unsigned if the
    operations before it make no negative number (ReLU, PACT, softmax, pooling of these), else signed; the plan may
    override this. A Conv1d or ConvTranspose2d that surgery cannot convert stays float, and the report says why.

    Args:
        model: The network.
        plan: Which layer gets which macro.
        example: A batch of inputs, for sizes and the order of layers: a tensor, or a tuple, list or mapping of inputs
            (see `asim_lightning.nn.inputs.called`). Default: random numbers of a common size.

    Returns:
        One row for each layer and product.

    Raises:
        TypeError: The plan is no Plan.
        ValueError: A rule or `keep` matches nothing, a Conv2d or Linear is of a class that surgery does not know or
            does not run, a macro does not fit its layer, the network does not run on the example, the plan folds
            BatchNorms and there are none, or the plan rotates a network without a residual stream, or one that would
            not compute the same. The network is unchanged then.

    Examples:
        >>> import torch
        >>> from asim_lightning import MacroConfig, Plan, convert_
        >>> network = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.ReLU(), torch.nn.Linear(8, 2))
        >>> report = convert_(network, Plan(MacroConfig(adc_bits=6)), torch.rand(1, 4))
        >>> [(row.name, row.after, row.macro.adc_bits) for row in report]
        [('0', 'CimLinear', 6), ('2', 'CimLinear', 6)]
    """
    check_kind("`plan`", plan, Plan, "Plan(macro=...)")
    if not find_layers(model):
        raise ValueError("convert_ needs a network with layers that are not converted already, got one without")
    folding = find_folding(model, example) if plan.fold_batchnorm else None
    relus = find_relus(model, plan.pact_keep) if plan.pact else {}
    with ExitStack() as undo:
        if folding:
            undo.callback(replace_, model, replace_by_folded_(model, folding))
        # after folding: an activation in a folded BatchNorm keeps its name, and a PACT may replace it
        undo.callback(
            replace_, model, replace_(model, {name: PACT().train(relu.training) for name, relu in relus.items()})
        )
        rotation = None
        if plan.rotate is not None:
            from asim_lightning.surgery.rotate import find_rotation, rotate_  # few plans rotate

            rotation = find_rotation(model, plan.rotate, example)
            undo.callback(rotate_(model, rotation))
        undo.callback(replace_, model, replace_(model, find_multiheads(model)))
        report = _convert(model, plan, example)
        undo.pop_all()
    if folding:
        fold_when_loading_(model, folding.pairs)
    notes = (str(step) for step in (folding, rotation) if step)
    return replace(report, notes=(*report.notes, *notes))


def _convert(model: nn.Module, plan: Plan, example: Inputs | None) -> ConversionReport:
    modules, earlier = find_layers(model), converted_layers(model)
    with kept_fidelities(model):
        set_fidelity_(model, "float")  # of layers that were converted before
        seen, shown = on_example(model, example, lambda x: (probe(model, modules, x), x))
        samples = find_samples(model, modules, shown, seen.layers)
    _leave_routed(model, seen)
    groups = frozenset(made.call for products in seen.products.values() for made in products if made.grouped)
    samples = replace(samples, routed=samples.routed | groups)
    if samples.calls is not None:
        all_made = {made.call for products in seen.products.values() for made in products}
        seen.uneven.update(call.owner for call in all_made ^ samples.calls if call.owner in seen.products)
        # a loop over experts with slices of one parameter leaves out experts without rows
        slices = Counter(
            (call.owner, call.weight) for call in all_made & samples.routed if call.weight and not call.whole
        )
        seen.uneven.update(owner for (owner, _), count in slices.items() if count > 1)
    layers = named_by_kind(model, modules, seen, operator_names(model, seen))
    asked = asked_to_stay(layers, plan)
    layers, idle = with_idle(model, layers, asked, modules, samples)
    without_image = without_images(layers, seen, samples, idle)
    kept = reasons(layers, seen, samples, without_image) | asked
    layers, by_row = with_parts(layers, without_image, kept)
    ruled = _ruled(layers, plan)
    new: dict[str, nn.Module] = {}
    rows: list[ReportRow] = []
    _check_run(layers, kept)
    for layer in layers:
        _check_known(layer, seen, kept)
        rule = ruled.get(layer.name)
        signed, how = is_signed(layer, plan, rule)
        try:
            # scores that passed through a layer are signed like other inputs
            assignment = Assignment(plan.macro, layer.kind == "av" and not signed, rule.macro if rule else None)
            module, why = replacement(layer, plan, assignment, signed, kept.get(layer.name, ""))
            if isinstance(module, QuantizedLayer):
                module.assignment = assignment
        except ValueError as error:
            raise ValueError(f"Layer `{layer.name}`: {error}") from None
        if isinstance(module, OnMacro):
            module.by_row = layer.name in by_row
            if layer.product is None and plan.input_range == "pact":
                follow_pact(module, layer, model)
        new[layer.name] = module
        rows.append(_row(layer, module, how, why))
    undo = install_(model, layers, new, seen)
    place_tiles_(model)
    try:
        check_installed(model, layers, new, seen, shown)
    except BaseException:
        undo()
        raise
    keep_example_(model, shown)
    routed = sum(isinstance(module, OnMacro) and module.by_row for module in new.values())
    notes = [_BY_ROW % routed] if routed else []
    notes += [NOT_COUNTED.format(", ".join(sorted(set(seen.uncounted.values()))))] if seen.uncounted else []
    report = ConversionReport((*rows, *_other_rows(model, seen, earlier)), tuple(notes), seen.outside)
    setattr(model, KEPT, report)
    return report


def _ruled(layers: Sequence[FoundLayer], plan: Plan) -> dict[str, Rule]:
    """The rule of each layer that has one: the first that matches.

    Raises:
        ValueError: A rule matches nothing, or only layers that an earlier rule matches.
    """
    kinds = {layer.name: layer.kind for layer in layers}
    ruled: dict[str, Rule] = {}
    for rule in plan.rules:
        matched = matching(rule.match, kinds, "plan.rules")
        if matched <= ruled.keys():
            raise ValueError(
                f"`plan.rules` has a rule for {rule.match!r} that changes nothing, because the first match counts "
                "and rules before it match all its layers; put it before them"
            )
        for name in matched:
            ruled.setdefault(name, rule)
    return ruled


def _check_run(layers: Sequence[FoundLayer], kept: Mapping[str, str]) -> None:
    idle = [x.name for x in layers if x.product is None and x.sighting is None and x.name not in kept]
    if idle:
        shown = ", ".join(f"`{name}`" for name in idle[:3])
        more = f" and {len(idle) - 3} more layers" if len(idle) > 3 else ""
        raise ValueError(
            f"{shown}{more} did not run on the example: no forward calls them in evaluation (a function may use their "
            "weights in another way than torch.nn.functional.linear); put them in `plan.keep`"
        )


def _check_known(layer: FoundLayer, seen: Probe, kept: Mapping[str, str]) -> None:
    if layer.name in kept:
        return
    calls = {layer.product.call} if layer.product else seen.calls_on(layer.name)
    if uneven := {call.owner for call in calls} & seen.uneven:
        raise ValueError(
            f"`{min(uneven) or 'the network'}` does not make the same products in every call and for every batch, so "
            f"operators cannot compute them; put `{layer.name}` in `plan.keep`"
        )
    if layer.product is None and (unknown := unknown_layer(layer.module)):
        raise ValueError(f"`{layer.name}` {'; '.join(unknown)}")


def _leave_routed(model: nn.Module, seen: Probe) -> None:
    """Leave products to torch that an earlier conversion left to torch."""
    for owner in [owner for owner in seen.products if isinstance(model.get_submodule(owner), RoutedModule)]:
        seen.others[owner] = seen.others.get(owner, 0) + sum(made.macs for made in seen.products.pop(owner))


def _row(layer: FoundLayer, module: nn.Module, how: str, why: str) -> ReportRow:
    on_macro = module.macro if isinstance(module, OnMacro) else None
    stated = how if isinstance(module, QuantizedLayer) else "float"
    if layer.product is not None:
        before, macs = f"{layer.kind.upper() if layer.kind in ('qk', 'av') else layer.kind} product", layer.product.macs
    else:
        before, macs = type(layer.module).__name__, layer.sighting.macs if layer.sighting else None  # type: ignore[assignment]
    return ReportRow(layer.name, layer.kind, before, type(module).__name__, on_macro, macs, stated, why)


def _other_rows(model: nn.Module, seen: Probe, earlier: Mapping[str, nn.Module]) -> list[ReportRow]:
    """Report rows of modules that multiply and are not converted."""
    why = dict.fromkeys(seen.others, "an earlier conversion left its products in float")
    for name in dict.fromkeys([*seen.others, *seen.uncounted]):
        unknown = f"{seen.uncounted[name]} (unknown operator)" if name in seen.uncounted else ""
        if functions := ", ".join(filter(None, [seen.functions.get(name, ""), unknown])):
            why[name] = (
                f"its forward calls {functions}, which surgery leaves in float; call a torch.nn.Conv2d, a "
                "torch.nn.Linear or torch.matmul instead"
            )
    changing = "its convolution has a weight that depends on the image, which no macro holds"
    why |= dict.fromkeys(seen.flow.of_images & seen.others.keys(), changing)
    why |= dict.fromkeys(
        other_layers(model), f"surgery converts {', '.join(each.__name__ for each in TORCH_LAYERS)} and matrix products"
    )
    why |= dict.fromkeys(earlier, "converted before")
    modules = dict(model.named_modules())
    rows = [
        ReportRow(name, TRANSFORM, "-", type(module).__name__, None, None, "float", "digital additions")
        for name, module in model.named_modules()
        if isinstance(module, Hadamard)
    ]
    for name, reason in why.items():
        kind = type(modules[name]).__name__ if name in modules else name
        rows.append(ReportRow(name or WHOLE, "-", kind, kind, None, seen.others.get(name), "-", reason))
    return rows
