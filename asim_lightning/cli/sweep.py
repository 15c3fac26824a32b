"""`asim sweep`: accuracy over a grid of macros or of chips."""

from dataclasses import dataclass, field

from asim_lightning.cli.cost import write_cost
from asim_lightning.cli.messages import UsageError
from asim_lightning.cli.recorded_command import StudyOptions, recorded
from asim_lightning.cli.start import Setup, prepare, read_data
from asim_lightning.cost import Technology
from asim_lightning.exploration.axes import SweepAxes


@dataclass(frozen=True)
class SweepOptions(StudyOptions):
    """Points of the grid, reads of each, what ends them, and who computes them."""

    axes: SweepAxes = field(default_factory=SweepAxes)
    """Values of macro fields; several axes give every combination."""
    trials: int = 2
    """Reads of the chip for each noisy point: 1..65535."""
    chips: int | None = None
    """Number of chips at each point, for a yield: 2..10000; null: the model's chip alone."""
    until: str | None = None
    """A target that ends the work when it is answered: the chips by "yield 0.95 at 90 %", 500 or `chips` at most;
    the images of each point by "accuracy 90 %", or "accuracy within 2 %" for the width of its interval."""
    thresholds: list[float] | None = None
    """Accuracies, percent, from which a chip counts as good; null: that of `until`, or 1, 2 and 5 points below the
    quantised network's."""
    technology: Technology = field(default_factory=Technology)
    """What energy, latency and TOPS/W of each point are computed from."""


def sweep(setup: Setup, options: SweepOptions) -> None:
    """Accuracy of a checkpoint over a grid of macros, with a 95 % interval a point.

    Writes results.csv, a plot and TensorBoard scalars; a sweep that was stopped goes on where it was.
    """
    from asim_lightning.evaluation.chip_yield import thresholds_of
    from asim_lightning.evaluation.target import ENDS_IMAGES, Target
    from asim_lightning.exploration.axes import with_chips
    from asim_lightning.exploration.estimate import grid_line
    from asim_lightning.exploration.publish import publish, publish_yields
    from asim_lightning.exploration.runner import Work, runner_of
    from asim_lightning.exploration.sweep import Sweep

    trainer, model, data, axes = setup.trainer, setup.model, setup.data, options.axes
    until = None if options.until is None else Target.read(options.until, "`until`", ("yield", *ENDS_IMAGES))
    of_chips = options.chips is not None or (until is not None and until.form == "yield")
    levels = thresholds_of(options.thresholds, of_chips)
    runner = runner_of(options.runner, trainer, model, data)
    if of_chips:
        if until is not None and until.ends_images:
            raise UsageError(
                f"`until` '{until}' ends the images of a chip, so that `chips` must be null, got {options.chips}"
            )
        axes = with_chips(axes, options.chips, until)
    read_data(model, data)
    what = "the yield" if of_chips else "the accuracy"
    fewer = "" if until is None else f", fewer if the target of {what} is answered before"
    setup.say(f"grid     {grid_line(model, data, axes, options.trials)}{fewer}")
    prepare(trainer, model, data)
    work = Work(trainer, model, data, setup.folder, runner, options.fresh)
    made = Sweep(work, axes, options.trials, until, options.technology, options.progress)
    for note in made.notes:
        setup.say(note)
    with recorded(setup, made.folder):
        results = made.run(setup.say)
    write_cost(setup, options.technology, made.folder)
    if trainer.is_global_zero:
        of_chips = of_chips and model.outcome.is_share
        print(
            publish(results, made, setup.folder.name, model.num_classes, levels if of_chips else None, options.format)
        )
        if of_chips:
            print(f"\n{publish_yields(results, made, setup.folder.name, levels, options.format)}")
