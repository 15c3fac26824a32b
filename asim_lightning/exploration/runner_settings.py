"""Who computes the trials of a study, as a user asks for it."""

from dataclasses import dataclass
from importlib.util import find_spec

from lightning.pytorch import LightningDataModule, Trainer

from asim_lightning.checks import check_choice, check_whole
from asim_lightning.classifier.network import CimModule
from asim_lightning.exploration.ray_runner import RayRunner
from asim_lightning.exploration.runner import Runner, TrainerRunner


@dataclass(frozen=True)
class RunnerSettings:
    """Who computes the trials."""

    name: str = "trainer"
    """trainer: this process, or those of trainer.devices; ray: worker processes here or in a cluster, a trial each."""
    workers: int | None = None
    """Of ray: workers, 1 or more; null: as many as there are CPUs for."""
    threads: int = 1
    """Of ray: CPUs of a worker, 1 or more."""
    address: str | None = None
    """Of ray: HOST:PORT of a cluster that runs, to which this machine belongs; null: on this machine only."""

    def __post_init__(self) -> None:
        check_choice("`runner`", self.name, ("trainer", "ray"))
        if self.workers is not None:
            check_whole("`runner.workers`", self.workers, 1, also=" or null")
            if self.name != "ray":
                raise ValueError(f"`runner.workers` is of `runner: ray`, got {self.workers} with {self.name}")
        check_whole("`runner.threads`", self.threads, 1)


def runner_of(settings: RunnerSettings, trainer: Trainer, model: CimModule, data: LightningDataModule) -> Runner:
    """The runner that settings describe; one that is not installed, or not for so many processes, is refused."""
    if settings.name == "trainer":
        return TrainerRunner(trainer, model, data)
    if trainer.world_size > 1:
        raise ValueError(
            "`trainer.devices` must be 1 with `runner: ray`, whose processes `runner.workers` sets, got "
            f"{trainer.world_size}"
        )
    if find_spec("ray") is None:
        raise ValueError("`runner: ray` needs a package that is not installed: pip install 'asim_lightning[ray]'")
    return RayRunner(trainer, model, data, settings.workers, settings.threads, settings.address)
