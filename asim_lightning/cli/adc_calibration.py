"""`asim calibrate-adc`: ADC ranges fitted to training images, as a table, as rules in a file, and by accuracy."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from asim_lightning.checks import check_whole
from asim_lightning.circuit import MacroConfig, transfer
from asim_lightning.classifier import CimClassifier
from asim_lightning.classifier.batches import calibration_images_of
from asim_lightning.cli.start import Setup
from asim_lightning.cli.strict_yaml import dump_yaml
from asim_lightning.cli.writable import check_file
from asim_lightning.engine.adc_range import Quality, fit_range, overall, qualities
from asim_lightning.evaluation import Condition, under
from asim_lightning.evaluation.condition import is_noisy, matched
from asim_lightning.evaluation.evaluate import Evaluate, run_evaluations
from asim_lightning.evaluation.interval import accuracy_interval, difference_interval
from asim_lightning.evaluation.results import axes_text
from asim_lightning.evaluation.whole_file import write_whole
from asim_lightning.nn.count_histograms import LayerCounts, count_histograms
from asim_lightning.nn.on_macro import OnMacro
from asim_lightning.report.numbers import interval_text
from asim_lightning.report.range_table import RangeRow, range_table
from asim_lightning.surgery import macro_layers
from asim_lightning.surgery.patterns import KINDS

_FIELDS = ("adc_bits", "adc_step", "adc_low")
Answers = NDArray[np.bool_]


def layer_counts(
    model: CimClassifier, layers: Mapping[str, OnMacro], data: Any, images: int
) -> tuple[dict[str, LayerCounts], str]:
    """Counts of layers for training images, which are quantised and meet no noise, and how many images, in words.

    Raises:
        ValueError: No image reaches a layer.
    """
    used = 0

    def batches() -> Iterator[Tensor]:
        nonlocal used
        for batch in calibration_images_of(data, images):
            used += len(batch)
            yield batch.to(model.device)

    with under(model, Condition("quantized")):
        found = count_histograms(model, layers, batches())
    missing = [name for name in layers if name not in found]
    if missing:
        raise ValueError(f"no training image reaches the layer {missing[0]}, so that its counts are not known")
    return found, images_text(used, "training", images)


def images_text(used: int, kind: str, asked: int) -> str:
    """How many images were used, and that there are no more, as "40 training images, all that there are"."""
    return f"{used} {kind} images" + (f", all that there are (--images {asked})" if used < asked else "")


@dataclass
class AdcCalibration:
    """Fits the range of the ADC of every layer on a macro, and shows what it buys.

    Attributes:
        setup: What it works with.
        images: Training images; all where there are fewer.
        trials: Reads for each accuracy under noise.
        against: Fields of the macro that is compared, too; empty: none.
        output: File of the rules; None: in the folder of the configuration's runs.

    Raises:
        ValueError: A number is not allowed, no layer is on a macro, a macro can have no range, or there are several
            processes.
    """

    setup: Setup
    images: int
    trials: int
    against: dict[str, Any]
    output: str | None

    def __post_init__(self) -> None:
        check_whole("`images`", self.images, 1)
        check_whole("`trials`", self.trials, 1, 65535)
        self.layers = macro_layers(self.setup.model.backbone)
        if not self.layers:
            raise ValueError(
                "asim calibrate-adc needs a network with layers on a macro, got one without; set `model.plan`"
            )
        if self.setup.trainer.world_size > 1:
            raise ValueError(
                f"asim calibrate-adc needs one process, got {self.setup.trainer.world_size}; set `trainer.devices` 1"
            )
        for name, layer in self.layers.items():
            if layer.macro.adc_bits is None:
                raise ValueError(
                    "`macro.adc_bits` must be 1..16 for asim calibrate-adc, as an ideal converter has no range, got "
                    f"null in the layer {name}"
                )
            layer.macro.with_fields(adc_step=1, adc_low=0)  # says why it can have no range
        self.file = Path(self.output) if self.output else self.setup.folder / "adc_ranges.yaml"
        check_file(self.file, "`output`")
        with under(self.setup.model, Condition(macro=self.against)):
            pass  # refuses fields of `against` before the work

    def run(self) -> None:
        """Fit, print the table, write the rules, and compare accuracies."""
        setup, fields = self.setup, {}
        counts, images = layer_counts(setup.model, self.layers, setup.data, self.images)
        rows = []
        for name, layer in self.layers.items():
            fields[name], row = _fitted(name, layer, counts[name])
            rows.append(row)
        print(f"ADC ranges, fitted to the counts of {images}\n{range_table(rows)}\n", flush=True)
        content = dump_yaml(self._configuration(fields)).encode()
        self.file.parent.mkdir(parents=True, exist_ok=True)
        write_whole(self.file, lambda opened: opened.write(content))
        self._compare(fields)
        print(f"rules    {self.file}, for use as in -c CONFIG -c {self.file}", flush=True)

    def _configuration(self, fields: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
        """Rules of the plan with these fields, and those of digital layers, which follow the bits of a macro."""
        rules, others = [], []
        signs: dict[str, bool | None] = {}
        known_layers = set(self.layers)  # of several rules that match a layer the first counts
        for rule in self.setup.model.hparams["plan"]["rules"]:
            names = matched(self.setup.model, rule["match"], "plan.rules")
            signs = {**dict.fromkeys(names, rule.get("signed_input")), **signs}
            if names - known_layers:  # a rule that decides nothing is refused
                others.append(rule)
            known_layers |= names
        for name, layer in self.layers.items():
            rule = layer.assignment.rule
            known = asdict(rule) if isinstance(rule, MacroConfig) else dict(rule or {})
            match = f"re:{name}" if name in KINDS else name
            sign = {} if signs.get(name) is None else {"signed_input": signs[name]}
            rules.append({"match": match, "macro": {**known, **fields[name]}, **sign})
        return {"model": {"plan": {"rules": [*rules, *others]}}}

    def _compare(self, fields: Mapping[str, Mapping[str, Any]]) -> None:
        """Accuracies on the test images, and their differences in pairs."""
        rules = {f"re:{name}" if name in KINDS else name: values for name, values in fields.items()}
        conditions = {"before": Condition(), "after": Condition(rules=rules)}
        if self.against:
            conditions[f"with {axes_text(self.against)}"] = Condition(macro=self.against)
        model, trainer = self.setup.model, self.setup.trainer
        reads = {}
        for name, condition in conditions.items():
            with under(model, condition):
                reads[name] = self.trials if is_noisy(model) else 1
        first = model.trial

        def work(evaluate: Evaluate) -> dict[str, Answers]:
            found = {}
            for name, condition in conditions.items():
                trials = [evaluate(replace(condition, trial=(first + k) & 0xFFFF)) for k in range(reads[name])]
                found[name] = np.stack([outcomes.correct for outcomes in trials], 1)  # (images, trials)
            return found

        answers = run_evaluations(trainer, model, self.setup.data, work)
        for name, correct in answers.items():
            found = accuracy_interval(correct)
            shape = f"{correct.shape[0]} test images, {correct.shape[1]} reads"
            print(
                f"accuracy {100 * found.mean:.2f} % {interval_text(found.low, found.high)} {name} ({shape})", flush=True
            )
        for name in list(answers)[:1] + list(answers)[2:]:
            found = difference_interval(answers["after"], answers[name])
            print(
                f"after - {name}: {100 * found.mean:+.2f} % {interval_text(found.low, found.high)}, in pairs",
                flush=True,
            )


def _fitted(name: str, layer: OnMacro, counts: LayerCounts) -> tuple[dict[str, int | None], RangeRow]:
    """The fields of a layer's macro with the range that was fitted, and its row of the table."""
    circuit = counts.circuit
    step, low = fit_range(circuit, counts.histograms)
    macro = circuit.macro.with_fields(adc_step=step, adc_low=low)
    fitted = transfer(macro, layer.signed_input, layer.rows_in_use)
    before, after = qualities(circuit, counts.histograms), qualities(fitted, counts.histograms)
    diagonals: dict[int, list[Quality]] = {}
    groups = list(dict.fromkeys(cycle.input_bits for cycle in fitted.cycles))
    for cycle, each in zip(fitted.cycles, after, strict=True):
        if cycle.converted:
            diagonals.setdefault(cycle.weight_bits[0] + groups.index(cycle.input_bits), []).append(each)
    clipped = tuple(sum(each.clipped for each in found) / len(found) for _, found in sorted(diagonals.items()))
    decibels = overall(circuit, before).csnr, overall(fitted, after).csnr
    row = RangeRow(name, macro.adc_bits or 0, step, low, *decibels, clipped)
    return {field: getattr(macro, field) for field in _FIELDS}, row
