"""The noise of a layer in one read, and the context that sets the read: seed, trial, samples and chip."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from numbers import Integral

import torch
from torch import Tensor

from asim_lightning.engine.chips.saved_chip import SavedChip
from asim_lightning.engine.native import passes
from asim_lightning.engine.noise import WORD, layer_key, normals, row_digests

_MANY = 2**14
"""Normals that occupy a thread much longer than it takes to wake it."""


@dataclass(frozen=True)
class Noise:
    """Noise of one layer in one read: a function of these fields only."""

    seed: int
    name: str
    call: int
    trial: int
    chip: int | SavedChip
    sample_ids: Tensor
    """Sample of each row of the leading dimension, int64. # (rows,)"""
    offsets: Tensor
    """Number of earlier rows of the same sample, int64. # (rows,)"""
    step: int = 0
    """Training step, 0..2^32-1; noise of training uses it instead of the trial."""

    def rows(self, low: int, high: int) -> "Noise":
        """The noise of rows low..high-1."""
        return replace(self, sample_ids=self.sample_ids[low:high], offsets=self.offsets[low:high])

    def conversions(self, positions: int, cycles: range, word_base: int, vote: int) -> Tensor:
        """Standard normals of consecutive cycles, float32; see `noise.normals`. # (cycles, rows, positions)"""
        key = (self.seed, layer_key(self.name, self.call))
        last_word = self.trial << 16 | vote
        return fill(key, self.sample_ids, self.offsets * positions, positions, cycles, word_base, last_word)

    def outputs(self, positions: int) -> Tensor:
        """A standard normal for each output of a training step. # (rows, positions), float32"""
        key = (self.seed, layer_key(self.name + "/train", self.call))
        quarter = -(-positions // 4)
        lines = fill(key, self.sample_ids, self.offsets * quarter, quarter, range(4), 0, self.step, by_row=True)
        return lines.transpose(0, 1).flatten(1)[:, :positions].contiguous()


@dataclass
class NoiseScope:
    """The read that `noise_context` sets for the layers called inside."""

    seed: int = 0
    trial: int = 0
    sample_ids: Tensor | None = None
    chip: int | SavedChip = 0
    step: int | None = None
    """Training step; None: each layer counts the calls in which it is trained."""
    calls: dict[str, int] = field(default_factory=dict)
    """How often each layer was called in this scope."""
    _rows: dict[tuple[int, torch.device], tuple[Tensor | None, Tensor, Tensor]] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )
    """Cache of `_ids_and_offsets` by leading dimension and device, with the sample ids that it was made from."""

    def source(self, name: str, leading: int, device: torch.device) -> Noise:
        """The noise of a layer called with `leading` rows.

        Raises:
            ValueError: The leading dimension is not a multiple of the number of sample ids.
        """
        call = self.calls.get(name, 0)
        self.calls[name] = call + 1
        kept = self._rows.get((leading, device))  # most layers have the same
        if kept is None or kept[0] is not self.sample_ids:
            kept = self.sample_ids, *self._ids_and_offsets(name, leading, device)
            self._rows[leading, device] = kept
        return Noise(self.seed, name, call, self.trial, self.chip, *kept[1:], self.step or 0)

    def source_of_rows(self, name: str, integers: Tensor) -> Noise:
        """The noise of a layer whose rows belong to no sample: each row's noise is keyed by its integers.

        Equal rows have the same noise, also in several calls. # (rows, ...)
        """
        ids = row_digests(integers)
        return Noise(self.seed, name, 0, self.trial, self.chip, ids, torch.zeros_like(ids), self.step or 0)

    def _ids_and_offsets(self, name: str, leading: int, device: torch.device) -> tuple[Tensor, Tensor]:
        """Sample ids and offsets of a leading dimension's rows, as `Noise` has them. # (rows,) each"""
        ids = torch.arange(leading) if self.sample_ids is None else self.sample_ids
        ids = ids.to(device).contiguous()
        if leading % len(ids) if len(ids) else leading:
            raise ValueError(
                f"Layer `{name}` got a leading dimension of {leading}, which must be a multiple of the "
                f"{len(ids)} sample ids of noise_context"
            )
        repeats = leading // max(1, len(ids))
        if repeats == 1:
            offsets = torch.zeros(leading, dtype=torch.int64, device=device)
        else:
            offsets, ids = torch.arange(repeats, device=device).repeat(len(ids)), ids.repeat_interleave(repeats)
        return ids, offsets


_SCOPE: ContextVar[NoiseScope | None] = ContextVar("asim_lightning.noise", default=None)


def current_scope() -> NoiseScope:
    """The innermost `noise_context`; outside of all, a new one: seed 0, trial 0, ids 0.., chip 0."""
    return _SCOPE.get() or NoiseScope()


@contextmanager
def noise_context(
    seed: int = 0,
    trial: int = 0,
    sample_ids: Tensor | Sequence[int] | None = None,
    chip: int | SavedChip = 0,
    step: int | None = None,
) -> Iterator[NoiseScope]:
    """Fix the noise of the simulated layers called inside: one read of one chip, one forward pass of a network.

    A sample gets the same noise alone or in any batch, as long as its id is the same. Open one context for each forward
    pass: a second call of a layer inside one context gets other noise. Outside of all contexts every call is a first
    call, so a layer that a network uses twice draws the same noise twice. Layers without a name (built by hand, and not
    yet named by `calibrate_`) are told apart by the order of their calls in a context, and all have the same cells.

    Args:
        seed: Seed of all noise: 0..2^32-1.
        trial: Number of the read: 0..65535.
        sample_ids: One id for each sample: integers 0..2^32-1. Default: 0, 1, 2, ...
        chip: Number of the chip, 0..2^32-1, or a chip from a file. Its static effects are the same for every read.
        step: Number of the training step, for the noise of training: 0..2^32-1. The same number gives the same noise.
            Default: each layer counts the calls in which it is trained, so that no two steps have the same noise.

    Raises:
        ValueError: A value is outside its range.

    Examples:
        >>> import torch
        >>> from asim_lightning import MacroConfig
        >>> from asim_lightning.engine import noise_context
        >>> from asim_lightning.nn import CimLinear
        >>> layer, x = CimLinear(64, 2, macro=MacroConfig(random_noise=1), name="fc").eval(), torch.rand(1, 64)
        >>> def read(trial):
        ...     with noise_context(seed=0, trial=trial):
        ...         return layer(x)
        ...
        >>> torch.equal(read(0), read(0)), torch.equal(read(0), read(1))
        (True, False)
    """
    for name, value, high in (
        ("seed", seed, WORD),
        ("trial", trial, 0xFFFF),
        ("chip", 0 if isinstance(chip, SavedChip) else chip, WORD),
        ("step", 0 if step is None else step, WORD),
    ):
        if isinstance(value, bool) or not isinstance(value, Integral) or not 0 <= value <= high:
            raise ValueError(f"`{name}` of noise_context must be a whole number 0..{high}, got {value!r}")
    ids = None if sample_ids is None else torch.as_tensor(sample_ids)
    if ids is not None:
        if ids.shape == (0,):
            ids = ids.to(torch.int64)  # an empty list has no type
        if ids.dim() != 1 or ids.is_floating_point() or ids.is_complex() or ids.dtype == torch.bool:
            raise ValueError(f"`sample_ids` of noise_context must be a list of whole numbers, got {sample_ids!r}")
        ids = ids.to(torch.int64)
        if len(ids) and (int(ids.min()) < 0 or int(ids.max()) > WORD):
            raise ValueError(f"`sample_ids` of noise_context must be 0..{WORD}, got {int(ids.min())}..{int(ids.max())}")
    chip = chip if isinstance(chip, SavedChip) else int(chip)
    scope = NoiseScope(int(seed), int(trial), ids, chip, None if step is None else int(step))
    token = _SCOPE.set(scope)
    try:
        yield scope
    finally:
        _SCOPE.reset(token)


def fill(
    key: tuple[int, int], ids: Tensor, offsets: Tensor, positions: int, cycles: range, word_base: int, last_word: int,
    by_row: bool = False,
) -> Tensor:  # fmt: skip
    """`noise.normals`; on a CPU by the C++ kernel if there is one. `by_row`: in memory, cycles of a row are neighbours.

    # (cycles, rows, positions), float32
    """
    if not passes.is_there(ids):
        return normals(key, ids, offsets, positions, cycles, word_base, last_word)
    rows, number = len(ids), len(cycles)
    shape = (rows, number, positions) if by_row else (number, rows, positions)
    out = torch.empty(shape, dtype=torch.float32, device="cpu")
    lines = out.transpose(0, 1) if by_row else out
    threads = passes.threads_for(out.numel(), _MANY)
    sizes = rows, positions, lines.stride(1), lines.stride(0), cycles.start, number
    addressed = out, ids.contiguous(), offsets.contiguous()
    passes.call("asim_fill_normals", "NormalFill", *addressed, *sizes, key, word_base & WORD, last_word, threads)
    return lines


def tail_bits(key: tuple[int, int], positions: int, lines: int, last_word: int, limit: float, sign: int) -> Tensor:
    """Which normals of `fill` are in a tail, for sample 0 and cycles 0 to `lines` - 1: bit k is 1 if ``sign * normal <
    limit`` in cycle k.

    # (positions,), int32 on the CPU
    """
    zero = torch.zeros(1, dtype=torch.int64, device="cpu")
    out = torch.zeros(positions, dtype=torch.int32, device="cpu")
    if passes.is_there(out):
        threads = passes.threads_for(positions * lines, _MANY)
        passes.call("asim_tail_bits", "TailBits", out, positions, lines, limit, float(sign), key, last_word, threads)
        return out
    for line, normal in enumerate(fill(key, zero, zero, positions, range(lines), 0, last_word)[:, 0]):
        out |= (sign * normal < limit).int() << line
    return out
