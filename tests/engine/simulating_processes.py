"""Two processes that average over gloo, each with two data workers and two threads, all of which simulate."""

import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from asim_lightning import MacroConfig
from asim_lightning.engine import noise_context
from asim_lightning.nn import CimConv2d

MACROS = (MacroConfig(random_noise=0.2, nonlinear_noise=0.05), MacroConfig(random_noise=0.05), MacroConfig())
"""Computed by the native, the events and the exact engine."""
torch.manual_seed(0)
LAYERS = [CimConv2d(8, 16, 3, padding=1, macro=macro, name="conv").eval() for macro in MACROS]


def simulated(sample: int) -> Tensor:
    x = torch.rand(1, 8, 12, 12, generator=torch.Generator().manual_seed(sample))
    sums = []
    for layer in LAYERS:
        with torch.no_grad(), noise_context(seed=1, sample_ids=[sample]):
            sums.append(layer(x).sum())
    return torch.stack(sums)


class Simulated(Dataset[Tensor]):
    """Samples that the data workers simulate."""

    def __len__(self) -> int:
        return 8

    def __getitem__(self, index: int) -> Tensor:
        return simulated(index)


def work(rank: int, folder: str) -> None:
    dist.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=2)
    torch.set_num_threads(2)
    simulated(0)  # before the workers are forked, so that they inherit a process whose threads they lack
    loader: Any = DataLoader(Simulated(), batch_size=4, num_workers=2)
    by_workers = torch.cat([*loader])
    with ThreadPoolExecutor(2) as pool:
        by_threads = torch.stack([*pool.map(simulated, range(8))])
    torch.testing.assert_close(by_workers, by_threads, rtol=0, atol=0)
    total = by_threads.clone()
    dist.all_reduce(total)
    torch.testing.assert_close(total, 2 * by_threads, rtol=0, atol=0)
    dist.destroy_process_group()


if __name__ == "__main__":
    # no thread runs here yet
    mp.start_processes(work, args=(str(Path(sys.argv[1])),), nprocs=2, start_method="fork")
    print("agree")
