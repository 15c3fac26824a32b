"""Majority voting: several codes of one conversion become one."""

import torch
from torch import Tensor


def vote(codes: Tensor, rule: str) -> Tensor:
    """One code of several.

    Args:
        codes: Codes, whole numbers. # (votes, ...)
        rule: "mode" (the most frequent code, of equally frequent ones the smallest, as published), "median" (of an odd
            number), or "mean", for which the sum of the codes is returned, so that it stays a whole number.

    Returns:
        Codes, or their sum. # (...)
    """
    if rule == "mean":
        # float32 ends at 2^24, which 257 votes of 16 bits pass
        return codes.sum(0, dtype=torch.float32 if codes.device.type == "mps" else torch.float64)
    if rule == "median":
        return codes.median(0).values
    best, agreement = codes[0], torch.zeros_like(codes[0])
    for code in codes:
        agree = (codes == code).sum(0)
        better = (agree > agreement) | ((agree == agreement) & (code < best))
        best, agreement = torch.where(better, code, best), torch.where(better, agree, agreement)
    return best
