"""Codes from a simulator, an RTL bench or a chip in place of a layer's own conversions."""

import csv
import hashlib
import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from asim_lightning.circuit import Cycle
from asim_lightning.classifier.network import CimModule
from asim_lightning.engine import noise_context
from asim_lightning.engine.program import Conversions
from asim_lightning.evaluation.attribution import computed
from asim_lightning.evaluation.layer_snr import decibels
from asim_lightning.nn import OnMacro
from asim_lightning.nn.inputs import Inputs, moved, tensors_of
from asim_lightning.silicon.files import CODES, EXPECTED, plain_fields
from asim_lightning.silicon.layer_vectors import digest_of, reads_of
from asim_lightning.silicon.recording import Axes, Chosen, check_called, chip_name, conditions, layer_of, tapped
from asim_lightning.silicon.words import fields_of, words_of

_COLUMNS = ("image", "position", "tile", "group", "output", "cycle", "vote", "code")
Numbers = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class GivenCodes:
    """Codes of a layer from elsewhere.

    Attributes:
        source: File or folder.
        at: Image, position, tile, group, output, cycle and vote of each code. # (codes, 7)
        codes: # (codes,)
        settings: Layer, read, chip and ideal of the vectors, if a folder says them.
        macro: Fields of the macro of the vectors, if a folder says them.
        digests: Digests of the layer's weights and inputs, if a folder says them.
    """

    source: str
    at: Numbers
    codes: NDArray[np.float64]
    settings: Mapping[str, Any] = field(default_factory=dict)
    macro: Mapping[str, Any] | None = None
    digests: Mapping[str, str] = field(default_factory=dict)

    @property
    def images(self) -> list[int]:
        """Places of the images in the data, in order of appearance."""
        return list(dict.fromkeys(self.at[:, 0].tolist()))


def read_codes(path: Path) -> GivenCodes:
    """Codes of a CSV file with the columns of `asim vectors --format csv`, or of a folder of vectors.

    Raises:
        FileNotFoundError: There is no such file, and no folder with expected.json.
        ValueError: A column is missing, a value is no number or a place no whole one, the folder has neither CSV nor
            hex files, or its weights or inputs are not as they were written.
    """
    if path.is_dir():
        try:
            return _of_folder(path, json.loads((path / EXPECTED).read_text(encoding="utf-8")))
        except (LookupError, TypeError, AttributeError, json.JSONDecodeError) as error:
            raise ValueError(
                f"{path / EXPECTED} must be as `asim vectors` writes it, got {type(error).__name__}: {error}"
            ) from error
    with path.open(newline="", encoding="utf-8") as file:
        lines = csv.reader(file)
        head = next(lines, [])
        lacking = [name for name in _COLUMNS if name not in head]
        if lacking:
            raise ValueError(f"{path} must have the columns {', '.join(_COLUMNS)}, got no {' and no '.join(lacking)}")
        places = [head.index(name) for name in _COLUMNS]
        try:
            values = np.array([[float(line[place]) for place in places] for line in lines], dtype=np.float64)
        except (ValueError, IndexError) as error:
            raise ValueError(f"{path} must have a number in each column of line {lines.line_num}: {error}") from None
    if not len(values):
        raise ValueError(f"{path} must have a line for each code, got only the names of columns")
    at = values[:, :-1].astype(np.int64)
    if (wrong := np.argwhere(at != values[:, :-1])).size:
        row, column = wrong[0]
        raise ValueError(
            f"{path} must have whole numbers in the column {_COLUMNS[column]}, got {values[row, column]:g}"
        )
    return GivenCodes(str(path), at, values[:, -1])


def _of_folder(folder: Path, expected: dict[str, Any]) -> GivenCodes:
    for name, digest in expected["files"].items():
        is_operand = "_weights." in name or "_inputs." in name
        if is_operand and hashlib.sha256((folder / name).read_bytes()).hexdigest() != digest:
            raise ValueError(
                f"{folder / name} must be as `asim vectors` wrote it, and was edited; replay takes other codes, not "
                "other weights or inputs"
            )
    settings = {name: expected[name] for name in ("layer", "read", "chip", "ideal")}
    found = read_codes(folder / CODES) if expected["format"] == "csv" else _of_hex(folder, expected)
    digests = expected.get("digests", {})
    return GivenCodes(str(folder), found.at, found.codes, settings, expected["macro"], digests)


def _of_hex(folder: Path, expected: dict[str, Any]) -> GivenCodes:
    reads = [(n, vote) for n, cycle in enumerate(expected["cycles"]) for vote in range(cycle["votes"])]
    parts, codes = [], []
    for array in expected["arrays"]:
        file = folder / f"{array['name']}_codes.hex"
        if expected["format"] != "hex":
            raise ValueError(f"{folder} must have vectors of `format` hex or csv, got {expected['format']}")
        words = words_of(file.read_text(encoding="utf-8"))
        shape = len(array["images"]), len(expected["positions"]), len(reads), array["outputs"]
        if len(words) != np.prod(shape):
            raise ValueError(f"{file} must have {np.prod(shape)} words, as {EXPECTED} says, got {len(words)}")
        try:
            found = fields_of(words, 1, expected["bits"]["code"], expected["signed_codes"])[:, 0]
        except ValueError as error:
            raise ValueError(f"{file} must have hexadecimal words: {error}") from None
        image, position, number, output = (each.ravel() for each in np.indices(shape))
        at = np.array(reads)[number]
        known = np.array(array["images"])[image], np.array(expected["positions"])[position]
        place = [*known, np.full(len(at), array["tile"]), np.full(len(at), array["group"]), output, at[:, 0], at[:, 1]]
        parts.append(np.stack(place, 1))
        codes.append(found.astype(np.float64))
    at = np.concatenate(parts).astype(np.int64)
    return GivenCodes(str(folder), at, np.concatenate(codes))


def check_macro(given: GivenCodes, layer: OnMacro) -> None:
    """Refuse codes of a folder that was written for another macro."""
    if given.macro is None:
        return
    own = plain_fields(layer.transfer.macro)
    if names := [name for name in own if own[name] != given.macro.get(name)]:
        had, has = (", ".join(f"{name} {each.get(name)!r}" for name in names) for each in (given.macro, own))
        raise ValueError(
            f"{given.source} was written for a macro with {had}, and layer `{layer.name}` has {has}; give the same "
            "recipe and flags"
        )


class Replayer:
    """A tap that puts codes in the place of those of the first call of a layer. See `engine.program.Tap`.

    Attributes:
        off: How many codes differ from the layer's own by how much.
        total: Sum of these differences, given code minus own code.
    """

    def __init__(self, layer: OnMacro, given: GivenCodes, places: Sequence[int]) -> None:
        self.layer, self.given, self.calls = layer, given, 0
        self.off, self.total = Counter[int](), 0.0
        self.places = {place: number for number, place in enumerate(places)}

    def called(self, layer: OnMacro, inputs: tuple[Tensor, ...]) -> None:
        """Check that the codes fit the first call, before it."""
        self.calls += 1
        if self.calls > 1:
            return
        product, x, w = layer.quantized_operands(*inputs)
        for name, own in (("weights", w), ("inputs", x)):
            if self.given.digests.get(name, digest := digest_of(own)) != digest:
                raise ValueError(
                    f"{self.given.source} was written for other {name} of layer `{layer.name}`; give the same "
                    "checkpoint, images, read and chip"
                )
        self.axes, at, reads = Axes(product, x, w), self.given.at, reads_of(layer.transfer)
        g = self.axes.geometry
        votes = max(vote for _, vote in reads) + 1
        sizes = [g.windows, len(g.tiles(layer.macro.rows)), g.groups, g.outputs, len(layer.transfer.cycles), votes]
        names = ["position", "tile", "group", "output", "cycle", "vote"]
        for column, (name, size) in enumerate(zip(names, sizes, strict=True), 1):
            if (wrong := at[(at[:, column] < 0) | (at[:, column] >= size), column]).size:
                raise ValueError(
                    f"{self.given.source} must have {name} 0..{size - 1} for layer `{layer.name}`, got {wrong[0]}"
                )
        whole = sizes[1] * sizes[2] * sizes[3] * len(reads)
        pairs, counts = np.unique(at[:, :2], axis=0, return_counts=True)
        shape = [int(at[:, column].max()) + 1 for column in range(at.shape[1])]
        once = len(np.unique(np.ravel_multi_index(at.T, shape))) == len(at)
        for (image, position), count in zip(pairs.tolist(), counts.tolist(), strict=True):
            if count != whole or not once:
                raise ValueError(
                    f"{self.given.source} must have each of {whole} codes (tiles x groups x votes x outputs) once for "
                    f"each image and position, got {count} for image {image}, position {position}"
                )
        self._check_codes(layer.transfer.cycles)
        images = np.vectorize(self.places.__getitem__)(at[:, 0])
        order = np.column_stack([at[:, 6], images, at[:, 3], at[:, 1], at[:, 4]])  # as in `Axes.by_group`
        self.by_cycle = {
            (tile, cycle): (order[chosen], self.given.codes[chosen])
            for tile in range(sizes[1])
            for cycle in range(sizes[4])
            for chosen in [(at[:, 2] == tile) & (at[:, 5] == cycle)]
        }
        self.positions = len(pairs), len(self.places) * g.windows
        self.there = torch.zeros(len(self.places), g.windows, dtype=torch.bool)
        self.there[images, at[:, 1]] = True

    def _check_codes(self, cycles: Sequence[Cycle]) -> None:
        """Refuse codes that the ADC cannot give."""
        for number, cycle in enumerate(cycles):
            top = cycle.top_code if cycle.converted else cycle.largest_count
            if top is None:
                continue  # codes of an ideal ADC are no whole numbers
            own, low = self.given.codes[self.given.at[:, 5] == number], -top if cycle.signed else 0
            if (wrong := own[~((own >= low) & (own <= top)) | (own != np.round(own))]).size:
                raise ValueError(
                    f"{self.given.source} must have whole codes {low}..{top} in cycle {number}, got {wrong[0]:g}"
                )

    @property
    def is_whole(self) -> bool:
        """Whether all positions of all images have codes."""
        return self.positions[0] == self.positions[1]

    def of_positions(self, y: Tensor) -> Tensor:
        """Outputs of the layer at the positions of the codes. # (positions of all images, groups, outputs)"""
        g = self.axes.geometry
        if y.numel() != self.there.numel() * g.groups * g.outputs:
            raise ValueError(
                f"{self.given.source} must have codes of all positions, because those of layer `{self.layer.name}` "
                f"overlap in its output, got {self.positions[0]} of {self.positions[1]}"
            )
        return self.axes.by_group(y[None])[0].transpose(1, 2)[self.there]

    def __call__(self, made: Conversions) -> Tensor:
        """The given codes where there are any, and the layer's own elsewhere."""
        codes = made.codes
        if self.calls != 1:
            return codes
        at, given = self.by_cycle[made.tile, made.cycle]
        index = tuple(torch.from_numpy(at.T.copy()))
        found = self.axes.by_group(codes).clone()
        values = torch.from_numpy(given).to(found)
        differences = (values - found[index]).double()
        self.total += float(differences.sum())
        sizes, numbers = differences.abs().round().long().unique(return_counts=True)
        self.off.update(dict(zip(sizes.tolist(), numbers.tolist(), strict=True)))
        found[index] = values
        return self.axes.as_outputs(found, codes.shape)


@dataclass(frozen=True)
class Replay:
    """What codes from elsewhere do.

    Attributes:
        layer: Full name of the layer.
        codes: Number of codes.
        off: How many codes differ from the layer's own by 0, 1, 2, ... codes.
        mean_off: Mean of (given code - own code).
        own: Read and chip of the layer's own codes.
        positions: Positions of images that have codes, and all of them.
        snr: Signal to error at the layer's output, against the exact product of the same integers, dB; infinite without
            error.
        own_snr: The same of the layer's own codes.
        equal_outputs: Whether all outputs of the network equal those with the layer's own codes, to the bit; None if
            some positions have no codes.
        outputs: Outputs of the network, as the outcome reads them, with the given codes; None if some positions have
            none.
        own_outputs: Outputs with the layer's own codes.
    """

    layer: str
    codes: int
    off: Mapping[int, int]
    mean_off: float
    own: str
    positions: tuple[int, int]
    snr: float
    own_snr: float
    equal_outputs: bool | None
    outputs: Any
    own_outputs: Any

    def __str__(self) -> str:
        shares = [f"{count:,} by {off}" for off, count in sorted(self.off.items()) if off and count]
        differ = sum(count for off, count in self.off.items() if off)
        lines = [
            f"codes    {self.codes:,} of layer {self.layer}; {differ:,} differ from its own ({self.own})"
            + (f": {', '.join(shares[:6])}{' and more' * (len(shares) > 6)}" if shares else "")
            + (f"; mean of all differences {self.mean_off:+.4g}" if shares else ""),
            f"output   {_snr_text(self.snr)} against the exact product; own codes: {_snr_text(self.own_snr)}",
        ]
        if self.equal_outputs is None:
            there, every = self.positions
            lines.append(f"answers  not computed, because the codes are of {there:,} of {every:,} positions")
        else:
            equal = "equal those with its own codes, to the bit" if self.equal_outputs else "differ"
            lines.append(f"answers  the network's outputs {equal}")
        return "\n".join(lines)


def _snr_text(snr: float) -> str:
    return "no error" if snr == math.inf else f"SNR {snr:.1f} dB"


def _are_equal(one: Any, other: Any) -> bool:
    """Whether all tensors of two structures are equal."""
    return all(torch.equal(a, b) for a, b in zip(tensors_of(one), tensors_of(other), strict=True))


@torch.no_grad()
def replay(
    model: CimModule,
    images: Inputs,
    places: Sequence[int],
    given: GivenCodes,
    chosen: Chosen,
    ids: Sequence[int] | None = None,
) -> Replay:
    """The network with given codes in place of the conversions of the first call of a layer.

    Args:
        model: The network.
        images: A batch of its inputs.
        places: Place of each of them in the data: `GivenCodes.images`.
        given: The codes.
        chosen: The layer, and read, chip and ideal of all other conversions.
        ids: Index of each image, which numbers its noise; None: its place.

    Raises:
        ValueError: The layer is not on a macro, or the codes do not fit it.
    """
    layer = layer_of(model, chosen.layer)
    replayer = Replayer(layer, given, places)
    with conditions(model, chosen):
        check_macro(given, layer)
        own_codes = "ideal" if chosen.ideal else f"read {model.trial} of chip {chip_name(model)}"

        def outputs(tap: Any) -> tuple[Any, float]:
            powers = torch.zeros(2, dtype=torch.float64)

            def measure(layer: OnMacro, inputs: tuple[Tensor, ...], y: Tensor) -> None:
                if replayer.calls > 1:
                    return
                layer.tap = None
                exact, found = computed(layer, "quantized", inputs, {}).double(), y.double()
                if not replayer.is_whole:  # then other positions have the layer's own codes
                    exact, found = (replayer.of_positions(each) for each in (exact, found))
                powers.copy_(torch.stack([each.square().sum() for each in (found - exact, exact)]))

            replayer.calls = 0
            with ExitStack() as stack:
                stack.enter_context(layer.register_forward_pre_hook(replayer.called))
                stack.enter_context(tapped(layer, tap))
                stack.enter_context(layer.register_forward_hook(measure))
                stack.enter_context(
                    noise_context(model.noise_seed, model.trial, list(places if ids is None else ids), model.chip)
                )
                found = model.outcome.read(model(moved(images, model.device)))
            check_called(layer, replayer.calls)
            error, signal = powers.tolist()
            return found, decibels(error / signal) if signal else 0.0

        own, own_snr = outputs(lambda made: made.codes)
        replayed, snr = outputs(replayer)
    is_whole = replayer.is_whole
    return Replay(
        layer.name, len(given.codes), dict(replayer.off), replayer.total / len(given.codes), own_codes,
        replayer.positions, snr, own_snr, _are_equal(own, replayed) if is_whole else None,
        replayed if is_whole else None, own,
    )  # fmt: skip
