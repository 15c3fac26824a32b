# Times layers, networks and fits on a GPU, beside float32, and prints one table with the card's name.
# python -m tests.engine.fused.measure_cuda                       from the repository's root; minutes, also of compiling
# python -m tests.engine.fused.measure_cuda --device cpu --tiny   executes every line where there is no GPU
"""Times on a GPU; the first call of each layer compiles its kernel, and is not timed."""

import argparse
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from lightning.pytorch import Callback, LightningDataModule, Trainer
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from asim_lightning import CimClassifier, MacroConfig, Plan
from asim_lightning.backbone import BackboneConfig
from asim_lightning.bench.images import random_images
from asim_lightning.bench.inference import inferences, seconds_of, synchronize
from asim_lightning.bench.machine import this_machine
from asim_lightning.bench.network_times import time_network
from asim_lightning.data import IndexedDataset
from asim_lightning.engine import noise_context
from asim_lightning.evaluation.times import Repeats
from asim_lightning.nn import CimConv2d, CimLinear
from asim_lightning.table import text_table
from tests.engine.chips.random_converters import converters
from tests.engine.fused.cases import Run
from tests.engine.fused.on_device import kernel_sums
from tests.engine.products import noise_of

NOISY = MacroConfig(random_noise=0.2, nonlinear_noise=0.05)
"""8 by 8 bits, 255 rows: every conversion is made."""
NETWORKS = [("resnet18", 32), ("resnet50", 224), ("vit_base_patch32_224", 224)]
TINY_NETWORKS = [("resnet18", 32), ("vit_tiny_patch16_224", 224)]
HEADERS = ["work", "batch", "float32 (ms)", "simulated (ms)", "times", "engine", "conversions/s"]


def row(work: str, batch: int, plain: float | None, ours: float, engine: str, conversions: float | None) -> list[str]:
    """A line of the table; times in seconds."""
    ratio = ["-", f"{1e3 * ours:.3f}", "-"] if plain is None else [
        f"{1e3 * plain:.3f}", f"{1e3 * ours:.3f}", f"{ours / plain:.1f}"
    ]  # fmt: skip
    return [work, str(batch), *ratio, engine, "-" if conversions is None else f"{conversions / ours:.3g}"]


def median_seconds(work: Callable[[], object], device: torch.device, repeats: int) -> float:
    """Seconds of the median repeat, after one that is not timed."""
    return Repeats(tuple([seconds_of(work, device) for _ in range(repeats + 1)][1:])).median


@torch.inference_mode()
def layers(device: torch.device, batch: int, repeats: int, is_tiny: bool) -> list[list[str]]:
    """A convolution and a linear layer: whole layers, and their sums where converters have errors."""
    conv, size = ((8, 8, 3), 8) if is_tiny else ((64, 64, 3), 32)
    terms, outputs, rows = (32, 16, 5) if is_tiny else (768, 3072, 197)
    timed: list[tuple[str, Any, nn.Module, Tensor]] = [
        (f"{conv[0]} channels 3x3 at {size}x{size}", CimConv2d(*conv, padding=1, macro=NOISY, name="conv"),
         nn.Conv2d(*conv, padding=1), torch.rand(batch, conv[0], size, size)),
        (f"{terms} to {outputs} of {rows} rows", CimLinear(terms, outputs, macro=NOISY, name="fc"),
         nn.Linear(terms, outputs), torch.rand(batch, rows, terms)),
    ]  # fmt: skip
    found = []
    for work, layer, plain, x in timed:
        layer.calibrate(x)
        layer.eval().to(device).fidelity = "simulated"
        product, integers, w = layer.quantized_operands(x.to(device))
        run = Run(product, layer.transfer, integers, w, noise_of(batch), None).on(device)
        with_errors = replace(run, converters=converters(product, layer.transfer, w.cpu(), "gain offset nibbles"))
        plain, x, number = plain.to(device), x.to(device), layer.conversions(x)
        with noise_context(seed=1):
            seconds = [median_seconds(each, device, repeats) for each in (lambda: plain(x), lambda: layer(x))]
        found.append(row(work, batch, *seconds, layer.engine_on(device), number))
        sums = median_seconds(kernel_sums(with_errors, device), device, repeats)
        found.append(row("  sums, converters with errors", batch, None, sums, layer.engine_on(device), number))
    return found


def network(name: str, pixels: int, plan: Plan) -> CimClassifier:
    """A network of random weights, trained under the noise of its macros."""
    backbone = BackboneConfig(name, small=name == "resnet18", image_size=pixels)
    return CimClassifier(backbone, plan, calibration_images=16, train_noise=1.0, train_noise_model="macro")


def networks(device: torch.device, batch: int, repeats: int, is_tiny: bool) -> list[list[str]]:
    """Inference of whole networks; float32 is what torch makes of it by default, with convolutions in TF32."""
    found = []
    for name, pixels in TINY_NETWORKS if is_tiny else NETWORKS:
        model = network(name, pixels, Plan(NOISY))
        images = random_images(model, None, 2 * batch, "no data are read")
        model.calibrate([images.images[:16]])
        model.eval().to(device)
        ways = [way for way in inferences(model, device) if way.name != "quantized"][:2]
        plain, ours = time_network(model, ways, images, batch, repeats)
        work, seconds = f"{name} at {pixels}", (plain.repeats.median, ours.repeats.median)
        found.append(row(work, batch, *seconds, ours.engine, (ours.conversions or 0) * batch))
    return found


class RandomImages(LightningDataModule):
    """Images of standard normals."""

    def __init__(self, batch: int, steps: int, pixels: int) -> None:
        super().__init__()
        self.batch, self.number, self.pixels = batch, batch * steps, pixels

    def train_dataloader(self) -> DataLoader[Any]:
        """Images, labels and indices."""
        images, labels = torch.randn(self.number, 3, self.pixels, self.pixels), torch.arange(self.number) % 10
        return DataLoader(IndexedDataset(TensorDataset(images, labels)), self.batch)


class StepTime(Callback):
    """Logs the time of a step of training, the fastest so far."""

    def __init__(self) -> None:
        self.fastest, self.before = float("inf"), float("nan")

    def on_train_batch_end(self, trainer: Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Waits for the device."""
        synchronize(pl_module.device)
        now = time.perf_counter()
        if batch_idx > 1:  # the first step compiles, and DDP arranges its buckets in the second
            self.fastest = min(self.fastest, now - self.before)
            pl_module.log("step_seconds", self.fastest)
        self.before = now


def step_seconds(device: torch.device, batch: int, steps: int, processes: int | None, plan: Plan) -> float:
    """A step of a fit: in this process, or on several that average gradients by NCCL (on a CPU by gloo)."""
    where = {"accelerator": "gpu" if device.type == "cuda" else "cpu", "devices": processes or 1}
    strategy = "auto" if processes is None else "ddp_spawn"
    quiet = {
        "logger": False,
        "enable_checkpointing": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
    }
    trainer = Trainer(**where, **quiet, strategy=strategy, max_epochs=1, callbacks=[StepTime()])  # type: ignore[arg-type]
    trainer.fit(network("resnet18", 32, plan), RandomImages(batch, steps * (processes or 1), 32))
    return float(trainer.callback_metrics["step_seconds"])


def fits(device: torch.device, batch: int, steps: int) -> list[list[str]]:
    """Steps of fits under the macro's noise, in one process and by DDP on all GPUs (on a CPU: two processes)."""
    all_devices = torch.cuda.device_count() if device.type == "cuda" else 2
    found = []
    for processes, where in ((None, ""), (all_devices, f", DDP on {all_devices}")):
        plain, ours = (step_seconds(device, batch, steps, processes, p) for p in (Plan(NOISY, keep=["*"]), Plan(NOISY)))
        found.append(row(f"step of a fit, resnet18 at 32{where}", batch, plain, ours, "(training)", None))
    return found


def main() -> None:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cuda", choices=["cuda", "cpu"])
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--tiny", action="store_true", help="two images, small layers and networks")
    options = parser.parse_args()
    device, batch, steps = torch.device(options.device), options.batch, 20
    if options.tiny:
        batch, options.repeats, steps = 2, 1, 4
    sizes = device, batch, options.repeats, options.tiny
    rows = [HEADERS, *layers(*sizes), *networks(*sizes), *fits(device, batch, steps)]
    sys.stdout.write(f"{this_machine(device)}\n\n{text_table(rows, 1, 'lrrrrlr')}\n")


if __name__ == "__main__":
    main()
