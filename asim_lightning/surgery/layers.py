"""The layers of a network that surgery can convert, and their kinds; only this file knows timm's classes."""

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from torch import nn

from asim_lightning.nn import QuantizedLayer
from asim_lightning.nn.conv import meets_inputs
from asim_lightning.nn.hadamard import has_other_hooks
from asim_lightning.nn.layer_forms import is_called_plainly, is_plain, standardization_of
from asim_lightning.nn.layer_kinds import FLOAT_LAYERS, LAYER_KINDS, TORCH_LAYERS, kind_of
from asim_lightning.surgery.plan import matching
from asim_lightning.surgery.probe import FunctionProduct, Operand, Probe, Sighting, configured_layers
from asim_lightning.surgery.watch import Call

_OURS = (QuantizedLayer, *FLOAT_LAYERS)
_OTHER_PRODUCTS = (nn.modules.conv._ConvNd, nn.Bilinear, nn.RNNBase)
_QKV = ("qkv", "q", "k", "v", "kv", "qk", "to_q", "to_k", "to_v", "to_qkv", "to_kv", "q_proj", "k_proj", "v_proj")
_PROJ = ("proj", "out_proj", "o_proj", "to_out")


@dataclass(frozen=True)
class FoundLayer:
    """A layer or function product that can be put on a macro."""

    name: str
    kind: str
    module: nn.Module
    """The layer; for a function product, its owner."""
    product: FunctionProduct | None = None
    """The function product, if it is one."""
    sighting: Sighting | None = None
    """Facts about a layer from the run; None if it did not run."""
    part: int | None = None
    """Number of its matrix, if the function product's second operand is a stack of weights, each a layer."""

    @property
    def operator(self) -> str:
        """Full name of the operator of the function product."""
        return self.name if self.part is None else self.name.removesuffix(f".{self.part}")

    @property
    def encodes_second(self) -> bool:
        """Whether a macro's rows get the second operand of ``a @ b``: keys, scores, else a non-negative operand."""
        product = self.product
        if product is None or not product.batched or self.part is not None:
            return False
        if self.kind == "qk":
            return True
        if self.kind == "av":
            return product.b.is_score and not product.a.is_score
        return product.b.origin is not None and product.a.origin is None

    @property
    def input(self) -> Operand:
        """The input that is applied to the macro's rows."""
        if self.product is not None:
            return self.product.b if self.encodes_second else self.product.a
        return Operand() if self.sighting is None else self.sighting.input

    @property
    def sees_image(self) -> bool:
        """Whether an operand depends on the network's input."""
        operands = [self.input] if self.product is None else [self.product.a, self.product.b]
        return any(operand.sees_image for operand in operands)


def is_timms_attention(module: nn.Module) -> bool:
    """Whether CimAttention computes the same as a module."""
    from timm.layers.attention import Attention

    hooked = module._forward_hooks or module._forward_pre_hooks
    plain = type(module) is Attention and is_called_plainly(module) and not hooked
    return plain and getattr(module, "gate", None) is None


def is_known(layer: nn.Module) -> bool:
    """Whether surgery knows the product of a layer's class. It does not know subclasses: they may compute another."""
    kind = kind_of(layer)
    return kind is not None and is_plain(layer, kind.torchs)


def can_fold_norm(layer: nn.Module) -> bool:
    """Whether a BatchNorm behind a layer can be folded into its weight."""
    return is_known(layer) and not (isinstance(layer, nn.Conv2d) and standardization_of(layer))


def without_statistics(norm: nn.Module) -> nn.Module | None:
    """The module that replaces a folded BatchNorm: an Identity, or dropout and activation of timm's BatchNormAct2d;
    None if surgery does not know the class."""
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
        if isinstance(module, TORCH_LAYERS) and not isinstance(module, _OURS)
    }


def converted_layers(model: nn.Module) -> dict[str, nn.Module]:
    """Layers that surgery has installed, by full name."""
    return {name: module for name, module in model.named_modules() if isinstance(module, _OURS)}


def other_layers(model: nn.Module) -> list[str]:
    """Full names of layers with products that surgery does not convert."""
    return [
        name
        for name, module in model.named_modules()
        if isinstance(module, _OTHER_PRODUCTS) and kind_of(module) is None
    ]


def named_by_kind(
    model: nn.Module, layers: Mapping[str, nn.Module], probe: Probe, names: Mapping[Call, str]
) -> list[FoundLayer]:
    """Layers and function products of a network, with their kinds, in the order in which they first ran; layers that
    did not run come last.

    Kinds: stem (a layer that reads the image in pixels or patches), head (a classifier: timm's, or a linear layer after
    which no other computes the output), qkv and proj (linear layers of an attention), mlp, qk and av (the products of
    an attention, before and after its softmax), matmul (other products of two activations), depthwise, conv, linear.
    `names` are the names of the operators of function products.
    """
    modules = dict(model.named_modules())
    products = [
        FoundLayer(names[made.call], _product_kind(made), modules[owner], made)
        for owner, all_made in probe.products.items()
        for made in all_made
        if made.call in names
    ]
    attentions = {found.name.rpartition(".")[0] for found in products if found.kind == "av"}
    heads = {*configured_layers(model, "classifier")} or {
        name for name in probe.last if isinstance(layers[name], nn.Linear)
    }
    found = []
    for name, module in layers.items():
        seen = probe.layers.get(name)
        is_stem = seen is not None and seen.reads_image
        kind = "stem" if is_stem else "head" if name in heads else _kind(name, module, attentions)
        found.append(FoundLayer(name, kind, module, sighting=seen))
    places = {name: place for place, name in enumerate(probe.order)}

    def place(layer: FoundLayer) -> int:
        return places.get(layer.product.call if layer.product else layer.name, len(places))

    return sorted([*found, *products], key=place)


def operator_names(model: nn.Module, probe: Probe) -> dict[Call, str]:
    """Full name of the operator of each function product, below its owner: the product's kind, or the parameter that it
    multiplies by. Products with the weight of a linear layer have none."""
    names: dict[Call, str] = {}
    for owner, all_made in probe.products.items():
        module, prefix = model.get_submodule(owner), owner + "." if owner else ""
        taken: set[str] = set()
        for made in all_made:
            if made.layer is not None:
                continue
            base = _product_kind(made)
            if not made.batched or made.grouped:
                parameter = made.call.weight.rpartition(".")[2] if made.call.weight else "fixed"
                base = parameter.removesuffix("_weight") if parameter.endswith("_weight") else parameter + "_product"
            number = 1
            while (name := base if number == 1 else f"{base}{number}") in taken or hasattr(module, name):
                number += 1
            taken.add(name)
            names[made.call] = prefix + name
    return names


def _product_kind(product: FunctionProduct) -> str:
    if not product.batched or product.grouped:
        parameter = (product.call.weight or "").rpartition(".")[2]
        return "qkv" if parameter.startswith(("in_proj", "qkv", "q_proj", "k_proj", "v_proj")) else "linear"
    if product.a.is_score or product.b.is_score:
        return "av"
    return "qk" if product.softmaxed else "matmul"


def _kind(name: str, module: nn.Module, attentions: set[str]) -> str:
    parent, _, leaf = name.rpartition(".")
    if parent in attentions and isinstance(module, nn.Linear):
        if leaf in _QKV:
            return "qkv"
        if leaf in _PROJ:
            return "proj"
    if isinstance(module, nn.Linear) and parent.rpartition(".")[2] == "mlp":
        return "mlp"
    if isinstance(module, nn.modules.conv._ConvNd):
        return "depthwise" if module.groups == module.in_channels > 1 else "conv"
    return "linear"


def find_relus(model: nn.Module, keep: Sequence[str]) -> dict[str, nn.Module]:
    """ReLUs of a network that PACTs replace, by full name; ReLUs that a pattern of `keep` matches stay."""
    relus: dict[str, nn.Module] = {n: m for n, m in model.named_modules(remove_duplicate=False) if type(m) is nn.ReLU}
    if not relus:
        raise ValueError("`plan.pact` needs torch.nn.ReLU modules to replace, got a network without")
    kept = {name for pattern in keep for name in matching(pattern, dict.fromkeys(relus, ""), "plan.pact_keep")}
    return {name: relu for name, relu in relus.items() if name not in kept}


def unknown_layer(module: nn.Module) -> tuple[str, str] | None:
    """Why surgery cannot convert a layer, and what to do about it; None if it can."""
    if not is_known(module):
        kind = type(module)
        own = next(each.torchs for each in LAYER_KINDS if isinstance(module, each.torchs))
        known = f"torch.nn.{own.__name__}" + (" and timm's" if own in (nn.Conv2d, nn.Linear) else "")
        what = f"{kind.__module__}.{kind.__qualname__}" if kind.__name__ == own.__name__ else kind.__name__
        return f"is a {what}, which surgery does not know; it converts {known}", "put it in `plan.keep`"
    if not isinstance(module.weight, nn.Parameter):
        return (
            "computes its weight anew (weight norm, pruning), and surgery needs a plain parameter",
            "remove the reparametrisation first",
        )
    if has_other_hooks(module):
        return "has forward hooks, which its replacement would not have", "remove them first"
    if isinstance(module, nn.ConvTranspose2d) and not meets_inputs(module):
        return "has outputs that meet no input", "put it in `plan.keep`"
    return None
