"""Speed of a simulated network on this machine, compared with float32 and quantised inference."""

from asim_lightning.bench.images import BenchImages, read_images
from asim_lightning.bench.network_times import time_layers, time_network

__all__ = [
    "BenchImages",
    "read_images",
    "time_layers",
    "time_network",
]
