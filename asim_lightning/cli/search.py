"""`asim search`: what accuracy costs."""

from dataclasses import dataclass, field

from asim_lightning.cli.cost import write_cost
from asim_lightning.cli.recorded_command import StudyOptions, recorded
from asim_lightning.cli.start import Setup, load_weights, open_checkpoint, prepare, read_data
from asim_lightning.cost import Technology
from asim_lightning.exploration.search_settings import SearchSettings


@dataclass(frozen=True)
class SearchOptions(StudyOptions):
    """What is searched, and who computes it."""

    search: SearchSettings = field(default_factory=SearchSettings)
    """Space, method, objectives and constraints."""
    technology: Technology = field(default_factory=Technology)
    """What energy and latency are computed from."""


def search(setup: Setup, options: SearchOptions) -> None:
    """What accuracy costs: macros, chips, checkpoints and technologies that trade accuracy, energy and time best.

    Writes results.csv, pictures and TensorBoard scalars; a search that was stopped goes on where it was.
    """
    from asim_lightning.exploration.publish import publish_search
    from asim_lightning.exploration.runner import Work, runner_of
    from asim_lightning.exploration.search import Search

    trainer, model, asked = setup.trainer, setup.model, options.search
    runner = runner_of(options.runner, trainer, model, setup.data)
    read_data(model, setup.data)
    prepare(trainer, model, setup.data)

    def load(checkpoint: str) -> None:
        load_weights(model, *open_checkpoint(checkpoint))

    work = Work(trainer, model, setup.data, setup.folder, runner, options.fresh, load)
    made = Search(work, asked, options.technology)
    for note in made.notes:
        setup.say(note)
    count = made.space.count() if asked.method in ("grid", "random") else None
    points = asked.most if count is None else min(count, asked.most)
    at_most = "" if asked.method == "list" else "at most "
    fewer = "" if asked.until is None else f"; images end where '{asked.until}' is answered"
    setup.say(f"search   {asked.method}, {at_most}{points:,} points of {', '.join(made.space.names)}{fewer}")
    with recorded(setup, made.folder):
        found = made.run(setup.say, options.progress)
    write_cost(setup, options.technology, made.folder)
    if trainer.is_global_zero:
        print(publish_search(found, made, setup.folder.name, options.format))
