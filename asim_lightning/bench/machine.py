"""The machine on which times are measured."""

import os
import platform
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch

from asim_lightning import __version__
from asim_lightning.engine.native.library import best_level, why_missing
from asim_lightning.engine.noise import STREAM_VERSION

_PACKAGES = ("timm", "lightning", "triton")


@dataclass(frozen=True)
class Machine:
    """Processor, threads and device."""

    cpu: str
    """Model of the processor."""
    capability: str
    """Widest vector instructions that torch uses, such as AVX512."""
    processors: int
    """Processors that this process may use."""
    threads: int
    """Threads that torch and the engines use."""
    kernels: str
    """Instructions of the C++ kernels, such as avx512; "none" where none are built."""
    device: str
    """Model of the device that computes; "cpu" for the processor."""
    system: str

    def __str__(self) -> str:
        threads = f"{self.threads} of {self.processors} threads"
        software = f"torch {torch.__version__}, C++ kernels {self.kernels}"
        return f"{self.cpu} ({self.capability}), {threads}, {software}, device {self.device}"


def this_machine(device: torch.device) -> Machine:
    """This machine, with the device that computes."""
    affinity = getattr(os, "sched_getaffinity", None)  # absent on macOS and Windows
    return Machine(
        cpu=_cpu(),
        capability=torch.backends.cpu.get_cpu_capability(),
        processors=len(affinity(0)) if affinity else os.cpu_count() or 1,
        threads=torch.get_num_threads(),
        kernels=best_level() if why_missing() is None else "none",
        device=torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
        system=platform.platform(),
    )


def versions() -> dict[str, str]:
    """Versions of the software that decides speed, and of the noise stream."""
    found = {"asim_lightning": __version__, "python": platform.python_version(), "torch": str(torch.__version__)}
    for name in _PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return {**found, "noise_stream": str(STREAM_VERSION)}


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else platform.processor() or platform.machine()
