"""Commands as calls for a network in memory: studies, ADC ranges, and the table of a chip."""

from collections.abc import Iterable, Mapping, Sequence
from copy import copy
from dataclasses import replace
from typing import Any

from torch import Tensor, nn
from typing_extensions import Unpack

from asim_lightning.checks import check_whole
from asim_lightning.classifier.network import CimModule, GivenNetwork
from asim_lightning.cost import Technology
from asim_lightning.data.image_data_module import ImageDataModule
from asim_lightning.evaluation.chip_layer import ChipLayer
from asim_lightning.evaluation.layer_inputs import differing_chip, needed_layers
from asim_lightning.evaluation.loss_map import LossMap
from asim_lightning.evaluation.measure import Measure
from asim_lightning.evaluation.run import Run
from asim_lightning.evaluation.target import target_texts
from asim_lightning.exploration.adc_calibration import fit_adc
from asim_lightning.exploration.diagnosis import Diagnosis
from asim_lightning.exploration.doctor import open_doctor
from asim_lightning.exploration.plan_study import DoctorSettings
from asim_lightning.exploration.publish import sweep_text, whole_search_text
from asim_lightning.exploration.python_arguments import (
    PricedArguments,
    WorkArguments,
    check_keywords,
    opened_work,
    outcome_of,
    samples,
)
from asim_lightning.exploration.python_results import Results
from asim_lightning.exploration.search import SearchSettings, open_search
from asim_lightning.exploration.spec import Spec, SpecSettings, open_spec
from asim_lightning.exploration.sweep import SweepSettings, left_out, open_sweep
from asim_lightning.nn.count_histograms import AdcRange
from asim_lightning.nn.inputs import Inputs
from asim_lightning.report.chip_report import chip_table
from asim_lightning.report.command_tables import range_table
from asim_lightning.surgery import apply_point
from asim_lightning.table import Table


def study(
    network: nn.Module,
    data: Any,
    *,
    axes: Mapping[str, Sequence[Any]] | None = None,
    chips: int | None = None,
    targets: Sequence[str] = (),
    **shared: Unpack[PricedArguments],
) -> Results:
    """Accuracy of a converted network over a grid of macros, with a 95 % interval a point, like `asim sweep`.

    If you stop a study, the next call continues from its folder.

    Args:
        network: The network; it stays unchanged, except that a `CimClassifier` without an image size takes the data's.
        data: (inputs, targets), a Dataset, an unshuffled DataLoader, or a LightningDataModule. Of a module, the test
            samples are evaluated.
        axes: Values of macro fields by name, such as {"adc_bits": [6, 8], "static.offset": ["0.3 lsb"]}, or ranges with
            a step, such as {"rows": {"low": 64, "high": 256, "step": 64}}; several give every combination. None,
            without chips and corners: four levels of random noise, in place of the macro's own.
        chips: Number of chips at each point, for a yield: 2..10000; None: one chip.
        targets: Targets of each point, such as "accuracy 99 % of quantized", "yield 0.9 at 85 %", "energy 2 uJ".
        shared: Arguments that `search`, `spec` and `doctor` take, too.
            plan: Plan of a network that is not converted. A copy of it is converted, and its input ranges are fitted to
                training samples of a data module, else to the first 512 samples of `data`.
            trials: Reads of the chip for each noisy point; 1 by default.
            corners: Corners with their fields, such as {"tt": {}, "ss": {"macro.random_noise": 0.2,
                "technology.supply": 0.81}}. Each point is evaluated at every corner. Targets may end with "at every
                corner"; those of `spec` and `doctor` then always do.
            until: Only for `study` and `search`: a target that ends the samples of each point early, such as "accuracy
                90 %" or "accuracy within 2 %", or in `study` its chips, such as "yield 0.9 at 85 %"; None: all are
                evaluated.
            outcome: The number measured for a sample: accuracy, multilabel, segmentation (mean IoU), next_token,
                perplexity, loss; a function of outputs and targets; or an `Outcome`. Default: a CimClassifier's own,
                else accuracy.
            technology: Technology for energy, latency and TOPS/W of each point; None: the default one.
            noise_in: Only for `study` and `search`: the meaning of noise, offsets and trim steps in LSB while bits or
                range of the ADC vary: "written" (as many LSB of each ADC) or "volts" (the voltage that they have with
                the network's own ADC).
            images: Number of random samples, the same in every call; None: all.
            seed: Seed of the noise, and of the methods random and optuna; a `CimClassifier` has its own noise seed.
            runner: Who computes the trials: None (this process), "ray", `RunnerSettings`, or a Lightning Trainer.
            folder: Folder of the store, from which a study continues; None: nothing is saved.
            fresh: Whether to ignore trials of earlier calls.

    Raises:
        ValueError: An argument is not allowed, or no layer is on a macro.

    Examples:
        >>> import torch
        >>> from asim_lightning import MacroConfig, Plan, study
        >>> network, data = torch.nn.Sequential(torch.nn.Linear(4, 2)), (torch.rand(8, 4), torch.arange(8) % 2)
        >>> results = study(network, data, axes={"random_noise": [0, 0.5]}, plan=Plan(MacroConfig(rows=63)), trials=2)
        >>> [(point.axes["random_noise"], point.trials) for point in results.points]
        [(0, 1), (0.5, 2)]
    """
    check_keywords(study, PricedArguments, shared)
    technology = shared.get("technology") or Technology()
    wanted = [targets] if isinstance(targets, str) else list(targets)
    settings = SweepSettings(
        _plain(axes or {}), shared.get("trials", 1), chips, shared.get("until"), None, wanted, technology
    )
    with opened_work(network, data, shared, shared.get("noise_in", "written")) as work:
        sweep = open_sweep(work, settings)
        said = [*sweep.notes, *left_out(sweep.grid.axes, sweep.macro, axes or ())]
        run = sweep.run(said.append)
        text = _text(run, sweep_text(run, sweep), said) if work.trainer.is_global_zero else ""
        return Results.of(run, text)


def search(
    network: nn.Module,
    data: Any,
    *,
    space: Mapping[str, Any] = {},
    objectives: Sequence[str] = ("accuracy", "energy"),
    constraints: Sequence[str] = (),
    method: str = "grid",
    points: int | Sequence[Mapping[str, Any]] | None = None,
    chips: int | None = None,
    **shared: Unpack[PricedArguments],
) -> Results:
    """Points of a space with the best trade-offs of accuracy, energy and time, like `asim search`.

    Args:
        network: The network.
        data: Its samples.
        space: Values of each axis: lists, or ranges such as {"low": 0.02, "high": 0.2}, with step or log.
        objectives: Any of accuracy, yield, energy, latency, tops_per_watt, or a number of the macro.
        constraints: Targets of each point, as `targets` of `study`.
        method: grid, list, random or optuna.
        points: Most points; with the method list, the points.
        chips: Chips of each point; None: one.
        shared: The other arguments of `study`.

    Examples:
        >>> import torch
        >>> from asim_lightning import Plan, search
        >>> network, data = torch.nn.Sequential(torch.nn.Linear(4, 2)), (torch.rand(8, 4), torch.arange(8) % 2)
        >>> results = search(network, data, space={"adc_bits": [6, 8], "rows": [63, 255]}, plan=Plan())
        >>> len(results.points)
        4
    """
    check_keywords(search, PricedArguments, shared)
    listed: list[Any] = [] if points is None or isinstance(points, int) else list(points)
    if listed and method != "list":
        raise ValueError(f"`points` must be a number of points with the method {method}, got {points!r:.80}")
    measure = Measure.of(outcome_of(shared, network))
    settings = SearchSettings(
        _plain(space), method, points if isinstance(points, int) else None, shared.get("seed", 0),
        ["accuracy" if each == measure.name else each for each in objectives],
        target_texts("constraints", constraints, measure), listed, shared.get("trials", 1), chips,
        None if (until := shared.get("until")) is None else target_texts("until", [until], measure)[0],
    )  # fmt: skip
    with opened_work(network, data, shared, shared.get("noise_in", "written")) as work:
        made = open_search(work, settings, shared.get("technology") or Technology())
        said = list(made.notes)
        run = made.run(said.append)
        text = _text(run, whole_search_text(run, made), said) if work.trainer.is_global_zero else ""
        return Results.of(run, text)


def spec(
    network: nn.Module,
    data: Any,
    target: str,
    *,
    properties: Sequence[str] | None = None,
    given: Mapping[str, Any] = {},
    chips: int = 10,
    **shared: Unpack[WorkArguments],
) -> Spec:
    """How bad each property of the macro may be for a network that keeps a target, like `asim spec`.

    Args:
        network: The network.
        data: Its samples.
        target: The target, such as "accuracy 99 % of quantized", "accuracy 88 %" or "yield 0.9 at 85 %".
        properties: Names of properties, such as ["random_noise", "offset"]; None: all of the macro.
        given: Fields of every macro, such as {"random_noise": "0.3 lsb"}; other noise and spreads are 0.
        chips: Chips of each macro with spreads.
        shared: The other arguments of `study`, except for axes, targets, until and technology.

    Examples:
        >>> import torch
        >>> from asim_lightning import Plan, spec
        >>> network, data = torch.nn.Sequential(torch.nn.Linear(4, 2)), (torch.rand(40, 4), torch.arange(40) % 2)
        >>> found = spec(network, data, "accuracy 1 %", properties=["random_noise"], plan=Plan())
        >>> found.table.rows[0].name  # print(found) shows the limits
        'random_noise'
    """
    check_keywords(spec, WorkArguments, shared)
    names = None if properties is None else list(properties)
    settings = SpecSettings(_read(target, shared, network), names, {**given}, chips, shared.get("trials", 1))
    with opened_work(network, data, shared) as work:
        return open_spec(work, settings).run()


def doctor(
    network: nn.Module,
    data: Any,
    target: str,
    *,
    proof_data: Any = None,
    map: LossMap | None = None,
    weights: Mapping[str, Mapping[str, Tensor]] = {},
    proof_images: int = 1600,
    technology: Technology | None = None,
    chips: int = 200,
    least: str = "energy",
    **shared: Unpack[WorkArguments],
) -> Diagnosis:
    """The cheapest proved plans with which the network keeps a target, like `asim doctor`.

    Args:
        network: The network.
        data: Its samples, in random order, such as not sorted by class. The first `images`, 400 by default, make the
            map; the rest proves the plans.
        target: The target, such as "accuracy 99 % of quantized", "accuracy 88 %" or "yield 0.9 at 85 %".
        proof_data: Other samples that prove the plans, in the trainer's process.
        map: The map of an earlier diagnosis of the same network.
        weights: Other state dictionaries of the network to try, by name.
        proof_images: Most samples of the proof.
        technology: Technology for the energies; None: the default one.
        chips: Most chips of a proof.
        least: What a plan should have little of: energy or digital, as in `DoctorSettings.least`.
        shared: The other arguments of `study`, except for axes, targets and until.

    Examples:
        >>> import torch
        >>> from asim_lightning import MacroConfig, Plan, doctor
        >>> network, data = torch.nn.Sequential(torch.nn.Linear(4, 2)), (torch.rand(40, 4), torch.arange(40) % 2)
        >>> plan = Plan(MacroConfig(weight_bits=2, input_bits=2, rows=4, adc_bits=2))
        >>> found = doctor(network, data, "accuracy 1 %", plan=plan, images=20)
        >>> found.as_is.text, found.as_is.verdict  # print(found) shows the plans
        ('the macro as it is', 'kept')
    """
    check_keywords(doctor, WorkArguments, shared)
    images = shared.pop("images", None)
    images = 400 if images is None else images
    if isinstance(data, ImageDataModule):
        data = copy(data)
        data.test_images = None
    wanted, trials, names = _read(target, shared, network), shared.get("trials", 1), list(weights)
    settings = DoctorSettings(wanted, images, proof_images, chips, trials, checkpoints=names, least=least)
    with opened_work(network, data, shared) as work:
        loaded = work.model if isinstance(network, CimModule) else work.model.backbone
        work = replace(work, load=lambda name: loaded.load_state_dict(weights[name]))
        proof = None if proof_data is None else replace(work, data=samples(proof_data, None), runner=None)
        return open_doctor(work, settings, technology or Technology(), map, proof).run()


def _read(target: str, shared: WorkArguments, network: nn.Module) -> str:
    """A target on the outcome of a call; the name of a share becomes accuracy."""
    return target_texts("target", [target], Measure.of(outcome_of(shared, network)))[0]


def _text(run: Run, text: str, said: Iterable[str]) -> str:
    return "\n".join([text, *map(run.measure.words, said)])


def _plain(axes: Mapping[str, Any]) -> dict[str, Any]:
    """Axes with lists in place of arrays."""
    return {name: values.tolist() if hasattr(values, "tolist") else values for name, values in axes.items()}


def calibrate_adc_(network: nn.Module, batches: Iterable[Any], images: int = 64) -> Table[AdcRange]:
    """Fit the ADC range (adc_step, adc_low) of every layer to the counts of some inputs, in place.

    Args:
        network: A converted network, with its input ranges.
        batches: Training inputs, or lists and tuples that begin with them, such as (images, labels) of a DataLoader.
        images: Most inputs to use.

    Returns:
        The ranges, which print like `asim calibrate-adc`.

    Raises:
        ValueError: No layer is on a macro, a macro can have no range, or no input reaches a layer.

    Examples:
        >>> import torch
        >>> from asim_lightning import Plan, calibrate_, calibrate_adc_, convert_
        >>> network, inputs = torch.nn.Sequential(torch.nn.Linear(4, 2)), torch.rand(8, 4)
        >>> report = convert_(network, Plan(), inputs)
        >>> calibrate_(network, [inputs])
        >>> ranges = calibrate_adc_(network, [inputs])
        >>> [(each.name, each.step, each.low) for each in ranges]
        [('0', 1, 0)]
    """
    check_whole("`images`", images, 1)
    model = network if isinstance(network, CimModule) else GivenNetwork(network)
    needed_layers(model, "calibrate_adc_")
    inputs = (batch[0] if isinstance(batch, (list, tuple)) else batch for batch in batches)
    ranges = fit_adc(model, inputs, images).ranges
    fields = {each.name: each.fields for each in ranges}
    apply_point(model.backbone, {}, fields, {name: {name} for name in fields})
    return range_table(ranges)


def describe_chip(network: nn.Module, inputs: Inputs, chip: int = 0) -> Table[ChipLayer]:
    """The part of a chip in each layer: converters, stuck cells and cells.

    Args:
        network: A converted network whose macros have static effects.
        inputs: Inputs of the network, which set the shapes in layers.
        chip: Number of the chip.

    Returns:
        The layers, which print like `asim chip`.

    Raises:
        ValueError: No layer is on a macro, or all chips are equal.

    Examples:
        >>> import torch
        >>> from asim_lightning import MacroConfig, Plan, convert_, describe_chip
        >>> network, inputs = torch.nn.Sequential(torch.nn.Linear(4, 2)), torch.rand(1, 4)
        >>> report = convert_(network, Plan(MacroConfig(static={"offset": "0.3 lsb"}), input_range="batch"), inputs)
        >>> [(layer.name, layer.converters) for layer in describe_chip(network, inputs, chip=7)]
        [('0', 16)]
    """
    check_whole("`chip`", chip, 0, 2**32 - 1)
    model = network if isinstance(network, CimModule) else GivenNetwork(network)
    return chip_table(differing_chip(model, inputs, chip))
