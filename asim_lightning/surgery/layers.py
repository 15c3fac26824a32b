"""The layers of a network that surgery may touch, and their kinds; the one file that knows timm's classes."""

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from fnmatch import fnmatchcase

from torch import nn

from asim_lightning.nn import CimConv2d, CimLinear, FloatConv2d, FloatLinear, QuantConv2d
from asim_lightning.nn.layer_forms import conv_form, is_plain_linear
from asim_lightning.surgery.config import configured_layers
from asim_lightning.surgery.probe import FunctionProduct, Probe

_OURS = (CimConv2d, CimLinear, QuantConv2d, FloatConv2d, FloatLinear)
_OTHER_PRODUCTS = (nn.Conv1d, nn.Conv3d, nn.modules.conv._ConvTransposeNd, nn.Bilinear, nn.RNNBase)
_QKV = ("qkv", "q", "k", "v", "kv", "qk", "to_q", "to_k", "to_v", "to_qkv", "to_kv", "q_proj", "k_proj", "v_proj")
_PROJ = ("proj", "out_proj", "o_proj", "to_out")


@dataclass(frozen=True)
class FoundLayer:
    """A layer or product that could go on a macro."""

    name: str
    kind: str
    module: nn.Module
    """The layer; for a product by a function call, the module that makes it."""
    product: FunctionProduct | None = None
    """The product, where it is one."""


def attention_class() -> type[nn.Module]:
    """timm's self-attention."""
    from timm.layers.attention import Attention

    return Attention


def is_timms_attention(module: nn.Module) -> bool:
    """Whether CimAttention computes what a module does."""
    return type(module) is attention_class() and getattr(module, "gate", None) is None


def is_known(layer: nn.Module) -> bool:
    """Whether a layer is of a class whose product surgery knows, not of a subclass that may compute another one."""
    if isinstance(layer, nn.Conv2d):
        return conv_form(layer) is not None
    return isinstance(layer, nn.Linear) and is_plain_linear(layer)


def takes_up_norm(layer: nn.Module) -> bool:
    """Whether a BatchNorm behind a layer can be folded into its weight."""
    if isinstance(layer, nn.Conv2d):
        form = conv_form(layer)
        return form is not None and form.standardization is None
    return is_known(layer)


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


def find_layers(model: nn.Module) -> dict[str, nn.Module]:
    """Every convolution and linear layer that is not converted yet, by full name."""
    return {
        name: module
        for name, module in model.named_modules()
        if isinstance(module, (nn.Conv2d, nn.Linear)) and not isinstance(module, _OURS)
    }


def converted_layers(model: nn.Module) -> dict[str, nn.Module]:
    """Layers that surgery has made, by full name."""
    return {name: module for name, module in model.named_modules() if isinstance(module, _OURS)}


def other_layers(model: nn.Module) -> list[str]:
    """Full names of layers with products that surgery leaves alone."""
    return [name for name, module in model.named_modules() if isinstance(module, _OTHER_PRODUCTS)]


def named_by_kind(model: nn.Module, layers: Mapping[str, nn.Module], probe: Probe) -> list[FoundLayer]:
    """Layers and products of a network, with their kinds, in the order in which they first ran; others come last.

    Kinds: stem (a convolution that reads the image), head (the classifier), qkv and proj (linear layers of an
    attention), mlp, qk and av (the products of an attention, before and after its softmax), matmul (other products of
    two activations), depthwise, conv, linear.

    Args:
        model: The network.
        layers: Its convolutions and linear layers.
        probe: What a run of it showed.
    """
    modules = dict(model.named_modules())
    products = [
        found
        for owner, made in probe.products.items()
        for found in _products(owner, modules[owner], made)
    ]  # fmt: skip
    attentions = {found.name.rpartition(".")[0] for found in products if found.kind == "av"}
    heads = configured_layers(model, "classifier") or _last_linear(layers, probe)
    configured_stems = configured_layers(model, "first_conv")
    found = []
    for name, module in layers.items():
        sighting = probe.layers.get(name)
        reads_image = sighting is not None and sighting.reads_image
        if (isinstance(module, nn.Conv2d) and reads_image) or (name in configured_stems and reads_image):
            kind = "stem"
        else:
            kind = "head" if name in heads else _kind(name, module, attentions)
        found.append(FoundLayer(name, kind, module))
    places = {name: place for place, name in enumerate(probe.order)}

    def place(layer: FoundLayer) -> int:
        return places.get(layer.product.call if layer.product else layer.name, len(places))

    return sorted([*found, *products], key=place)


def product_names(owner: str, module: nn.Module, made: Sequence[FunctionProduct]) -> list[str | None]:
    """Name of each product of a module as a child of it; None where a linear layer's weight gives it one."""
    names: list[str | None] = []
    for product in made:
        if product.layer is not None:
            names.append(None)
            continue
        base = _product_kind(product)
        parameter = product.call.weight.rpartition(".")[2] if product.call.weight else ""
        if not product.batched:
            base = (
                parameter.removesuffix("_weight")
                if parameter.endswith("_weight")
                else (parameter or "fixed") + "_product"
            )
        number = 1
        while (name := base if number == 1 else f"{base}{number}") in names or hasattr(module, name):
            number += 1
        names.append(name)
    return names


def _products(owner: str, module: nn.Module, made: Sequence[FunctionProduct]) -> list[FoundLayer]:
    prefix = owner + "." if owner else ""
    names = product_names(owner, module, made)
    return [
        FoundLayer(prefix + name, _product_kind(product), module, product)
        for name, product in zip(names, made, strict=True)
        if name is not None
    ]


def _product_kind(product: FunctionProduct) -> str:
    if not product.batched:
        parameter = (product.call.weight or "").rpartition(".")[2]
        return "qkv" if parameter.startswith(("in_proj", "qkv", "q_proj", "k_proj", "v_proj")) else "linear"
    if product.a.is_score or product.b.is_score:
        return "av"
    return "qk" if product.softmaxed else "matmul"


def _last_linear(layers: Mapping[str, nn.Module], probe: Probe) -> tuple[str, ...]:
    last = list(probe.order)[-1:]
    return tuple(name for name in last if isinstance(name, str) and isinstance(layers.get(name), nn.Linear))


def _kind(name: str, module: nn.Module, attentions: set[str]) -> str:
    parent, _, leaf = name.rpartition(".")
    if parent in attentions and isinstance(module, nn.Linear):
        if leaf in _QKV:
            return "qkv"
        if leaf in _PROJ:
            return "proj"
    if isinstance(module, nn.Linear) and parent.rpartition(".")[2] == "mlp":
        return "mlp"
    if isinstance(module, nn.Conv2d):
        return "depthwise" if module.groups == module.in_channels > 1 else "conv"
    return "linear"


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


def unknown_layer(name: str, module: nn.Module) -> str | None:
    """Why surgery cannot convert a layer; None where it can."""
    if not is_known(module):
        kind = type(module)
        known = "torch.nn.Conv2d and timm's" if isinstance(module, nn.Conv2d) else "torch.nn.Linear and timm's"
        what = f"{kind.__module__}.{kind.__qualname__}" if kind.__name__ in ("Conv2d", "Linear") else kind.__name__
        return f"`{name}` is a {what}, which surgery does not know; it converts {known}; put it in `plan.keep`"
    if not isinstance(module.weight, nn.Parameter):
        return (
            f"`{name}` computes its weight anew (weight norm, pruning), and surgery needs a plain parameter; remove "
            "the reparametrisation first"
        )
    if module._forward_hooks or module._forward_pre_hooks:
        return f"`{name}` has forward hooks, which the layer in its place would not have; remove them first"
    return None
