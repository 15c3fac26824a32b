"""A folder with the conversions of a layer: expected.json, and hex files, CSV files or an NPZ file."""

import hashlib
import io
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from typing import Any

import numpy as np
import torch
from torch import Tensor

from asim_lightning.checks import check_choice
from asim_lightning.circuit import MacroConfig, Transfer
from asim_lightning.silicon.layer_vectors import Array, LayerVectors
from asim_lightning.silicon.words import hex_text, hex_words, signed_bits
from asim_lightning.table import csv_text

FORMATS = ("hex", "csv", "npz")
EXPECTED = "expected.json"
CODES = "codes.csv"
_ORDER = "vectors: image after image, position after position"
_SUMS = {
    "sums": "for each vector, group and output: sum over tiles and cycles of weight times code",
    "digital_sums": "the same of weight times count, for cycles without ADC",
}
_WORDS: Mapping[str, Mapping[str, str]] = {
    "hex": {
        "inputs": "a word for each vector and input digit; row 0 in the lowest bits",
        "weights": "a word for each output and weight bit from the lowest; row 0 in the lowest bit",
        "codes": "a word for each vector, cycle, vote and output, outputs fastest; its count without ADC",
        **{name: f"a word {text}" for name, text in _SUMS.items()},
    },
    "csv": {
        "inputs": "a line for each vector, a whole number for each row",
        "weights": "a line for each output, a whole number for each row",
        "codes": "a line for each code, with its place; its count without ADC",
        **{name: f"a line {text}" for name, text in _SUMS.items()},
    },
    "npz": {
        "inputs": "(vectors, rows), whole numbers", "weights": "(outputs, rows), whole numbers",
        "counts": "(vectors, cycles, outputs)", "codes": "(vectors, cycles and their votes, outputs)",
        "cells": "(weight bits, outputs, rows): contents", "gains": "(weight bits, outputs): factors of counts",
        **{name: f"(vectors, groups, outputs): {text}" for name, text in _SUMS.items()},
        "output_counts": "(vectors, groups, outputs): outputs before step, factor and bias",
    },
}  # fmt: skip
"""What the files of a format hold, for expected.json."""


class Widths:
    """Bits of the fields in hex files.

    Attributes:
        digit: Bits of an input digit; digits with fewer bits fill the lowest ones.
        code: Bits of a code, or of a count of a cycle without ADC.
        is_signed: Whether codes are two's complement.
        sum: Bits of a sum, two's complement.
    """

    def __init__(self, transfer: Transfer, tiles: int) -> None:
        cycles = transfer.cycles
        self.is_signed = any(cycle.signed for cycle in cycles)
        largest = [c.top_code if c.converted and c.top_code else max(c.full_scale, c.largest_count) for c in cycles]
        self.digit = max(len(cycle.input_bits) for cycle in cycles)
        self.code = signed_bits(max(largest)) if self.is_signed else max(largest).bit_length()
        self.sum = signed_bits(tiles * transfer.largest_sum)


def input_groups(transfer: Transfer) -> list[tuple[int, ...]]:
    """Input bits of each digit, in the order in which the schedule applies them."""
    return list(dict.fromkeys(cycle.input_bits for cycle in transfer.cycles))


def described(found: LayerVectors, form: str) -> dict[str, Any]:
    """Content of expected.json: what a reader needs to compute the sums from files of a format."""
    circuit, widths = found.transfer, Widths(found.transfer, len(found.tiles))
    arrays = [
        {
            "name": each.name, "tile": each.tile, "group": each.group,
            "images": [found.images[place] for place in each.images],
            "rows_in_use": each.weights.shape[1], "outputs": each.weights.shape[0],
            "channels": [found.tiles[each.tile].channels.start, found.tiles[each.tile].channels.stop],
            "kernel_elements": [found.tiles[each.tile].kernel.start, found.tiles[each.tile].kernel.stop],
        }
        for each in found.arrays
    ]  # fmt: skip
    cycles = [
        {
            "weight_bits": list(c.weight_bits), "input_bits": list(c.input_bits), "converted": c.converted,
            "votes": sum(number == at for at, _ in found.reads), "full_scale": c.full_scale, "top_code": c.top_code,
            "weight": circuit.code_weight(c) if c.converted else c.sign * 2**c.shift,
        }
        for number, c in enumerate(circuit.cycles)
    ]  # fmt: skip
    return {
        "format": form, "layer": found.layer, "images": list(found.images), "positions": list(found.positions),
        "read": found.read, "chip": found.chip, "ideal": found.ideal, "macro": plain_fields(circuit.macro),
        "signed_input": circuit.signed_input,
        "order": {
            **_WORDS[form], "vectors": _ORDER,
            "rows": "channel after channel of the tile, and in each all kernel elements of the tile, row after row",
            "votes": "a cycle has one code: mode or median of its votes; with mean their sum, because weight and "
            "divisor already count them",
            "step, bias": "one number, or one for each group and output, outputs fastest",
        },
        "bits": {"rows": circuit.macro.rows, "digit": widths.digit, "code": widths.code, "sum": widths.sum},
        "digests": dict(found.digests),
        "signed_codes": widths.is_signed, "groups": found.groups, "vote": circuit.macro.vote, "cycles": cycles,
        "arrays": arrays,
        "output": {
            "formula": "(sum * scale / divisor + digital_sum + offset * tiles) * step * factor + bias",
            "scale": circuit.scale, "divisor": circuit.divisor, "offset": circuit.offset, "tiles": len(found.tiles),
            "step": _numbers(found.step), "bias": None if found.bias is None else _numbers(found.bias),
            "factor": 1.0 if found.factor is None else found.factor.tolist(),
        },
    }  # fmt: skip


def files_of(found: LayerVectors, form: str) -> dict[str, bytes]:
    """Content of expected.json and of the files of a format, by name.

    Raises:
        ValueError: The format is unknown, or codes are no whole numbers and hex cannot hold them.
    """
    check_choice("`format`", form, FORMATS)
    files = {"hex": _hex_files, "csv": _csv_files, "npz": _npz_file}[form](found)
    digests = {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}
    return {**files, EXPECTED: (json.dumps({**described(found, form), "files": digests}, indent=1) + "\n").encode()}


def digits_of(found: LayerVectors, array: Array) -> Tensor:
    """Input digits of an array, whole numbers of 0 or more (a sign plane is 0 or 1). # (vectors, digits, rows)"""
    planes = [array.inputs >> bits[0] & 2 ** len(bits) - 1 for bits in input_groups(found.transfer)]
    return torch.stack(planes, 1)


def cells_of(found: LayerVectors, array: Array) -> Tensor:
    """Bits in the cells of an array, 0 or 1. # (outputs, weight bits, rows)"""
    bits = torch.arange(found.transfer.macro.weight_bits, dtype=torch.int32)
    return array.weights[:, None] >> bits[:, None] & 1


def _hex_files(found: LayerVectors) -> dict[str, bytes]:
    widths, rows = Widths(found.transfer, len(found.tiles)), found.transfer.macro.rows
    files = {}
    for array in found.arrays:
        if bool((array.codes != array.codes.round()).any()):
            raise ValueError(
                f"`format` must be csv or npz, because the ideal ADC of layer `{found.layer}` gives codes that are no "
                "whole numbers, got hex"
            )
        cells, digits = (
            torch.nn.functional.pad(each.flatten(0, 1), (0, rows - each.shape[-1])).numpy().astype(np.int64)
            for each in (cells_of(found, array), digits_of(found, array))
        )
        codes = array.codes.flatten()[:, None].numpy().astype(np.int64)
        files[f"{array.name}_weights.hex"] = hex_text(
            f"a word for each of {cells.shape[0]} columns: output after output, weight bit after weight bit from the "
            f"lowest; {rows} rows, row 0 in the lowest bit", hex_words(cells, 1))  # fmt: skip
        files[f"{array.name}_inputs.hex"] = hex_text(
            f"a word for each vector ({_ORDER}) and input digit from the lowest; {rows} rows of {widths.digit} bits, "
            "row 0 in the lowest bits", hex_words(digits, widths.digit))  # fmt: skip
        files[f"{array.name}_codes.hex"] = hex_text(
            f"a word of {widths.code} bits for each vector ({_ORDER}), cycle, vote and output, outputs fastest",
            hex_words(codes, widths.code))  # fmt: skip
    for name, values in zip(("sums", "digital_sums"), found.sums(), strict=True):
        words = hex_words(values.flatten()[:, None].numpy().astype(np.int64), widths.sum)
        order = f"a word of {widths.sum} bits, two's complement, for each vector ({_ORDER}), group and output"
        files[f"{name}.hex"] = hex_text(order, words)
    return {name: text.encode() for name, text in files.items()}


def _csv_files(found: LayerVectors) -> dict[str, bytes]:
    files: dict[str, Iterable[Any]] = {}
    at = [(image, position) for image in found.images for position in found.positions]
    lines: list[Any] = [["image", "position", "tile", "group", "output", "cycle", "vote", "count", "code"]]
    for array in found.arrays:
        own = at[array.images.start * len(found.positions) : array.images.stop * len(found.positions)]
        rows = [f"row{number}" for number in range(array.weights.shape[1])]
        files[f"{array.name}_weights.csv"] = [["output", *rows], *_numbered(array.weights)]
        inputs = ([*own[n], *each] for n, each in _listed(array.inputs))
        files[f"{array.name}_inputs.csv"] = [["image", "position", *rows], *inputs]
        if array.cells is not None:
            assert array.gains is not None  # as there are cells
            held = torch.cat([array.gains[..., None], array.cells], -1)  # (weight bits, outputs, 1 + rows)
            cells = ([o, bit, *row] for bit, outputs in _listed(held) for o, row in enumerate(outputs))
            files[f"{array.name}_cells.csv"] = [["output", "weight_bit", "gain", *rows], *cells]
        counts, codes = (_whole(each) for each in (array.counts, array.codes))
        lines += (
            [*own[v], array.tile, array.group, o, cycle, vote, counts[v][cycle][o], codes[v][number][o]]
            for v in range(len(own))
            for number, (cycle, vote) in enumerate(found.reads)
            for o in range(array.weights.shape[0])
        )
    coded, counted, results = (_whole(each) for each in (*found.sums(), found.outputs()))
    sums = (
        [*at[v], g, o, coded[v][g][o], counted[v][g][o], results[v][g][o]]
        for v in range(len(at))
        for g in range(len(coded[v]))
        for o in range(len(coded[v][g]))
    )
    files[CODES] = lines
    files |= _of_converters(found)
    files["sums.csv"] = [["image", "position", "group", "output", "sum", "digital_sum", "output_counts"], *sums]
    return {name: csv_text(rows, "\n").encode() for name, rows in files.items()}


def _of_converters(found: LayerVectors) -> dict[str, Iterable[Any]]:
    """Offset, gain and INL of each converter that has any, and the place of its first column."""
    own, columns = found.converters, ["tile", "group", "output", "weight_bit"]
    if not own.converters:
        return {}
    values = [each[:, None] for each in (own.offset, own.gain) if each is not None]
    heads = [name for name, each in (("offset_lsb", own.offset), ("gain", own.gain)) if each is not None]
    if own.inl is not None:
        curves = own.inl if own.inl.dim() == 2 else codes_inl(own.inl, (found.transfer.macro.top_code or 0) + 1)
        values.append(curves)
        heads += [f"inl{code}" for code in range(curves.shape[1])]
    numbers = torch.cat([each.double() for each in values], 1).tolist() if values else [[]] * len(own.place)
    lines = ([*place, *line] for place, line in zip(own.place.tolist(), numbers, strict=True))
    return {"converters.csv": [[*columns, *heads], *lines]}


def codes_inl(tables: Tensor, codes: int) -> Tensor:
    """INL at each code, from tables of its nibbles. # (converters, nibbles, 16) to (converters, codes)"""
    numbers = torch.arange(codes)
    return torch.stack([tables[:, n, numbers >> 4 * n & 15] for n in range(tables.shape[1])]).sum(0)


def _npz_file(found: LayerVectors) -> dict[str, bytes]:
    coded, counted = found.sums()
    sums = {"sums": coded, "digital_sums": counted, "output_counts": found.outputs()}
    held: dict[str, Any] = {name: values.numpy() for name, values in sums.items()}
    for array in found.arrays:
        for kind in ("weights", "inputs", "counts", "codes", "cells", "gains"):
            if (values := getattr(array, kind)) is not None:
                held[f"{array.name}_{kind}"] = values.numpy()
    file = io.BytesIO()
    np.savez_compressed(file, **held)
    return {"vectors.npz": file.getvalue()}


def _numbered(values: Tensor) -> Iterable[list[int]]:
    return ([number, *line] for number, line in enumerate(values.tolist()))


def _listed(values: Tensor) -> Iterable[tuple[int, Any]]:
    return enumerate(values.tolist())


def _whole(values: Tensor) -> Any:
    """Nested lists; whole numbers as int."""
    is_whole = bool((values == values.round()).all())
    return (values.long() if is_whole else values).tolist()


def _numbers(values: Tensor) -> list[float]:
    return [float(each) for each in values.detach().flatten()]


def plain_fields(macro: MacroConfig) -> dict[str, Any]:
    """Fields of a macro in the types of JSON; those of its static effects are named ``static.offset`` and so on."""
    found = asdict(macro)
    static = found.pop("static")
    found |= {f"static.{name}": value for name, value in static.items()}
    plain: dict[str, Any] = json.loads(json.dumps(found, default=str))
    return plain
