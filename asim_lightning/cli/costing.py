"""`asim cost`: conversions, energy and time of a network, and the energy model against silicon."""

import json
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure
from torch import Tensor

from asim_lightning.checks import check_whole
from asim_lightning.circuit import Transfer
from asim_lightning.circuit.algorithm import expected_error, with_equal_converters
from asim_lightning.circuit.transfer import Conversion
from asim_lightning.classifier.arguments import check_image_size
from asim_lightning.cli.adc_calibration import images_text
from asim_lightning.cli.prepare import prepare
from asim_lightning.cli.start import Setup
from asim_lightning.cli.writable import check_folder
from asim_lightning.cost import CostReport, Technology, cost
from asim_lightning.cost.cost_table import cost_csv, validation_text
from asim_lightning.cost.validation import validate_model
from asim_lightning.evaluation import Condition, under
from asim_lightning.evaluation.condition import matched
from asim_lightning.evaluation.run import COST
from asim_lightning.evaluation.store import Store
from asim_lightning.evaluation.whole_file import write_whole
from asim_lightning.nn.count_histograms import LayerCounts, count_histograms
from asim_lightning.report.cost_figure import cost_figure, validation_figure
from asim_lightning.surgery import macro_layers
from asim_lightning.surgery.conversion_report import describe

_MANY_WRONG = 0.01
"""Share of wrong codes from which a line says so."""


def network_cost(
    setup: Setup,
    technology: Technology = Technology(),
    digital: list[str] | None = None,
    images: int = 16,
    validate: bool = False,
    output: str | None = None,
) -> None:
    """Conversions, energy, time and area of the network for one image, layer by layer, beside the all-digital point.

    Writes cost.csv, cost.json and a picture.

    Args:
        setup: What it works with.
        technology: Node, supply, capacitances and cycle time; each has a source, and can be overridden.
        digital: Layers that are computed by integers and not on a macro, as globs, `re:` or kinds, such as [depthwise].
        images: Test images whose counts `technology.charging` takes where it is not fixed: 1 or more.
        validate: Whether, in place of the network, the energy model is compared with published chips.
        output: Folder of the files; null: that of this configuration's runs.
    """
    folder, counts, notes = _check_output(setup, output), None, list[str]()
    if validate:
        setup.say(_publish_validation(technology, folder))
        return
    check_image_size(setup.model.hparams["backbone"]["image_size"], setup.data)  # others would want the data on disk
    if technology.charging != "fixed":
        check_whole("`images`", images, 1)
        prepare(setup.trainer, setup.model, setup.data)
        counts, used = _test_counts(setup, images)
        notes.append(f"the counts of the columns are those of {used}")
    report = _network_cost(setup, technology, digital or [], counts)
    layers, simulated = macro_layers(setup.model.backbone), {each.name for each in report.layers if each.macro}
    if note := accuracy_note(layers[name].transfer for name in layers if name in simulated):
        notes.insert(0, note)
    report = replace(report, notes=(*notes, *report.notes))
    if setup.trainer.is_global_zero:
        print(_publish_cost(report, folder, setup.folder.name))


def accuracy_note(circuits: Iterable[Transfer]) -> str:
    """That a cost is of a macro that loses codes or makes many wrong, of all circuits the worst; empty where none does.

    Args:
        circuits: Schedule and column of each layer.
    """
    kinds = list(dict.fromkeys(circuits))
    equal = {each: with_equal_converters(each) for each in kinds}
    lossy = {each: sum(kind is Conversion.LOSSY for kind in of.conversions) for each, of in equal.items()}
    # an ideal converter has no codes, and of codes that are lost anyway a neighbour is as good
    counted = [each for each in kinds if each.macro.adc_bits is not None and not lossy[each]]
    wrong = {each: expected_error(each) for each in counted}
    said = []
    worst = max(lossy, key=lambda each: lossy[each] / len(each.cycles), default=None)
    if worst is not None and lossy[worst]:
        said.append(f"{lossy[worst]} of {len(worst.cycles)} cycles lose codes at {describe(worst.macro)}")
    noisy = max(wrong, key=lambda each: wrong[each], default=None)
    if noisy is not None and wrong[noisy] >= _MANY_WRONG:
        share = f"{100 * wrong[noisy]:.2g} % of the codes of a cycle"
        said.append(f"up to about {share} are wrong by noise and spreads at {describe(noisy.macro)}")
    if not said:
        return ""
    return f"accuracy is not in this table: {', and '.join(said)}; asim explain says where, asim sweep what it costs"


def write_cost(setup: Setup, technology: Technology, folder: Path) -> None:
    """Write cost.json of the network as it is configured into the folder of a run, for its report.

    Args:
        setup: What a command works with.
        technology: What costs are computed from; its charging is fixed.
        folder: The folder.
    """
    if setup.trainer.is_global_zero:
        report = _network_cost(setup, technology, [], None)
        _write_json(report, folder)
        Store(setup.folder).write(folder.name, COST, report.as_json())


def _check_output(setup: Setup, output: str | None) -> Path:
    """The folder of the files, which can be written."""
    folder = setup.folder if output is None else Path(output)
    check_folder(folder, "`trainer.default_root_dir`" if output is None else "`output`")
    return folder


def _network_cost(
    setup: Setup, technology: Technology, digital: list[str], counts: dict[str, LayerCounts] | None
) -> CostReport:
    """The cost of the configured network for one image.

    Args:
        setup: What it works with.
        technology: What energy, time and area are computed from.
        digital: Patterns of layers that are computed by integers.
        counts: Counts of layers for some images, where the technology asks for them.

    Raises:
        ValueError: A pattern matches no layer, or the network has no layer on a macro.
    """
    model = setup.model
    layers = macro_layers(model.backbone)
    if not layers:
        raise ValueError("asim cost needs a network with layers on a macro, got one without; set `model.plan`")
    names = {name for pattern in digital for name in matched(model, pattern, "digital") if name in layers}
    return cost(model.backbone, technology, model.example, report=model.report, counts=counts, digital=names)


def _test_counts(setup: Setup, images: int) -> tuple[dict[str, LayerCounts], str]:
    """Counts of all layers for the data's first test images, without noise, and how many images, in words."""
    model, used = setup.model, 0

    def batches() -> Any:
        nonlocal used
        for batch in setup.data.test_dataloader():
            taken: Tensor = batch[0][: images - used].to(model.device)
            used += len(taken)
            yield taken
            if used >= images:
                return

    with under(model, Condition("quantized")):
        found = count_histograms(model, macro_layers(model.backbone), batches())
    return found, images_text(used, "test", images)


def _publish_cost(report: CostReport, folder: Path, name: str) -> str:
    """Write numbers and picture, and return the tables and where the files are."""
    _write_json(report, folder)
    write_whole(folder / "cost.csv", lambda file: file.write(cost_csv(report).encode()))
    picture = _drawn(cost_figure(report, f"{name}: energy an image, {report.technology}"), folder / "cost.png")
    return "\n".join(
        [
            str(report),
            "",
            f"numbers   {folder / 'cost.csv'}, {folder / 'cost.json'}",
            f"picture   {picture}",
        ]
    )


def _write_json(report: CostReport, folder: Path) -> None:
    content = json.dumps(report.as_json(), indent=2, allow_nan=False).encode() + b"\n"
    write_whole(folder / COST, lambda file: file.write(content))


def _publish_validation(technology: Technology, folder: Path) -> str:
    """Draw the energy model against silicon, and return the tables and where the picture is."""
    found = validate_model(technology)
    picture = _drawn(validation_figure(found), folder / "energy_model.png")
    return f"{validation_text(found)}\n\npicture   {picture}"


def _drawn(figure: Figure, path: Path) -> Path:
    write_whole(path, lambda file: figure.savefig(file, format="png"))
    return path
