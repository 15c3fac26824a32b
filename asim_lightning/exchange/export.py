"""Export of a network's state dict to another layout."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from asim_lightning.exchange.account import IGNORED, MISSING, UNKNOWN, USED, Account, Row
from asim_lightning.exchange.layouts import PUBLISHED_NAMES, TORCHVISION_NAMES, Network

_RANGES = ("input_max", "weight_max")
_NEUTRAL = {"img_size", "drop_rate", "drop_path_rate", "pos_drop_rate", "attn_drop_rate", "proj_drop_rate",
            "patch_drop_rate", "drop_block_rate"}  # fmt: skip
"""Constructor arguments that shapes of tensors reveal, or that only matter in training."""


def exported(state: Mapping[str, Tensor], network: Network, unused: Mapping[str, Tensor]) -> Account:
    """The tensors of a network under its layout's keys, with the tensors that an import saved as `unused`."""
    base = network.backbone.name.split(".")[0]
    names = {"published": PUBLISHED_NAMES, "torchvision": TORCHVISION_NAMES}.get(network.layout)
    if names is not None and base not in names:
        raise ValueError(f"The {network.layout} format has the networks {', '.join(names)}, got {base}")
    model = network.skeleton
    factor, scaling = _query_factor(model, network)
    written: dict[str, Tensor] = {}
    first: dict[str, tuple[str, Tensor]] = {}  # the first tensor that is written to a place there, and its key
    rows = _changed_function(network) if names is not None else []
    for pair in network.pairs:
        value, shape = state.get(pair.ours), pair.shape
        if value is None and pair.counts_batches:
            value = torch.zeros((), dtype=torch.int64)
        if not pair.theirs:
            why = f"{network.layout} has no PACT, so the network would compute another function"
            rows.append(Row(pair.ours, "", shape, UNKNOWN, why))
        elif value is None:
            rows.append(Row("", pair.theirs, shape, MISSING, f"the checkpoint has no {pair.ours}"))
        else:
            value, why = value.reshape(pair.their_shape), ""
            if factor != 1.0 and pair.ours.endswith((".attn.qkv.weight", ".attn.qkv.bias")):
                queries, rest = value.tensor_split([len(value) // 3])
                value, why = torch.cat([(queries.double() * factor).to(value.dtype), rest]), scaling
            # the published VGG has one clip for all
            place = ".alpha" if base.startswith("vgg") and pair.theirs.endswith(".alpha") else pair.theirs
            key, same = first.setdefault(place, (pair.ours, value))
            written.setdefault(pair.theirs, value)
            if key == pair.ours or torch.equal(value, same):
                rows.append(Row(pair.ours, pair.theirs, shape, USED, why))
            else:
                why = f"differs from {key}, but both are one tensor there"
                rows.append(Row(pair.ours, pair.theirs, shape, UNKNOWN, why))
    ours = {pair.ours for pair in network.pairs}
    for key in (key for key in state if key not in ours):
        leaf, shape = key.rpartition(".")[2], tuple(state[key].shape)
        if leaf in _RANGES:
            rows.append(Row(key, "", shape, IGNORED, "range of a quantiser; others take each batch's maximum"))
        else:
            rows.append(Row(key, "", shape, UNKNOWN, f"{base} has no such tensor there"))
    stem = network.unused_stem
    if stem is not None:
        key, shape = stem
        why = f"not used; {'as it was imported' if key in unused else 'drawn at random'}"
        rows.append(Row("", key, shape, IGNORED, why))
        drawn, generator = torch.empty(shape), torch.Generator().manual_seed(0)  # as the published code draws it
        nn.init.kaiming_normal_(drawn, mode="fan_out", nonlinearity="relu", generator=generator)
        written[key] = unused.get(key, drawn)
    return Account(written, tuple(rows), {}, _notes(network, model))


def _changed_function(network: Network) -> list[Row]:
    """Settings with which the network is another one than the one of its name there."""
    why = f"{network.layout} has no such setting, so the network may compute another function there"
    config = network.backbone
    kwargs = {name for name, value in config.kwargs.items() if (name, value) != ("in_chans", 3)}
    changed = [f"kwargs.{name}" for name in sorted(kwargs - _NEUTRAL)]
    changed += ["small"] * (config.small and network.layout != "published")
    return [Row(f"model.backbone.{name}", "", (), UNKNOWN, why) for name in changed]


def _query_factor(model: nn.Module, network: Network) -> tuple[float, str]:
    """Factor of queries that gives the same scores with the other layout's attention scale, and its description."""
    from timm.layers.attention import Attention

    heads: set[Any] = {module.num_heads for module in model.modules() if type(module) is Attention}
    target = "embed_dim" if network.layout == "published" else "head_dim"
    if not heads or network.backbone.attention_scale == target:
        return 1.0, ""
    root = float(next(iter(heads))) ** 0.5
    factor = root if target == "embed_dim" else 1.0 / root
    return factor, f"queries times {factor:.6g}: the attention there is scaled by {target} ** -0.5"


def _notes(network: Network, model: nn.Module) -> tuple[str, ...]:
    config, notes = network.backbone, []
    found = {module.eps for module in model.modules() if isinstance(module, nn.LayerNorm)}
    theirs = 1e-5 if network.layout == "published" else 1e-6
    if found and found != {theirs}:
        eps = ", ".join(f"{each:g}" for each in sorted(found))
        notes.append(f"LayerNorm epsilon is {eps} here and {theirs:g} there, which is not in a state dict")
    if network.layout == "timm" and config.kwargs:
        notes.append(f"timm makes this network with the arguments {config.kwargs}, which are not in a state dict")
    if config.small and network.layout != "published":
        notes.append(f"{network.layout} has no {config.name} for small images: change its first convolution first")
    return tuple(notes)
