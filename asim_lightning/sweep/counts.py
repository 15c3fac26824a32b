"""How many answers were right, in words: of few images a count says more than a percentage."""

from collections.abc import Sequence


def mean_count(right: Sequence[int]) -> str:
    """The mean of some counts: whole where it is, else with one digit behind the point.

    Args:
        right: Right answers of each read, one or more.
    """
    mean = sum(right) / len(right)
    return f"{mean:,.0f}" if mean.is_integer() else f"{mean:,.1f}"


def count_range(right: Sequence[int]) -> str:
    """The least and the largest count, as in "17 to 18"; one number where they are equal.

    Args:
        right: Right answers of each read, one or more.
    """
    low, high = min(right), max(right)
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"


def count_text(right: Sequence[int], images: int) -> str:
    """As in "18 of 20 images", and of several reads "17.7 of 20 images, 17 to 18 in 3 reads".

    Args:
        right: Right answers of each read, one or more.
        images: Images of each read.
    """
    reads = f", {count_range(right)} in {len(right)} reads" if len(right) > 1 else ""
    return f"{mean_count(right)} of {images:,} images{reads}"
