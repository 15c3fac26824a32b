"""Seeds of the random numbers that a training step draws from torch's own generators: dropout, drop path, mixup."""

import hashlib


def step_seed(seed: int, step: int, batch: int, rank: int) -> int:
    """A 63-bit hash of four whole numbers, so that no two batches or processes draw the same or neighbouring numbers.

    Args:
        seed: Seed of the training.
        step: Optimizer step; several batches share one where gradients are accumulated.
        batch: Number of the batch in its epoch.
        rank: Number of the process.
    """
    digest = hashlib.blake2s(f"{seed} {step} {batch} {rank}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1
