"""The energy model against silicon, as pictures."""

from asim_lightning.cost.validation import Validation
from asim_lightning.report.picture import BLACK, GREY, Axis, Mark, Picture, Series


def validation_pictures(found: Validation) -> list[Picture]:
    """Energy of a column of each chip, components, and the fall with the supply."""
    chips = sorted((1e-3 * each.reported, 1e-3 * each.modelled, each.what) for each in found.chips)
    reported, modelled = [each[0] for each in chips], [each[1] for each in chips]
    ends = [0.5 * min(*reported, *modelled), 2.5 * max(*reported, *modelled)]
    bounds = [
        Series(name, ends, [factor * end for end in ends], form="line", colour=GREY, marker="none", dashes=dashes)
        for name, factor, dashes in (
            ("equal", 1.0, 0), (f"within {found.factor:g}", found.factor, 1), ("", 1 / found.factor, 1)
        )
    ]  # fmt: skip
    key = ", ".join(f"{number} {what}" for number, (*_, what) in enumerate(chips, 1))
    scatter = Picture(
        "charge-redistribution macros",
        Axis("reported energy of a column (pJ)", "log"),
        Axis("modelled (pJ)", "log"),
        [*bounds, Series("", reported, modelled)],
        labels=[(x, y, str(number)) for number, (x, y, _) in enumerate(chips, 1)],
        note=key,
    )
    names = [f"{each.what.removeprefix('Jia 65 nm, ')}\n{each.note}".strip() for each in found.components]
    ratios = [each.ratio for each in found.components]
    parts = Picture(
        "Jia 65 nm, measured parts",
        Axis("model / measured", ends=(0.0, 1.25)),
        Axis("", "names", names),
        [Series("", ratios, range(len(ratios)), form="bar")],
        [Mark("x", 1.0, dashes=0, colour=BLACK)],
        labels=[(ratio, place, f"{ratio:.2f}") for place, ratio in enumerate(ratios)],
    )
    volts = [float(each.what.split()[-2]) for each in found.supplies]
    square = [1e-3 * each.modelled for each in found.supplies]
    low, high = [each / 1.3 for each in square], [each * 1.3 for each in square]
    supplies = Picture(
        "Wang 22 nm",
        Axis("supply (V)"),
        Axis("energy of a column (pJ)"),
        [
            Series(
                "V² from the highest, within 1.3",
                volts,
                square,
                low,
                high,
                form="line",
                colour=GREY,
                marker="none",
            ),
            Series("reported", volts, [1e-3 * each.reported for each in found.supplies], style=1),
            Series("modelled", volts, [1e-3 * each.modelled for each in found.absolute], form="line", marker="none"),
        ],
    )
    return [scatter, parts, supplies]
