"""How many numbers the CPU kernels compute at once."""

LANES = 16
"""Outputs in one vector of 32-bit numbers: one register of AVX-512."""
