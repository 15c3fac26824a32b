"""`asim spec`: how good the macro must be."""

import json
from dataclasses import dataclass, field
from typing import Any

from asim_lightning.cli.recorded_command import StudyOptions, recorded
from asim_lightning.cli.start import Setup, prepare
from asim_lightning.cli.strict_yaml import dump_yaml
from asim_lightning.evaluation.target import MEASURED, Target
from asim_lightning.evaluation.whole_file import write_whole


@dataclass(frozen=True)
class SpecOptions(StudyOptions):
    """What the network must keep, of which properties the limits are wanted, and who computes them."""

    target: str = "accuracy 99 % of quantized"
    """What must be kept, such as "accuracy 99 % of quantized", "accuracy 88 %" or "yield 0.9 at 85 %"."""
    properties: list[str] | None = None
    """Properties whose limits are looked for, such as [random_noise, offset, adc_bits]; null: all."""
    given: dict[str, Any] = field(default_factory=dict)
    """What every macro has, such as {random_noise: 0.3 lsb, static.gain: 1}; it has no other noise and spreads."""
    chips: int = 10
    """Chips of each macro with spreads: 2..10000."""
    trials: int = 1
    """Reads of each chip of a macro with noise: 1..65535."""


def spec(setup: Setup, options: SpecOptions) -> None:
    """How bad each property of the macro may be, only it and then all together, so that the network keeps a target.

    Writes spec.json, spec.yaml (a macro that keeps the target) and a picture; a spec that was stopped goes on.
    """
    from asim_lightning.exploration.runner import Work, runner_of
    from asim_lightning.exploration.spec import SpecStudy
    from asim_lightning.report.draw import save_figure

    trainer, model, data = setup.trainer, setup.model, setup.data
    target = Target.read(options.target, "`target`", MEASURED)
    runner = runner_of(options.runner, trainer, model, data)
    prepare(trainer, model, data)
    work = Work(trainer, model, data, setup.folder, runner, options.fresh)
    made = SpecStudy(work, target, options.properties, options.given, options.chips, options.trials)
    for note in made.notes:
        setup.say(note)
    with recorded(setup, made.folder):
        found = made.run(setup.say, options.progress)
    if not trainer.is_global_zero:
        return
    texts = {"spec.json": json.dumps(found.to_json(), indent=2)}
    if found.keeps is not None:
        texts["spec.yaml"] = dump_yaml({"model": {"plan": {"macro": dict(found.keeps)}}})
    for name, text in texts.items():
        write_whole(made.folder / name, lambda file, text=text: file.write(text.encode()))  # type: ignore[misc]
    drawn = found.plot(f"{setup.folder.name}: how bad a macro may be that keeps {target}")
    save_figure(drawn.figure, made.folder / f"spec.{options.format}")  # type: ignore[arg-type]
    print(f"{found.table}\nfiles    {made.folder}/{', '.join(texts)}, spec.{options.format}")
