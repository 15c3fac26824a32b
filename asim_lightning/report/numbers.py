"""Numbers as text: right answers, intervals, times and rates."""

from collections.abc import Sequence

from asim_lightning.table import short


def mean_count(right: Sequence[int]) -> str:
    """The mean of some counts: without decimals if it is an integer, else with one."""
    mean = sum(right) / len(right)
    return f"{mean:,.0f}" if mean.is_integer() else f"{mean:,.1f}"


def count_range(right: Sequence[int]) -> str:
    """The smallest and the largest count, such as "17 to 18"; one number if they are equal."""
    low, high = min(right), max(right)
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"


def count_text(right: Sequence[int], images: int) -> str:
    """Right answers, as in "18 of 20 images", and for several reads "17.7 of 20 images, 17 to 18 in 3 reads"."""
    reads = f", {count_range(right)} in {len(right)} reads" if len(right) > 1 else ""
    return f"{mean_count(right)} of {images:,} images{reads}"


def duration(seconds: float, digits: int = 1) -> str:
    """A time, such as "850 ms", "42.0 s", "5.3 min", "2.1 h" or "3.5 days"; `digits` decimals for s and min."""
    if seconds < 1:
        return f"{1000 * seconds:.0f} ms"
    for unit, size, limit in (("s", 1, 120), ("min", 60, 7200)):
        if seconds < limit:
            return f"{seconds / size:.{digits}f} {unit}"
    return f"{seconds / 3600:.1f} h" if seconds < 48 * 3600 else f"{seconds / 86400:,.1f} days"


def milliseconds(seconds: float) -> str:
    """A time in milliseconds with three digits, without its unit."""
    return short(1000 * seconds)


def rate(value: float | None) -> str:
    """A number with three digits and an exponent, as in 2.74e8; a dash for None."""
    return "-" if value is None else f"{value:.2e}".replace("e+0", "e").replace("e+", "e")
