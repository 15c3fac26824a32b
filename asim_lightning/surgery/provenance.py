"""Tensors that cannot be negative, because of the operations that made them."""

from typing import Any

from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.weak import WeakTensorKeyDictionary

_MAKES = {
    "relu", "relu_", "sigmoid", "sigmoid_", "hardsigmoid", "hardsigmoid_", "_softmax", "softmax", "softplus", "abs",
    "exp",
}  # fmt: skip
_MAKES_IF_MINIMUM = {"hardtanh", "hardtanh_", "clamp", "clamp_", "clamp_min", "clamp_min_"}
_KEEPS = {
    "max_pool2d_with_indices", "max_pool2d", "avg_pool2d", "_adaptive_avg_pool2d", "adaptive_avg_pool2d",
    "adaptive_max_pool2d", "mean", "amax", "view", "_unsafe_view", "reshape", "_reshape_alias", "flatten",
    "squeeze", "unsqueeze", "permute", "transpose", "t", "expand", "slice", "select", "clone", "contiguous", "detach",
    "alias", "native_dropout", "constant_pad_nd", "upsample_nearest2d", "upsample_bilinear2d", "_to_copy", "split",
    "chunk", "unbind", "index", "mkldnn_max_pool2d",
}  # fmt: skip
_KEEPS_IF_ALL = {"add", "add_", "mul", "mul_", "cat", "stack", "maximum", "sum"}


class Provenance(TorchDispatchMode):
    """While active, tracks which tensors are non-negative because of the operations that made them.

    The origin of such a tensor is the full name of the activation that made it, if it was only moved or pooled since.
    Otherwise, or if the activation has no name, the origin is empty.
    """

    def __init__(self) -> None:
        super().__init__()
        self.origins = WeakTensorKeyDictionary()

    def mark(self, tensor: Tensor, producer: str) -> None:
        """Record the output of an activation."""
        self.origins[tensor] = producer

    def origin(self, tensor: Tensor) -> str | None:
        """Origin of a tensor; None if it may be negative."""
        found: str | None = self.origins.get(tensor)
        return found

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        inputs = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
        name = func.__name__.split(".")[0]
        origin = self._origin_after(name, inputs, args, kwargs or {})
        result = func(*args, **(kwargs or {}))
        if origin is None and name.endswith("_") and inputs:  # writing it changed all views of it
            written = inputs[0].untyped_storage().data_ptr()
            for view in [each for each in self.origins if each.untyped_storage().data_ptr() == written]:
                self.origins.pop(view)
        for output in tree_leaves(result):
            if isinstance(output, Tensor):
                if origin is None:
                    self.origins.pop(output, None)
                else:
                    self.origins[output] = origin
        return result

    def _origin_after(self, name: str, inputs: list[Tensor], args: Any, kwargs: Any) -> str | None:
        if name in _MAKES:
            return ""
        if name in _MAKES_IF_MINIMUM:
            low = args[1] if len(args) > 1 else kwargs.get("min", kwargs.get("min_val"))
            return "" if isinstance(low, (int, float)) and low >= 0 else None
        if name in _KEEPS and inputs:
            return self.origin(inputs[0])
        if name == "masked_fill":  # scores of queries that a mask leaves no key
            return self.origin(inputs[0]) if isinstance(args[2], (int, float)) and args[2] >= 0 else None
        if name in _KEEPS_IF_ALL and inputs and all(self.origin(tensor) is not None for tensor in inputs):
            factors = [a for a in args if isinstance(a, (int, float))] if name != "sum" else []
            factors += [kwargs["alpha"]] if "alpha" in kwargs else []
            return "" if all(factor >= 0 for factor in factors) else None
        return None
