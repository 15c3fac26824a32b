"""Folding of BatchNorms into the layer before them, `norm(w x + b) = w' x + b'`, with the statistics of evaluation."""

import copy
from collections.abc import Iterable, Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from asim_lightning.nn.inputs import Inputs
from asim_lightning.surgery.install import replace_
from asim_lightning.surgery.layers import without_statistics
from asim_lightning.surgery.norms import FoldedNorm, Folding, find_folding
from asim_lightning.surgery.watch import relative_difference, run_watched

_STATISTICS = ("weight", "bias", "running_mean", "running_var")


def fold_batchnorm_(model: nn.Module, example: Inputs | None = None) -> Folding:
    """Fold each BatchNorm that is the only reader of a convolution's or linear layer's output into that layer,
    in place.

    In evaluation the network computes the same, up to rounding. The layer gets new parameters, always with a bias. An
    Identity replaces the BatchNorm; dropout and activation replace timm's BatchNormAct2d. A state dict from before
    folding is folded when it is loaded.

    Args:
        model: The network.
        example: Input that shows which BatchNorm reads which output; by default a random one.

    Returns:
        The folded BatchNorms, and why others stay.

    Raises:
        ValueError: There is nothing to fold, or the network does not run on the example, or it would compute something
            else. The network is unchanged then.
    """
    folding = find_folding(model, example)
    replace_by_folded_(model, folding)
    fold_when_loading_(model, folding.pairs)
    return folding


def replace_by_folded_(model: nn.Module, folding: Folding) -> dict[str, nn.Module]:
    """Put folded layers into a network, in place, and return the modules that were there before, by full name.

    A network that then computes something else, or does not run, is refused and does not change.
    """
    before = replace_(model, folded_modules(model, folding.pairs))
    try:
        output = run_watched(model, folding.example, [], [])
        if relative_difference(output, folding.output) > 1e-3:
            raise ValueError(
                "`fold_batchnorm` would change what this network computes, because its forward uses a layer or "
                "BatchNorm without calling it; set it to false"
            )
    except ValueError:
        replace_(model, before)
        raise
    return before


def folded_modules(model: nn.Module, pairs: Iterable[FoldedNorm]) -> dict[str, nn.Module]:
    """The modules that replace each pair, by full name; the network does not change."""
    new: dict[str, nn.Module] = {}
    for pair in pairs:
        layer, norm = model.get_submodule(pair.layer), model.get_submodule(pair.norm)
        left: Any = without_statistics(norm)
        statistics = {name: getattr(norm, name) for name in _STATISTICS}
        weight, bias = fold(layer.weight, layer.bias, statistics, pair.eps, pair.transposed)  # type: ignore[arg-type]
        changed = copy.copy(layer)
        changed._parameters = dict(layer._parameters)
        trained = bool(layer.weight.requires_grad)
        changed.weight, changed.bias = nn.Parameter(weight, trained), nn.Parameter(bias, trained)
        new |= {pair.layer: changed, pair.norm: left}
    return new


def fold(
    weight: Tensor, bias: Tensor | None, statistics: Mapping[str, Tensor | None], eps: float, transposed: int = 0
) -> tuple[Tensor, Tensor]:
    """Weight and bias of a layer with the BatchNorm behind it folded in.

    ``w' = w * gamma / sqrt(var + eps)`` and ``b' = beta + (b - mean) * gamma / sqrt(var + eps)`` for each output
    channel, in float64, rounded once to the type of the weight. A missing bias, gamma or beta is 0, 1 or 0.
    `transposed`: groups of a transposed convolution; 0 for other layers.

    # weight: (outputs, ...), or (inputs, outputs of a group, ...) if transposed; all others: (outputs,)
    """
    outputs = _outputs(weight, transposed)
    place = "cpu" if weight.device.type == "mps" else weight.device  # mps has no float64

    def exact(value: Tensor | None, absent: float) -> Tensor:
        if value is None:
            return torch.full((outputs,), absent, dtype=torch.float64, device=place)
        return value.detach().to(place, torch.float64)

    mean, variance = exact(statistics["running_mean"], 0.0), exact(statistics["running_var"], 1.0)
    factor = exact(statistics.get("weight"), 1.0) / torch.sqrt(variance + eps)
    # (groups, inputs of a group or 1, outputs of a group, ...)
    grouped = weight.unflatten(0, (transposed, -1)) if transposed else weight[None, None]
    new_weight = exact(grouped, 1.0) * factor.view(len(grouped), 1, -1, *[1] * (grouped.dim() - 3))
    new_bias = exact(statistics.get("bias"), 0.0) + (exact(bias, 0.0) - mean) * factor
    return new_weight.view(weight.shape).to(weight.device, weight.dtype), new_bias.to(weight.device, weight.dtype)


def _outputs(weight: Tensor, transposed: int) -> int:
    """Outputs of a layer."""
    return weight.shape[1] * transposed if transposed else weight.shape[0]


def fold_state(state: Mapping[str, Any], pairs: Iterable[FoldedNorm], prefix: str = "") -> dict[str, Any]:
    """A folded copy of a state dict from before folding, whose keys have a prefix; entries that are folded already
    stay."""
    folded = dict(state)
    for pair in pairs:
        layer, norm = f"{prefix}{pair.layer}.", f"{prefix}{pair.norm}."
        weight, bias = state.get(layer + "weight"), state.get(layer + "bias")
        statistics = {name: state[norm + name] for name in _STATISTICS if norm + name in state}
        if weight is None or not {"running_mean", "running_var"} <= set(statistics):
            continue
        vectors = [*statistics.values(), *([] if bias is None else [bias])]
        if any(vector.shape != (_outputs(weight, pair.transposed),) for vector in vectors):
            continue  # another network's, which loading refuses
        folded[layer + "weight"], folded[layer + "bias"] = fold(weight, bias, statistics, pair.eps, pair.transposed)
        for name in (*_STATISTICS, "num_batches_tracked"):
            folded.pop(norm + name, None)
    return folded


def _fold_loaded(pairs: tuple[FoldedNorm, ...], module: nn.Module, state: dict[str, Any], prefix: str, *_: Any) -> None:
    folded = fold_state(state, pairs, prefix)
    state.clear()
    state.update(folded)


def fold_when_loading_(model: nn.Module, pairs: tuple[FoldedNorm, ...]) -> None:
    """Let a folded network fold each state dict from before folding when it, or a module around it, loads it."""
    model.register_load_state_dict_pre_hook(partial(_fold_loaded, pairs))  # no closure, so that it is pickled
