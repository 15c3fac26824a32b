"""`asim doctor`: what to change so that the network keeps a target."""

import json
from copy import copy
from dataclasses import dataclass, field, replace
from pathlib import Path

from asim_lightning.cli.command_line import dump_yaml, write_text
from asim_lightning.cli.start import Setup
from asim_lightning.cli.studies import StudyOptions, recorded, work_of
from asim_lightning.cost import Technology
from asim_lightning.data.image_data_module import ImageDataModule
from asim_lightning.evaluation.loss_map import LossMap
from asim_lightning.evaluation.run import MAP
from asim_lightning.exploration.doctor import Doctor
from asim_lightning.exploration.plan_study import DoctorSettings
from asim_lightning.report.draw import save_figure
from asim_lightning.resources import shipped_file
from asim_lightning.surgery import macro_layers


@dataclass(frozen=True)
class DoctorOptions(StudyOptions, DoctorSettings):
    """The target, the samples that measure plans, and the runner."""

    map: str | None = None
    """map.json of an earlier call, to use again; null: make a map."""
    technology: Technology = field(default_factory=Technology)
    """Technology of the energies."""


def doctor(setup: Setup, options: DoctorOptions) -> None:
    """Find changes with which the network keeps a target: the cheapest plans, proved on other images, noise and chips.

    Writes map.json, doctor.json, a picture, and plan-1.yaml and so on; every command takes a plan as a second recipe.
    """
    known = None if options.map is None else read_map(options.map)
    whole = setup
    if isinstance(setup.data, ImageDataModule):
        whole = replace(setup, data=copy(setup.data))
        whole.data.test_images = None
    for each in options.checkpoints:
        shipped_file("checkpoints", each)  # refuses a wrong name early
    made = Doctor(work_of(whole, options), options, options.technology, known)
    made.map_loss(setup.say)
    with recorded(setup, made.folder):
        found = made.run(setup.say, options.progress)
    if not setup.trainer.is_global_zero:
        return
    base = next(iter(macro_layers(setup.model.backbone).values())).assignment.base
    start = None if setup.start.path is None else str(Path(setup.start.path).resolve())
    plans = {f"plan-{number}.yaml": plan.recipe(base, start) for number, plan in enumerate(found.plans, 1)}
    texts = {name: dump_yaml(json.loads(json.dumps(recipe))) for name, recipe in plans.items()}
    texts[MAP] = json.dumps(found.map.to_json(), indent=1)
    texts["doctor.json"] = json.dumps(found.to_json(list(plans)), indent=2)  # last, because it names the others
    for name, text in texts.items():
        write_text(made.folder / name, text)
    drawn = found.plot(f"{setup.folder.name}: loss by layer and bit position")
    save_figure(drawn.figure, made.folder / f"map.{options.format}")  # type: ignore[arg-type]
    print(f"{found}\n\nfiles    {made.folder}/doctor.json, {MAP}, map.{options.format}, {', '.join(plans)}")


def read_map(path: str) -> LossMap:
    """The map of a map.json."""
    try:
        return LossMap.of_json(json.loads(Path(path).read_text(), parse_constant=_no_number))
    except (KeyError, TypeError, AttributeError, ValueError):
        raise ValueError(f"`map` must be a map.json of asim doctor, got {path}") from None


def _no_number(name: str) -> float:
    raise ValueError(f"{name} is no share")
