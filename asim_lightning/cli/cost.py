"""`asim cost`: conversions, energy and time of a network, and the energy model against silicon."""

import json
from dataclasses import dataclass, field, replace
from pathlib import Path

from asim_lightning.checks import check_choice, check_whole
from asim_lightning.classifier.arguments import image_size_of
from asim_lightning.cli.command_line import write_text
from asim_lightning.cli.options import Drawing
from asim_lightning.cli.parser import AsimCLI
from asim_lightning.cli.weights import prepare, read_data
from asim_lightning.cost import CostReport, Technology, cost
from asim_lightning.cost.accelforge import accelforge_text
from asim_lightning.cost.action_counts import action_rows
from asim_lightning.cost.conversion_table import ConversionGrid, conversion_rows, conversion_table
from asim_lightning.cost.cost_table import layer_table, validation_text
from asim_lightning.cost.network_cost import accuracy_note
from asim_lightning.cost.validation import validate_model
from asim_lightning.evaluation.condition import matched
from asim_lightning.evaluation.layer_inputs import layer_counts, needed_layers
from asim_lightning.evaluation.measure import Measure
from asim_lightning.evaluation.run import COST
from asim_lightning.evaluation.store import Store
from asim_lightning.nn.count_histograms import LayerCounts
from asim_lightning.report.draw import figure_of, save_figure
from asim_lightning.report.energies import cost_pictures, validation_pictures
from asim_lightning.surgery import macro_layers
from asim_lightning.whole_file import write_lines

EXPORTS = ("csv", "accelforge")


@dataclass(frozen=True)
class CostOptions(Drawing):
    """What to price."""

    technology: Technology = field(default_factory=Technology)
    """Node, supply, capacitances and cycle time; each has a source, and can be overridden."""
    digital: list[str] | None = None
    """Layers to compute in digital integers, not on a macro, as globs, `re:` or kinds, such as [depthwise]."""
    images: int = 16
    """Test images for the counts that `technology.charging` needs if it is not fixed: 1 or more."""
    validate: bool = False
    """Whether to compare the energy model with published chips, instead of pricing the network."""
    conversions: bool = False
    """Whether to print the energy of a conversion over digital work for macros of many sizes, instead."""
    grid: ConversionGrid = field(default_factory=ConversionGrid)
    """These sizes."""
    export: str | None = None
    """Also write the actions of each layer for models of a whole chip: csv (actions.csv) or accelforge
    (accelforge.yaml); null: neither."""
    output: str | None = None
    """Folder of the files; null: the folder of this configuration's runs."""

    def __post_init__(self) -> None:
        if self.export is not None:
            check_choice("`export`", self.export, EXPORTS)
        others = [name for name in ("validate", "conversions") if getattr(self, name)]
        if len(others) > 1:
            raise ValueError("`validate` and `conversions` print different tables; give one of them, got both")
        if others and self.export is not None:
            raise ValueError(
                f"`export` needs the cost of a network; leave out `{others[0]}`, got `export` {self.export}"
            )


def network_cost(cli: AsimCLI, options: CostOptions) -> None:
    """Price the network for one image, layer by layer, next to the all-digital point; write tables and a picture."""
    folder = cli.run_folder if options.output is None else Path(options.output)
    if options.validate:
        found = validate_model(options.technology)
        title = "energy model against published macros"
        drawn = figure_of(*validation_pictures(found), title=title, width=options.width)
        picture = save_figure(drawn, options.paper.path(folder, "energy_model"))
        cli.say(f"{validation_text(found)}\n\npicture   {picture}")
        return
    if options.conversions:
        rows = conversion_rows(options.technology, cli.model.plan.macro, options.grid)
        ratios, file = conversion_table(rows, options.grid, options.technology), folder / "conversions.csv"
        write_lines(file, ratios.numbers, "\n")
        cli.say(f"{ratios}\n\nnumbers   {file}")
        return
    model, data = cli.model, cli.datamodule
    model.check_image_size(image_size_of(data))  # other checks would need the data on disk
    counts, notes = None, list[str]()
    if model.example is None:
        read_data(model, data)
    if options.technology.charging != "fixed":
        check_whole("`images`", options.images, 1)
        prepare(cli.trainer, model, data)
        batches = (batch[0] for batch in data.test_dataloader())
        counts, used = layer_counts(model, macro_layers(model.backbone), batches, options.images, "test")
        notes.append(f"the counts of the columns are from {used}")
    report = _cost(cli, options.technology, options.digital or [], counts)
    simulated = {each.name for each in report.layers if each.macro}
    layers = macro_layers(model.backbone)
    if note := accuracy_note(layer.transfer for name, layer in layers.items() if name in simulated):
        notes.insert(0, note)
    if cli.trainer.is_global_zero:
        report = replace(report, notes=(*notes, *report.notes))
        numbers, table = folder / COST, folder / "cost.csv"
        write_text(numbers, _json(report))
        write_lines(table, layer_table(report.rows()).numbers, "\n")
        words = Measure.of_module(model).words
        pictures, title = [each.in_words(words) for each in cost_pictures(report)], words("energy an image")
        figure = figure_of(*pictures, title=f"{cli.run_folder.name}: {title}", width=options.width)
        picture = save_figure(figure, options.paper.path(folder, "cost"))
        exported = "" if options.export is None else f"\nactions   {_export(report, options.export, folder)}"
        cli.say(f"{report}\n\nnumbers   {table}, {numbers}\npicture   {picture}{exported}")


def write_cost(cli: AsimCLI, technology: Technology, folder: Path) -> None:
    """Write cost.json of the configured network, with fixed charging, into the folder of a run, for its report."""
    if cli.trainer.is_global_zero:
        report = _cost(cli, technology, [], None)
        write_text(folder / COST, _json(report))
        Store(cli.run_folder).write(folder.name, COST, report.as_json())


def _cost(
    cli: AsimCLI, technology: Technology, digital: list[str], counts: dict[str, LayerCounts] | None
) -> CostReport:
    """The cost of the configured network for one image; layers that match `digital` use digital integers."""
    model, layers = cli.model, needed_layers(cli.model, "asim cost")
    names = {name for pattern in digital for name in matched(model, pattern, "digital") if name in layers}
    return cost(model.backbone, technology, model.example, report=model.report, counts=counts, digital=names)


def _export(report: CostReport, form: str, folder: Path) -> Path:
    """Write the actions of each layer, and return the path of the file."""
    if form == "csv":
        write_lines(file := folder / "actions.csv", action_rows(report), "\n")
    else:
        write_text(file := folder / "accelforge.yaml", accelforge_text(report))
    return file


def _json(report: CostReport) -> str:
    return json.dumps(report.as_json(), indent=2, allow_nan=False) + "\n"
