"""How many numbers the CPU kernels compute at once."""

LANES = 16
"""Outputs in one vector of 32-bit numbers: one register of AVX-512."""
WINDOW = 2 * LANES
"""Consecutive numbers of which one instruction takes 16 from any places."""
INWARD_TILE, OUTWARD_TILE = 64, 16
"""Positions of an image that are turned at once: to channels innermost, and back."""
