"""Modules whose forward makes products by function calls, with these products on macros.

The module's own forward runs as it is written; a mode that is on meanwhile takes its products, in the order of their
calls, to operators that surgery has added to the module as children.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from asim_lightning.nn.floating import FloatLinear
from asim_lightning.nn.functional_linear import CimFunctionalLinear
from asim_lightning.nn.linear import CimLinear
from asim_lightning.nn.matmul import CimMatmul, FloatMatmul
from asim_lightning.nn.product_mode import ProductMode


@dataclass(frozen=True)
class Route:
    """Where one product of a module's forward goes."""

    operator: str
    """Name of a submodule: a CimMatmul or FloatMatmul, a CimFunctionalLinear, or the linear layer whose weight the
    product uses."""
    encodes_second: bool = False
    """Whether the second operand of ``a @ b`` is applied to the macro's rows, and the first one stored."""


class Routing:
    """Takes the products of one module to its operators, while the module's forward runs.

    Copies and pickles with its module, to which it belongs as a forward hook.

    Args:
        module: The module.
        routes: Where its products go, in the order of their calls.
        name: Full name of the module, for messages.
    """

    def __init__(self, module: nn.Module, routes: Iterable[Route], name: str) -> None:
        self.routes, self.name = tuple(routes), name
        self._running: list[_RoutedForward] = []
        self._hooks = [
            module.register_forward_pre_hook(self._begin),
            module.register_forward_hook(self._end, prepend=True, always_call=True),
        ]
        for part in module.modules():
            if part is not module:
                self._hooks.append(part.register_forward_pre_hook(self._pause, prepend=True))
                self._hooks.append(part.register_forward_hook(self._resume, always_call=True))

    def remove(self) -> None:
        """Leave the module as it was."""
        for hook in self._hooks:
            hook.remove()

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Inside, products are not taken, where the module runs."""
        self._pause()
        try:
            yield
        finally:
            self._resume()

    def __deepcopy__(self, memo: Any) -> "Routing":
        copied = Routing.__new__(Routing)
        memo[id(self)] = copied
        copied.routes, copied.name, copied._running, copied._hooks = self.routes, self.name, [], []
        return copied

    def __getstate__(self) -> dict[str, Any]:
        return {"routes": self.routes, "name": self.name, "_running": [], "_hooks": []}

    @torch.compiler.disable
    def _begin(self, module: nn.Module, inputs: Any) -> None:
        mode = _RoutedForward(module, self)
        self._running.append(mode)
        mode.__enter__()

    @torch.compiler.disable
    def _end(self, module: nn.Module, inputs: Any, output: Any) -> None:
        mode = self._running.pop()
        mode.__exit__(None, None, None)
        if output is not None and mode.count < len(self.routes):
            raise ValueError(
                f"`{self.name}` made {len(self.routes)} products by function calls when it was converted, and now "
                f"{mode.count}; convert the network on an example like its inputs, or put the module in `plan.keep`"
            )

    @torch.compiler.disable
    def _pause(self, *hooked: Any) -> None:
        if self._running:
            self._running[-1].paused += 1

    @torch.compiler.disable
    def _resume(self, *hooked: Any) -> None:
        if self._running:
            self._running[-1].paused -= 1


def find_routings(model: nn.Module) -> dict[str, Routing]:
    """The routings of a network, by full name of their modules."""
    found = {}
    for name, module in model.named_modules():
        for hook in module._forward_pre_hooks.values():
            routing = getattr(hook, "__self__", None)
            if isinstance(routing, Routing) and getattr(hook, "__name__", "") == "_begin":
                found[name] = routing
    return found


class _RoutedForward(ProductMode):
    """One forward of a module."""

    def __init__(self, module: nn.Module, routing: Routing) -> None:
        super().__init__()
        self._module, self._routing = module, routing
        self.count = 0

    def product(self, a: Tensor, b: Tensor) -> Tensor:
        """``a @ b`` by the next operator. # (..., m, k), (..., k, n) or (k, n) to (..., m, n)"""
        operator, encodes_second = self._next()
        if isinstance(operator, CimFunctionalLinear):
            self._check(b.dim() == 2, operator, a, b)
            return operator(a, b.transpose(0, 1))  # type: ignore[no-any-return]
        batched = isinstance(operator, CimMatmul) and b.dim() > 2
        self._check(batched or isinstance(operator, FloatMatmul), operator, a, b)
        if isinstance(operator, FloatMatmul) or not encodes_second:
            return operator(a, b.transpose(-1, -2))  # type: ignore[no-any-return]
        # torch's products lie in one piece, and forwards take a view of them
        return operator(b.transpose(-1, -2), a).transpose(-1, -2).contiguous()  # type: ignore[no-any-return]

    def linear(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """A functional linear by the next operator. # (..., k), (n, k), (n,) to (..., n)"""
        operator, _ = self._next()
        if isinstance(operator, (CimLinear, FloatLinear)):
            self._check(weight.shape == operator.weight.shape, operator, x, weight)
            if bias is operator.bias:
                return operator(x)  # type: ignore[no-any-return]
            y: Tensor = operator(x, with_bias=False)
        else:
            self._check(isinstance(operator, (CimFunctionalLinear, FloatMatmul)), operator, x, weight)
            y = operator(x, weight)
        return y if bias is None else y + bias

    def _next(self) -> tuple[nn.Module, bool]:
        routes = self._routing.routes
        if self.count >= len(routes):
            raise ValueError(
                f"`{self._routing.name}` made {len(routes)} products by function calls when it was converted, and now "
                "one more; convert the network on an example like its inputs, or put the module in `plan.keep`"
            )
        route = routes[self.count]
        self.count += 1
        return self._module.get_submodule(route.operator), route.encodes_second

    def _check(self, fits: bool, operator: nn.Module, a: Tensor, b: Tensor) -> None:
        if not fits:
            raise ValueError(
                f"Product {self.count} of `{self._routing.name}` is another one than when it was converted "
                f"({type(operator).__name__} got operands of shapes {tuple(a.shape)} and {tuple(b.shape)}); convert "
                "the network on an example like its inputs"
            )
