"""The processes of a run: what they have found, put together, and how they leave each other."""

from typing import TypeVar

import torch

Found = TypeVar("Found")


def gather(mine: Found) -> list[Found]:
    """What every process has, in the order of their ranks, on every process; to be called on all of them.

    Args:
        mine: What this process has: anything that can be pickled.
    """
    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return [mine]
    parts: list[Found | None] = [None] * torch.distributed.get_world_size()
    torch.distributed.all_gather_object(parts, mine)
    return parts  # type: ignore[return-value]


def leave() -> None:
    """Leave the processes of a run, if there are any; to be called once nothing is under way between them.

    gloo's threads would else work on while Python ends, and one that lets go of a tensor then aborts the process.
    """
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()
