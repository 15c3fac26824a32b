"""Matrix products on a macro: of inputs and a weight of the layer's own or of each call, and of two activations."""

from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from asim_lightning.circuit import MacroConfig
from asim_lightning.engine import MatmulProduct, Product
from asim_lightning.nn.floating import of_groups
from asim_lightning.nn.on_macro import OnMacro


class _LinearOnMacro(OnMacro):
    """``x @ w^T + bias``."""

    def _float(self, x: Tensor, w: Tensor, bias: Tensor | None) -> Tensor:
        return F.linear(x, *self._in_type_of(x, w, bias))

    def _product(self, x: Tensor, w: Tensor) -> tuple[Product, Tensor, Tensor]:
        return MatmulProduct(), x, w

    def _rows_of(self, x: Tensor) -> Tensor:
        """The input with a batch dimension; each vector is a row of the batch if rows belong to no sample."""
        return x.reshape(-1, x.shape[-1]) if self.by_row or x.dim() == 1 else x


class CimLinear(_LinearOnMacro, nn.Linear):
    """Linear layer on a macro, with any leading dimensions; a tile holds `rows` consecutive input features.

    It takes the arguments of torch.nn.Linear and of `OnMacro`; the bias is added in floating point.

    Examples:
        >>> import torch
        >>> from asim_lightning import MacroConfig
        >>> from asim_lightning.nn import CimLinear
        >>> layer = CimLinear(4, 2, macro=MacroConfig(rows=63), signed_input=True, name="fc").eval()
        >>> layer(torch.randn(3, 4)).shape
        torch.Size([3, 2])
    """

    def forward(self, x: Tensor, with_bias: bool = True) -> Tensor:
        """Multiply; the output has the type and device of x. # (..., in features) to (..., out features)

        A module that adds another bias calls the layer without its bias.
        """
        batch, weight = self._called_with(x)
        y = self._answer(batch, weight, self.bias if with_bias else None)
        return y if batch is x else y.view(*x.shape[:-1], y.shape[-1])

    def _called_with(self, *inputs: Tensor) -> tuple[Tensor, Tensor]:
        x = inputs[0]
        self._check_inputs(x.dim() > 0 and x.shape[-1] == self.in_features, f"(..., {self.in_features})", x)
        return self._rows_of(x), self.weight


class CimFunctionalLinear(_LinearOnMacro):
    """``x @ weight^T`` on a macro, with a weight in each call, such as another module's parameter.

    The weight has no batch dimension. The layer takes the arguments of `OnMacro`.

    Examples:
        >>> import torch
        >>> from asim_lightning import MacroConfig
        >>> from asim_lightning.nn import CimFunctionalLinear
        >>> product = CimFunctionalLinear(MacroConfig()).eval()
        >>> product(torch.randn(3, 4), torch.randn(2, 4)).shape
        torch.Size([3, 2])
    """

    def __init__(
        self,
        macro: MacroConfig,
        signed_input: bool = True,
        input_range: str = "batch",
        per_channel: bool = False,
        name: str = "",
    ) -> None:
        super().__init__(
            macro=macro, signed_input=signed_input, input_range=input_range, per_channel=per_channel, name=name
        )

    def forward(self, x: Tensor, weight: Tensor) -> Tensor:
        """Multiply; the output has the type and device of x.

        # (batch, ..., in features), (out features, in features) to (batch, ..., out features)
        """
        rows, w = self._called_with(x, weight)
        y = self._answer(rows, w)
        return y if rows is x else y.view(*x.shape[:-1], y.shape[-1])

    def _called_with(self, *inputs: Tensor) -> tuple[Tensor, Tensor]:
        x, w = inputs
        fits = x.dim() > 1 and w.dim() == 2 and x.shape[-1] == w.shape[-1]
        self._check_inputs(fits, "(batch, ..., k) and (n, k)", x, w)
        return self._rows_of(x), w


class CimStack(nn.ModuleList):
    """``x @ w^T`` for each matrix of a stack, such as the weights of experts, each by a CimFunctionalLinear."""

    def forward(self, x: Tensor, w: Tensor, ends: Tensor | None = None) -> Tensor:
        """Multiply. # (..., m, k), (..., n, k) to (..., m, n)

        With `ends`, rows of x belong to groups, see `of_groups`. # (rows, k), (groups, n, k), (groups,) to (rows, n)
        """
        if ends is not None:
            return of_groups(lambda group, rows: self[group](rows, w[group]), x, ends)  # type: ignore[no-any-return]
        parts = zip(self, x.flatten(0, -3), w.flatten(0, -3), strict=True)
        return torch.stack([part(rows, matrix) for part, rows, matrix in parts]).view(*x.shape[:-1], w.shape[-2])


class CimMatmul(OnMacro):
    """``x @ w^T`` of two activations: w is written into the macro's cells, x is applied to its rows and encoded.

    w has `weight_bits` signed bits, x has `input_bits`, signed or not; each has a range per tensor. With the input
    range "token", each row of x has its own, and with `rows_in_cells` each row of w, too. Every matrix of the leading
    dimensions has its own macro. The layer takes the arguments of `OnMacro`.

    Examples:
        >>> import torch
        >>> from asim_lightning import MacroConfig
        >>> from asim_lightning.nn import CimMatmul
        >>> product = CimMatmul(MacroConfig()).eval()
        >>> product(torch.randn(1, 3, 4), torch.randn(1, 2, 4)).shape
        torch.Size([1, 3, 2])
    """

    ranges: ClassVar = {"input_max": "has_range", "weight_max": "has_weight_range"}

    def __init__(
        self,
        macro: MacroConfig,
        signed_input: bool = True,
        input_range: str = "batch",
        name: str = "",
        rows_in_cells: bool = False,
    ) -> None:
        super().__init__(macro=macro, signed_input=signed_input, input_range=input_range, name=name)
        self.rows_in_cells = rows_in_cells

    def forward(self, x: Tensor, w: Tensor) -> Tensor:
        """Multiply an encoded and a stored operand; the output has the type and device of x.

        # (batch, ..., m, k), (batch, ..., n, k) to (batch, ..., m, n)
        """
        return self._answer(*self._called_with(x, w))

    def _float(self, x: Tensor, w: Tensor, bias: Tensor | None) -> Tensor:
        return x @ w.transpose(-1, -2)

    def _product(self, x: Tensor, w: Tensor) -> tuple[Product, Tensor, Tensor]:
        return MatmulProduct(batched_weight=True), x, w

    def _called_with(self, *inputs: Tensor) -> tuple[Tensor, Tensor]:
        x, w = inputs
        fits = 2 < x.dim() == w.dim() and x.shape[:-2] == w.shape[:-2] and x.shape[-1] == w.shape[-1]
        self._check_inputs(fits, "(batch, ..., m, k) and (batch, ..., n, k)", x, w)
        return x, w
