"""A chip in a file, saved by `asim chip` or measured elsewhere."""

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

MACRO_FIELDS = (
    "weight_bits", "rows", "adc_bits", "adc_step", "weight_parallel", "columns_per_adc", "macros", "columns"
)  # fmt: skip
"""Fields of a chip's macro in a layer's tensor ``macro``; 0 stands for null and false."""


@dataclass(frozen=True)
class SavedChip:
    """A chip in a .safetensors file, with tensors LAYER/KIND. Chips with the same content are equal.

    Kinds of a layer: ``macro`` (`MACRO_FIELDS`); for converters, after calibration, ``place`` (tile, group or head,
    output and weight bit of the first column), ``offset`` (LSB), ``gain`` and ``inl`` (LSB; by nibbles of the code, or
    by code); for cells ``stuck_at_0`` and ``stuck_at_1`` (bits of each weight), ``cells`` (content of a 1-cell, nominal
    1, by weight bit) and ``idle_cells`` (contents of a column's cells that no weight uses, minus their nominal sum).
    If layers share macros (placement reuse), `macros 0`, `macros 1`, ... stand for layers, place is macro and first
    column, and cells are (macro, row, column). `asim chip` writes the kinds that differ by `macro.static`. A file must
    have exactly these kinds for each layer.

    Attributes:
        digest: Digest of the file's bytes.
        path: The file, for messages.
        layers: Tensors by layer and kind.
    """

    digest: str
    path: str = field(compare=False)
    layers: Mapping[str, Mapping[str, Tensor]] = field(compare=False, repr=False)

    @classmethod
    def read(cls, path: str) -> "SavedChip":
        """The chip in a file.

        Raises:
            ValueError: The file cannot be read, is not a .safetensors file of a chip, or has NaN or infinite values.
        """
        from safetensors import SafetensorError
        from safetensors.torch import load

        try:
            content = Path(path).read_bytes()
        except OSError as error:
            raise ValueError(f"`model.chip_file` {path!r} cannot be read: {error.strerror}") from None
        try:
            tensors = load(content)
        except (SafetensorError, ValueError, KeyError) as error:
            raise ValueError(f"{path} is no .safetensors file, or a damaged one: {error}") from None
        layers: dict[str, dict[str, Tensor]] = {}
        for key, values in sorted(tensors.items()):
            name, _, kind = key.rpartition("/")
            if not name:
                raise ValueError(f"{path} must have tensors LAYER/KIND, got {key[:80]!r}")
            if not bool(torch.isfinite(values).all()):
                raise ValueError(f"{path}: `{key}` must have finite values, got NaN or an infinite one")
            layers.setdefault(name, {})[kind] = values
        if not layers:
            raise ValueError(f"{path} must hold a chip, tensors LAYER/KIND, got none")
        return cls(f"sha256-{hashlib.sha256(content).hexdigest()[:16]}", path, layers)

    def check_layers(self, names: Sequence[str]) -> None:
        """Refuse, with a ValueError, a file with a layer that is not on a macro in the network."""
        if others := [name for name in self.layers if name not in names]:
            raise ValueError(f"{self.path} has layer `{others[0]}`, but the network has no such layer on a macro")

    def check(self, layer: str, asked: Mapping[str, str], macro: Sequence[int]) -> None:
        """Refuse a file that lacks a kind that differs on chips of a layer's macro, or has another kind.

        Args:
            asked: Kinds that must be there, each with the setting that asks for it.
            macro: Values of `MACRO_FIELDS`.

        Raises:
            ValueError: A kind is missing or not asked for, or the file belongs to another macro.
        """
        given = self.layers.get(layer, {})
        if asked and not given:
            raise ValueError(f"{self.path} must have tensors of layer `{layer}`, got none")
        for kind, setting in asked.items():
            if kind not in given:
                raise self._wrong(layer, f"must have {kind} ({setting})", ", ".join(sorted(given)))
        for kind in given:
            if kind not in asked:
                raise ValueError(
                    f"{self.path} has {kind} of layer `{layer}`, which no setting of its macro asks for; remove it, or "
                    "change `macro.static`"
                )
        if asked:
            found = self.tensor(layer, "macro", (len(MACRO_FIELDS),), dtype=torch.int64).tolist()
            for name, own, its in zip(MACRO_FIELDS, macro, found, strict=True):
                if own != its:
                    raise self._wrong(layer, f"must be of a macro with {name} {own}", f"one with {its}")

    def tensor(
        self,
        layer: str,
        kind: str,
        shape: Sequence[int],
        low: float = -math.inf,
        high: float = math.inf,
        dtype: torch.dtype = torch.float32,
    ) -> Tensor:
        """A tensor of the file.

        Raises:
            ValueError: It is missing, has another shape or type, or has values outside low..high.
        """
        given = self.layers.get(layer, {})
        if kind not in given:
            raise self._wrong(layer, f"must have {kind}", ", ".join(sorted(given)) or "nothing")
        found = given[kind]
        if found.dtype != dtype or found.shape != torch.Size(shape):
            raise self._wrong(layer, f"must have {kind} of {dtype} {[*shape]}", f"{found.dtype} {[*found.shape]}")
        if found.numel():
            least, most = float(found.min()), float(found.max())
            if not low <= least <= most <= high:
                raise self._wrong(
                    layer, f"must have {kind} of {low:g}..{high:g}", f"{least if least < low else most:g}"
                )
        return found

    def check_equal(self, layer: str, kind: str, expected: Tensor) -> None:
        """Refuse a tensor of whole numbers that differs from the expected one.

        Raises:
            ValueError: It is missing or differs.
        """
        found = self.tensor(layer, kind, expected.shape, dtype=expected.dtype)
        wrong = (found != expected).flatten(1).any(1).nonzero()
        if len(wrong):
            at = int(wrong[0])
            raise self._wrong(
                layer, f"must have {expected[at].tolist()} in line {at} of {kind}", str(found[at].tolist())
            )

    def _wrong(self, layer: str, must: str, got: str) -> ValueError:
        return ValueError(f"{self.path}: layer `{layer}` {must}, got {got}")
