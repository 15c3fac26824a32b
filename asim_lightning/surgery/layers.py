"""The layers of a network that surgery may touch, and their kinds; the one file that knows timm's classes."""

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from fnmatch import fnmatchcase
from typing import Any

from torch import nn

from asim_lightning.nn import CimAttention, CimConv2d, CimLinear, FloatConv2d, FloatLinear, QuantConv2d

_OURS = (CimConv2d, CimLinear, QuantConv2d, FloatConv2d, FloatLinear)
_OTHER_PRODUCTS = (nn.Conv1d, nn.Conv3d, nn.modules.conv._ConvTransposeNd, nn.Bilinear, nn.RNNBase)


@dataclass(frozen=True)
class FoundLayer:
    """A layer that could go on a macro."""

    name: str
    kind: str
    module: nn.Module
    """The layer; for the products of an attention, the attention."""
    unknown: str | None = None
    """Why surgery cannot convert it, where it is a subclass that surgery does not know."""


def attention_class() -> type[nn.Module]:
    """timm's self-attention."""
    from timm.layers.attention import Attention

    return Attention


def is_known(layer: nn.Module) -> bool:
    """Whether a layer is of a class whose product surgery knows, not of a subclass that may compute another one."""
    return type(layer) in (nn.Conv2d, nn.Linear) or type(layer).__name__ == "Conv2dSame"


def without_statistics(norm: nn.Module) -> nn.Module | None:
    """What is left of a BatchNorm when its scale and shift are computed elsewhere; None where surgery does not know it.

    timm's BatchNormAct2d holds a dropout and an activation; they keep their names and their order.
    """
    from timm.layers.norm_act import BatchNormAct2d

    if type(norm) in (nn.BatchNorm1d, nn.BatchNorm2d, nn.SyncBatchNorm):
        return nn.Identity().train(norm.training)
    if type(norm) is BatchNormAct2d:
        return nn.Sequential(OrderedDict(drop=norm.drop, act=norm.act)).train(norm.training)
    return None


def find_layers(model: nn.Module) -> list[FoundLayer]:
    """Every layer of a network that could go on a macro, in the order of its definition.

    Kinds: stem (the first convolution), head (the classifier), qkv, proj, mlp (linear layers of an attention block),
    qk, av (the two products of an attention), depthwise, conv, linear.

    Raises:
        ValueError: The network holds torch's own MultiheadAttention.
    """
    attention = attention_class()
    stems, heads = config_names(model, "first_conv"), config_names(model, "classifier")
    found: list[FoundLayer] = []
    parents: dict[str, nn.Module] = dict(model.named_modules())
    for name, module in parents.items():
        if isinstance(module, nn.MultiheadAttention):
            raise ValueError(
                f"`{name}` is a torch.nn.MultiheadAttention, whose forward reads its weights past any replaced layer; "
                "surgery takes timm's attention (timm.layers.Attention)"
            )
        if type(module) is attention:
            found += [FoundLayer(_join(name, "qk"), "qk", module), FoundLayer(_join(name, "av"), "av", module)]
        if isinstance(module, (nn.Conv2d, nn.Linear)) and not isinstance(module, _OURS):
            kind = _kind(name, module, parents, stems, heads)
            found.append(FoundLayer(name, kind, module, _unknown(name, module)))
    return found


def find_others(model: nn.Module) -> dict[str, tuple[str, str]]:
    """Layers with products that surgery leaves alone: class and reason by full name."""
    others = {}
    for name, module in model.named_modules():
        kind = type(module).__name__
        if isinstance(module, _OTHER_PRODUCTS):
            others[name] = (kind, "surgery converts Conv2d and Linear")
        elif isinstance(module, _OURS):
            others[name] = (kind, "converted before")
        elif "Attention" in kind and type(module) is not attention_class() and not isinstance(module, CimAttention):
            others[name] = (kind, "its two products stay float: surgery knows timm.layers.Attention")
    return others


def config_names(model: nn.Module, key: str) -> tuple[str, ...]:
    """Layer names that timm's pretrained_cfg gives for "first_conv" or "classifier"; empty where there are none."""
    value = config(model).get(key)
    names = (value,) if isinstance(value, str) else tuple(value or ())
    modules = dict(model.named_modules())
    return tuple(name for name in names if isinstance(modules.get(name), (nn.Conv2d, nn.Linear)))


def config(model: nn.Module) -> dict[str, Any]:
    """timm's pretrained_cfg as a mapping; empty for other networks."""
    value = getattr(model, "pretrained_cfg", None) or getattr(model, "default_cfg", None) or {}
    return dict(value) if isinstance(value, dict) else vars(value)


def find_relus(model: nn.Module, keep: Sequence[str]) -> dict[str, nn.Module]:
    """ReLUs of a network that become PACTs, by full name.

    Args:
        model: The network.
        keep: Globs over full names, of those that stay ReLUs.

    Raises:
        ValueError: There is no ReLU, or a glob matches none.
    """
    relus: dict[str, nn.Module] = {n: m for n, m in model.named_modules(remove_duplicate=False) if type(m) is nn.ReLU}
    if not relus:
        raise ValueError("`plan.pact` needs torch.nn.ReLU modules to replace, got a network without")
    for pattern in keep:
        if not any(fnmatchcase(name, pattern) for name in relus):
            near = get_close_matches(pattern, relus, n=3, cutoff=0.3) or list(relus)[:3]
            raise ValueError(f"`plan.pact_keep` matches no ReLU with {pattern!r}; nearest: {', '.join(near)}")
    return {name: relu for name, relu in relus.items() if not any(fnmatchcase(name, pattern) for pattern in keep)}


def _kind(
    name: str, module: nn.Module, parents: dict[str, nn.Module], stems: tuple[str, ...], heads: tuple[str, ...]
) -> str:
    if name in stems:
        return "stem"
    if name in heads:
        return "head"
    parent_name, _, leaf = name.rpartition(".")
    if type(parents.get(parent_name)) is attention_class() and leaf in ("qkv", "proj"):
        return leaf
    if leaf in ("fc1", "fc2") and parent_name.rpartition(".")[2] == "mlp":
        return "mlp"
    if isinstance(module, nn.Conv2d):
        return "depthwise" if module.groups == module.in_channels > 1 else "conv"
    return "linear"


def _unknown(name: str, module: nn.Module) -> str | None:
    if is_known(module):
        return None
    kind = type(module)
    known = "torch.nn.Conv2d and timm's Conv2dSame" if isinstance(module, nn.Conv2d) else "torch.nn.Linear"
    what = f"{kind.__module__}.{kind.__qualname__}" if kind.__name__ in ("Conv2d", "Linear") else kind.__name__
    return f"`{name}` is a {what}, which surgery does not know; it converts {known}; put it in `plan.keep`"


def _join(parent: str, leaf: str) -> str:
    return f"{parent}.{leaf}" if parent else leaf
