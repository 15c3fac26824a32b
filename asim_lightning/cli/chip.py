"""`asim chip`: what a chip gives each layer."""

from dataclasses import dataclass

from asim_lightning.checks import check_whole
from asim_lightning.cli.messages import UsageError
from asim_lightning.cli.start import Drawing, Setup, prepare
from asim_lightning.engine import SavedChip
from asim_lightning.evaluation.chip_layers import chip_layers
from asim_lightning.evaluation.whole_file import write_whole
from asim_lightning.surgery import macro_layers


@dataclass(frozen=True)
class ChipOptions(Drawing):
    """Which chip."""

    chip: int | None = None
    """Number of the chip: 0..4294967295; null: that of the model."""


def chip(setup: Setup, options: ChipOptions = ChipOptions()) -> None:
    """What a chip gives each layer: converters, stuck cells and cells, as a table, a picture and a file.

    The data's first test image is used, for the shapes that layers meet.
    """
    from safetensors.torch import save

    from asim_lightning.report.chip_report import chip_figure, chip_table
    from asim_lightning.report.draw import save_figure

    model = setup.model
    if options.chip is not None and isinstance(model.chip, SavedChip):
        raise UsageError(f"`chip` must be left out with `model.chip_file`, which is one chip, got {options.chip}")
    shown = model.chip if options.chip is None else options.chip
    if not isinstance(shown, SavedChip):
        check_whole("`chip`", shown, 0, 2**32 - 1)
    circuits = [layer.transfer for layer in macro_layers(model.backbone).values()]
    if not any(each.differs_by_chip or each.converters_differ for each in circuits):
        raise UsageError("No chip differs from another: set `model.plan.macro.static`, such as {offset: 0.3 lsb}")
    prepare(setup.trainer, model, setup.data)
    layers = chip_layers(model, next(iter(setup.data.test_dataloader()))[0][:1], shown)
    print(chip_table(layers))
    tensors = {f"{layer.part}/{kind}": values for layer in layers for kind, values in layer.tensors.items()}
    number = shown.digest if isinstance(shown, SavedChip) else str(shown)
    folder = setup.folder / f"chip-{number}"
    print()
    if tensors:  # there are none if a column or a table of INL says all that differs
        content = save(tensors, {"chip": number})
        write_whole(folder / "chip.safetensors", lambda file: file.write(content))
        print(f"numbers  {folder / 'chip.safetensors'}")
    figure = chip_figure(layers, f"chip {number}: {sum(layer.converters for layer in layers):,} converters")
    if figure is not None:
        print(f"picture  {save_figure(figure, folder / f'chip.{options.format}')}")
