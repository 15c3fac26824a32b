"""The trainer with this project's own commands beside Lightning's."""

from typing import Any

from lightning.pytorch import LightningDataModule, LightningModule, Trainer


class AsimTrainer(Trainer):
    """Lightning's Trainer, which also explains, verifies and sweeps."""

    run_folder: str = "runs/default"
    """Folder of this configuration's runs."""

    def explain(
        self,
        model: LightningModule,
        datamodule: LightningDataModule | None = None,
        ckpt_path: str | None = None,
    ) -> None:
        """Print what the plan does to the network, and every macro's cycles."""
