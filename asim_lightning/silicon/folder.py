"""A folder for the bench: vectors of a layer, their check by Verilog and ngspice, and a Makefile that runs it."""

import hashlib
from functools import partial
from pathlib import Path
from typing import BinaryIO

from torch import nn

from asim_lightning.classifier.network import CimModule, GivenNetwork
from asim_lightning.nn.inputs import Inputs, batch_size
from asim_lightning.silicon.files import files_of
from asim_lightning.silicon.layer_vectors import LayerVectors
from asim_lightning.silicon.recording import Chosen, layer_vectors
from asim_lightning.silicon.spice import spice_files
from asim_lightning.silicon.verilog import verilog_files
from asim_lightning.whole_file import write_whole

DIGESTS = "SHA256SUMS"
_RTL = """
rtl: bench.vvp
\tvvp -n bench.vvp > rtl.log
\t@cat rtl.log
\t@grep -q '^PASS' rtl.log

bench.vvp: shift_adder.v bench.v
\tiverilog -g2001 -Wall -o $@ $^
"""
_SPICE = """
spice:
\tNGSPICE_MEAS_PRECISION=12 ngspice -b column.cir > spice.log
\tawk -f column.awk column_levels.txt spice.log
"""


def vectors(
    network: nn.Module,
    inputs: Inputs,
    *,
    layer: str,
    positions: slice | None = None,
    read: int = 0,
    chip: int = 0,
    ideal: bool = False,
    seed: int = 0,
) -> LayerVectors:
    """The bits that go into a layer's macro, the codes that come out, and their sums, like `asim vectors`.

    `write_folder` of this module writes them to a folder.

    Args:
        network: A converted network.
        inputs: A batch of its inputs; sample n has the noise of sample n.
        layer: Full name of a layer on a macro.
        positions: Positions of a sample: pixels of the layer's output, tokens, or rows; None: all.
        read: Number of the read: 0..65535.
        chip: Number of the chip: 0..2^32-1.
        ideal: Whether noise and static effects of all layers are left out.
        seed: Seed of the noise.

    Raises:
        ValueError: The layer is not on a macro, or a sample has no such position.

    Examples:
        >>> import torch
        >>> from asim_lightning import Plan, calibrate_, convert_, vectors
        >>> network, inputs = torch.nn.Sequential(torch.nn.Linear(4, 2)), torch.rand(3, 4)
        >>> report = convert_(network, Plan(), inputs)
        >>> calibrate_(network, [inputs])
        >>> found = vectors(network, inputs, layer="0")
        >>> found.images, len(found.transfer.cycles)
        ((0, 1, 2), 64)
    """
    model = network if isinstance(network, CimModule) else GivenNetwork(network)
    chosen = Chosen(layer, positions, read, chip, ideal)
    return layer_vectors(model, inputs, range(batch_size(inputs)), chosen, seed)


def write_folder(
    folder: Path, found: LayerVectors, form: str = "hex", verilog: bool = False, spice: bool = False
) -> list[Path]:
    """Write vectors of a layer, and a Makefile; returns the paths.

    Args:
        folder: The folder; files of vectors that were written to it before are removed.
        found: The vectors.
        form: hex, csv or npz.
        verilog: Whether to write the digital side and its bench, which read hex files.
        spice: Whether to write a column for ngspice.

    Raises:
        ValueError: The format is unknown or does not fit, it is not hex with `verilog`, or `spice` does not fit the
            macro.
        OSError: A file cannot be written.
    """
    if verilog and form != "hex":
        raise ValueError(f"`format` must be hex with `verilog`, because the bench reads hex files, got {form!r}")
    files = files_of(found, form)
    if verilog:
        files |= {name: text.encode() for name, text in verilog_files(found).items()}
    if spice:
        files |= {name: text.encode() for name, text in spice_files(found).items()}
    lines = (f"{hashlib.sha256(content).hexdigest()}  {name}\n" for name, content in files.items())
    files[DIGESTS] = "".join(lines).encode()
    files["Makefile"] = _makefile(verilog, spice).encode()
    _remove_vectors(folder)
    for name, content in files.items():
        write_whole(folder / name, partial(_put, content))
    return [folder / name for name in files]


def _makefile(verilog: bool, spice: bool) -> str:
    benches = {"rtl": _RTL if verilog else "", "spice": _SPICE if spice else ""}
    checks = ["files", *(name for name, rules in benches.items() if rules)]
    return (
        "# make check: whether files are as written, and every bench agrees; each of these also by itself\n"
        f"MAKEFLAGS += --keep-going\ncheck: {' '.join(checks)}\n\n"
        f"files:\n\tsha256sum --quiet -c {DIGESTS}\n{''.join(benches.values())}\n.PHONY: check {' '.join(checks)}\n"
    )


def _remove_vectors(folder: Path) -> None:
    """Remove files of earlier vectors, which the check of another layer would not name."""
    if (folder / DIGESTS).exists():
        for line in (folder / DIGESTS).read_text(encoding="utf-8").splitlines():
            (folder / Path(line.partition("  ")[2]).name).unlink(missing_ok=True)


def _put(content: bytes, file: BinaryIO) -> None:
    file.write(content)
