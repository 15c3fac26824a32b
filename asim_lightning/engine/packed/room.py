"""The room in which a thread of the packed engine makes a block of 16 singles by 16 lanes.

It is an array of 32-bit numbers, 256 for each kind: single by single, and lane by lane within.
"""

CODES, DIGITS, NORMALS, COUNTS = 0, 256, 512, 512 + 1024
"""Where sums of codes, sums of digital counts, normals of four cycles and counts begin."""
FOUR = 1024
"""Size of the counts of four cycles."""


def block_room(fours: int) -> int:
    """Size of a room for the counts of so many times four cycles."""
    return COUNTS + fours * FOUR
