"""Modules with products by function calls, which operators on macros compute.

The module's forward runs unchanged, within a mode. The mode passes the products, in the order of their calls, to
operators that surgery has added to the module as children.
"""

import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from asim_lightning.nn.floating import FloatLinear, FloatMatmul, product
from asim_lightning.nn.linear import CimFunctionalLinear, CimLinear, CimMatmul, CimStack
from asim_lightning.nn.product_mode import ProductMode

_ADVICE = "convert the network on an example like its inputs, or put its products in `plan.keep`"


@dataclass(frozen=True)
class Route:
    """The operator of one product of a module's forward."""

    operator: str | None
    """Name of a submodule: a CimMatmul, CimStack, FloatMatmul or CimFunctionalLinear, or the linear layer whose weight
    the product uses; None leaves the product to torch."""
    encodes_second: bool = False
    """Whether the second operand of ``a @ b`` is applied to the macro's rows, and the first one stored."""


class RoutedModule(nn.Module):
    """A module whose products operators compute: the module's class, called within a mode."""

    routes: tuple[Route, ...] | None
    """Operators of its products, in the order of their calls; None: the number of products depends on the input, and
    all are in floating point."""
    routed_name: str
    """Full name of the module, for messages."""
    routed_pauses: list[RemovableHandle]
    """Hooks of its parts, which compute their own products."""

    @torch.compiler.disable
    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call the module, with its products on operators."""
        mode = _RoutedForward(self)
        _running.modes.append(mode)
        try:
            with mode:
                y = super().__call__(*args, **kwargs)
        finally:
            _running.modes.remove(mode)
        if self.routes is not None and mode.count < len(self.routes):
            raise ValueError(mode.miscounted(f"{mode.count}"))
        return y

    def __reduce_ex__(self, protocol: Any) -> Any:
        return _new, (type(self).__mro__[2],), self.__dict__


def route_(module: nn.Module, routes: Iterable[Route] | None, name: str) -> None:
    """Let operators compute the products of a module, in the order of their calls, in place; its class stays."""
    module.__class__ = _routed_class(type(module))  # type: ignore[arg-type]
    module.routes, module.routed_name = None if routes is None else tuple(routes), name  # type: ignore[assignment]
    parts = [part for part in module.modules() if part is not module]
    pauses = [part.register_forward_pre_hook(_Pause(name, 1), prepend=True) for part in parts]
    pauses += [part.register_forward_hook(_Pause(name, -1), always_call=True) for part in parts]
    module.routed_pauses = pauses  # type: ignore[assignment]


def unroute_(module: nn.Module) -> None:
    """Undo `route_`, in place."""
    if isinstance(module, RoutedModule):
        for pause in module.routed_pauses:
            pause.remove()
        module.__class__ = type(module).__mro__[2]
        del module.routes, module.routed_name, module.routed_pauses


@contextmanager
def routing_paused() -> Iterator[None]:
    """Inside, modules that run already leave their products to torch; modules called inside still route theirs."""
    modes = list(_running.modes)
    for mode in modes:
        mode.paused += 1
    try:
        yield
    finally:
        for mode in modes:
            mode.paused -= 1


class _RoutedForward(ProductMode):
    """One call of a routed module."""

    def __init__(self, module: RoutedModule) -> None:
        super().__init__()
        self._module, self.routed_name, self._routes = module, module.routed_name, module.routes
        self._saves = _saved_tensors_hooks()
        self._has_grad = torch.is_grad_enabled()
        self.count = 0

    def product(self, a: Tensor, b: Tensor) -> Tensor:
        """``a @ b`` by the next operator. # (..., m, k), (..., k, n) or (k, n) to (..., m, n)"""
        if self._routes is None:
            return product(self._module.training, torch.matmul, a, b)
        operator, encodes_second = self._next()
        if operator is None:
            return a @ b
        on_macro = (CimMatmul, CimStack) if b.dim() > 2 else (CimFunctionalLinear,)
        self._check(isinstance(operator, (*on_macro, FloatMatmul)), operator, a, b)
        if encodes_second and isinstance(operator, CimMatmul):
            # contiguous like torch's products, because forwards take views of them
            return operator(b.transpose(-1, -2), a).transpose(-1, -2).contiguous()  # type: ignore[no-any-return]
        return operator(a, b.transpose(-1, -2))  # type: ignore[no-any-return]

    def linear(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """A functional linear by the next operator. # (..., k), (n, k), (n,) to (..., n)"""
        if self._routes is None:
            return product(self._module.training, F.linear, x, weight, bias)
        operator, _ = self._next()
        if operator is None:
            return F.linear(x, weight, bias)
        if isinstance(operator, (CimLinear, FloatLinear)):
            # another layer's weight may have the same shape
            self._check(weight is operator.weight, operator, x, weight)
            if bias is operator.bias:
                return operator(x)  # type: ignore[no-any-return]
            y: Tensor = operator(x, with_bias=False)
        else:
            self._check(isinstance(operator, (CimFunctionalLinear, FloatMatmul)), operator, x, weight)
            y = operator(x, weight)
        return y if bias is None else y + bias

    def grouped(self, x: Tensor, w: Tensor, ends: Tensor) -> Tensor:
        """Rows of groups by the next operator. # (rows, k), (groups, k, n), (groups,) to (rows, n)"""
        operator: Any = FloatMatmul().train(self._module.training) if self._routes is None else self._next()[0]
        operator = FloatMatmul() if operator is None else operator
        self._check(isinstance(operator, (CimStack, FloatMatmul)), operator, x, w)
        return operator(x, w.transpose(-1, -2), ends)  # type: ignore[no-any-return]

    def miscounted(self, now: str) -> str:
        """Message about another number of products than there are routes."""
        before = f"{len(self._routes or ())} products by function calls when it was converted"
        return f"`{self.routed_name}` made {before}, and now {now}; {_ADVICE}"

    def _next(self) -> tuple[nn.Module | None, bool]:
        if self._routes is None or self.count >= len(self._routes):
            raise ValueError(self.miscounted("one more"))
        if self._has_grad and (not torch.is_grad_enabled() or _saved_tensors_hooks() != self._saves):
            raise ValueError(
                f"`{self.routed_name}` makes products in a function that checkpoints activations, and gradients would "
                "be gradients of a float product; checkpoint the whole module instead"
            )
        route = self._routes[self.count]
        self.count += 1
        operator = None if route.operator is None else self._module.get_submodule(route.operator)
        return operator, route.encodes_second

    def _check(self, fits: bool, operator: nn.Module, a: Tensor, b: Tensor) -> None:
        if not fits:
            raise ValueError(
                f"Product {self.count} of `{self.routed_name}` is not the same as at its conversion "
                f"({type(operator).__name__} got operands of shapes {tuple(a.shape)} and {tuple(b.shape)}); {_ADVICE}"
            )


@dataclass(frozen=True)
class _Pause:
    """A forward hook of a part of a routed module that computes its own products."""

    routed_name: str
    change: int

    def __call__(self, *_: Any) -> None:
        for mode in reversed(_running.modes):
            if mode.routed_name == self.routed_name:
                mode.paused += self.change
                return


class _Running(threading.local):
    """The routed modules that run in a thread, outermost first."""

    def __init__(self) -> None:
        self.modes: list[_RoutedForward] = []


_running = _Running()


def _saved_tensors_hooks() -> Any:
    """Hooks that save tensors for the backward pass, such as activation checkpointing's; None if there are none."""
    return torch._C._autograd._top_saved_tensors_default_hooks(False)


@cache
def _routed_class(kind: type[nn.Module]) -> type[nn.Module]:
    """The routed subclass of a class: one for each class, so that modules of one class stay of one class."""
    return type(kind.__name__, (RoutedModule, kind), {"__module__": kind.__module__, "__doc__": kind.__doc__})


def _new(kind: type[nn.Module]) -> nn.Module:
    routed = _routed_class(kind)  # type: ignore[arg-type]
    return routed.__new__(routed)
