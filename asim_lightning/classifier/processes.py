"""What the processes of a run have found, put together."""

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
