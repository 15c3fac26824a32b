"""`asim vectors` and `asim replay`: from a layer to the bench, and back."""

import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from asim_lightning.checks import check_whole
from asim_lightning.classifier.batches import unpack
from asim_lightning.cli.parser import AsimCLI
from asim_lightning.cli.weights import prepare
from asim_lightning.data.given import with_indices
from asim_lightning.engine import ENGINES
from asim_lightning.evaluation.measure import Measure
from asim_lightning.silicon.folder import write_folder
from asim_lightning.silicon.recording import Chosen, layer_of, layer_vectors
from asim_lightning.silicon.replay import read_codes
from asim_lightning.silicon.replay import replay as replayed


@dataclass(frozen=True)
class VectorsOptions:
    """Which conversions, and which files."""

    layer: str | None = None
    """Full name of the layer, as `asim explain` lists it."""
    images: list[int] | None = None
    """Places of images in the test set; null: [0]."""
    positions: str | None = None
    """Positions of an image, such as 0:64: pixels of the layer's output, tokens, or rows; null: all."""
    read: int = 0
    """Number of the read of the chip: 0..65535."""
    chip: int | None = None
    """Number of the chip: 0..4294967295; null: the model's chip."""
    ideal: bool = False
    """Whether noise and static effects are left out, in all layers; gain, offset and droop of a column stay."""
    format: Literal["hex", "csv", "npz"] = "hex"
    """hex for $readmemh, csv, or npz."""
    verilog: bool = False
    """Whether to write the digital side in Verilog, and its bench."""
    spice: bool = False
    """Whether to write a column for ngspice: the first output and weight bit of the first array."""
    output: str | None = None
    """Folder; null: one in the folder of this configuration's runs."""


def vectors(cli: AsimCLI, options: VectorsOptions) -> None:
    """Write the bits that go into a layer's macro, the codes that come out, and their sums."""
    check_whole("`read`", options.read, 0, 65535)
    chosen = Chosen(_layer(cli, options.layer), _slice(options.positions), options.read, options.chip, options.ideal)
    places = [0] if options.images is None else options.images
    images, _, ids = _images(cli, places)
    found = layer_vectors(cli.model, images, places, chosen, ids=ids)
    folder = Path(options.output) if options.output else cli.run_folder / f"vectors-{found.layer}"
    write_folder(folder, found, options.format, options.verilog, options.spice)
    codes = sum(array.codes.numel() for array in found.arrays)
    cli.say(f"layer    {found.layer}; arrays {len(found.arrays)}, vectors {found.vectors:,}, codes {codes:,}")
    cli.say(f"folder   {folder}")
    cli.say(f"check    make -C {shlex.quote(str(folder))} check")
    _say_engine(cli, found.layer)


@dataclass(frozen=True)
class ReplayOptions:
    """Codes, and the layer that they belong to."""

    codes: str | None = None
    """CSV file with the columns of `asim vectors --format csv`, or a folder of vectors."""
    layer: str | None = None
    """Full name of the layer; null: the layer that the folder says."""
    read: int | None = None
    """Number of the read of all other conversions: 0..65535; null: what the folder says, else 0."""
    chip: int | None = None
    """Number of the chip: 0..4294967295; null: what the folder says, else the model's chip."""
    ideal: bool | None = None
    """Whether noise and static effects are left out; null: what the folder says, else false."""


def replay(cli: AsimCLI, options: ReplayOptions) -> None:
    """Put codes in the place of a layer's conversions, and say what they do to its output and the answers."""
    if options.codes is None:
        raise ValueError("asim replay needs codes, as in asim replay codes.csv -c quickstart --layer fc")
    given = read_codes(Path(options.codes))
    own = {name: getattr(options, name) for name in ("layer", "read", "chip", "ideal")}
    said: dict[str, Any] = {**given.settings, **{name: value for name, value in own.items() if value is not None}}
    layer, chip = _layer(cli, said.get("layer")), said.get("chip")
    chosen = Chosen(layer, None, said.get("read", 0), chip if isinstance(chip, int) else None, said.get("ideal", False))
    images, labels, ids = _images(cli, given.images)
    found = replayed(cli.model, images, given.images, given, chosen, ids)
    cli.say(str(found))
    if not given.digests:
        cli.say("note     no digests of weights and inputs come with these codes, so nothing checks that they fit both")
    if found.outputs is not None:
        means = [_mean(cli, each, labels) for each in (found.outputs, found.own_outputs)]
        samples = f"{len(ids)} sample{'s' * (len(ids) > 1)}"
        cli.say(
            f"{Measure.of_module(cli.model).name}  {means[0]} with these codes, {means[1]} with its own, of {samples}"
        )


def _say_engine(cli: AsimCLI, name: str) -> None:
    """Say if other commands draw other noise for a layer."""
    layer = layer_of(cli.model, name)
    engine = layer.engine_on(cli.model.device)
    if any(layer.transfer.noisy) and not ENGINES[engine].SAME_NOISE:
        cli.say(
            f"note     the noise is that of the reference engine; the engine {engine}, which computes this layer in "
            "other commands, draws other noise of the same distribution"
        )


def _mean(cli: AsimCLI, outputs: Any, labels: Any) -> str:
    values = cli.model.outcome.numbers(outputs, labels)["value"]
    return Measure.of_module(cli.model).quantity(float(values.double().mean()))


def _layer(cli: AsimCLI, name: str | None) -> str:
    layer_of(cli.model, name)
    return str(name)


def _images(cli: AsimCLI, places: list[int]) -> tuple[Any, Any, list[int]]:
    """Test images at some places, with their labels, and the indices that number their noise."""
    prepare(cli.trainer, cli.model, cli.datamodule)
    loader = with_indices(cli.datamodule.test_dataloader())
    for place in places:
        check_whole("`images`", place, 0, len(loader.dataset) - 1)
    if not places or len({*places}) < len(places):
        raise ValueError(f"`images` must be places of one or more images, each once, got {places}")
    images, labels, ids = unpack(loader.collate_fn([loader.dataset[place] for place in places]), None)
    return images, labels, ids.tolist()


def _slice(text: str | None) -> slice | None:
    """A slice from text such as 0:64."""
    if text is None:
        return None
    parts = text.split(":")
    if len(parts) != 2 or not all(part.isdecimal() for part in parts):
        raise ValueError(f"`positions` must be two numbers such as 0:64, the end not included, got {text!r}")
    return slice(int(parts[0]), int(parts[1]))
