"""Small fits that tests stop and let go on."""

import copy
import os
from pathlib import Path

import yaml

from tests.cli.conftest import TINY

ROOT = Path(__file__).parents[2]
CALLBACKS = "asim_lightning.callbacks"
EPOCHS = 5
SECONDS = 120.0
"""After which a process that is waited for counts as hanging."""


def write_config(folder: Path, data: Path, every: int | None = None, workers: int = 0, model: str = "macro") -> Path:
    """tiny.yaml in a folder: a ramp of noise, mixup and augmentation, all of which a resumed fit has to repeat."""
    config = copy.deepcopy(TINY)
    del config["trainer"]["limit_train_batches"]
    config["trainer"]["max_epochs"] = EPOCHS
    ramp = {"end": 1.0 if model == "macro" else 20.0}
    last = {"every_n_train_steps": every}
    config["trainer"]["callbacks"] = [
        {"class_path": f"{CALLBACKS}.NoiseRamp", "init_args": ramp},
        {"class_path": f"{CALLBACKS}.LastCheckpoint", "init_args": last},
    ]
    config["model"].update(mixup=0.4, train_noise_model=model)
    config["data"]["init_args"].update(root=str(data), num_workers=workers)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "tiny.yaml"
    path.write_text(yaml.safe_dump(config))
    return path


def last_of(folder: Path) -> Path:
    return folder / "runs" / "tiny" / "version_0" / "checkpoints" / "last.ckpt"


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
