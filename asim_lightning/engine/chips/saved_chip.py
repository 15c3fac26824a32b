"""A chip in a file: one that `asim chip` saved, edited or not, or one that was measured elsewhere."""

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
"""What a layer's tensor ``macro`` says of the macro whose chip it is; 0 stands for null and false."""


@dataclass(frozen=True)
class SavedChip:
    """A chip in a .safetensors file: tensors LAYER/KIND; equal to another with the same content.

    Kinds of a layer: ``macro`` (`MACRO_FIELDS`); of its converters ``place`` (tile, group or head, output and weight
    bit of the first column), ``offset`` (LSB), ``gain`` and ``inl`` (LSB; by nibbles of the code, or by code), after
    calibration; of its cells ``stuck_at_0`` and ``stuck_at_1`` (bits of each weight), ``cells`` (what a 1-cell holds,
    nominal 1, by weight bit) and ``idle_cells`` (what the cells of a column that no weight uses hold together, beside
    their nominal sum). Where layers share macros (placement reuse), `macros 0`, `macros 1`, ... stand for layers, place
    is macro and first column, and cells are those of (macro, row, column). `asim chip` writes those that `macro.static`
    says differ; the file must have these of each layer, and no other.

    Attributes:
        digest: Of the file's bytes.
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
            ValueError: It cannot be read, is no .safetensors file or no chip, or a tensor is not finite.
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
        """Refuse, with a ValueError, a file with other layers than the network's on a macro."""
        if others := [name for name in self.layers if name not in names]:
            raise ValueError(f"{self.path} has layer `{others[0]}`, which is none of the network's on a macro")

    def check(self, layer: str, asked: Mapping[str, str], macro: Sequence[int]) -> None:
        """Refuse a file that lacks what a layer's macro says differs, or has what it says is equal everywhere.

        Args:
            layer: Full name of the layer.
            asked: Kinds that the macro asks for, with the setting that does.
            macro: Values of `MACRO_FIELDS`.

        Raises:
            ValueError: It is refused, or is of another macro.
        """
        given = self.layers.get(layer, {})
        if asked and not given:
            raise ValueError(f"{self.path} must have layer `{layer}`, which it lacks")
        for kind, setting in asked.items():
            if kind not in given:
                raise self._wrong(layer, f"must have {kind} ({setting})", ", ".join(sorted(given)))
        for kind in given:
            if kind not in asked:
                raise ValueError(
                    f"{self.path} has {kind} of layer `{layer}`, which differs on no chip of its macro; "
                    "`macro.static` says what does"
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
            ValueError: It is missing, of another shape or type, or has values outside low..high.
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
        """Refuse a tensor of whole numbers that is not as the layer needs it.

        Raises:
            ValueError: It is missing or another.
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
