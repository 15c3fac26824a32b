"""Fits of column models to measured codes: a table, and lines of YAML with intervals as comments."""

import json
from collections.abc import Sequence

from asim_lightning.circuit.measured import MeasuredCurve
from asim_lightning.circuit.model_fit import Estimate, ModelFit
from asim_lightning.text_table import text_table

_ROWS = (
    ("alpha", "alpha (1/count)", ".4g"),
    ("offset", "offset (LSB)", ".4g"),
    ("gain", "gain", ".6g"),
    ("random_noise", "random noise (%)", ".4g"),
    ("nonlinear_noise", "nonlinear noise (%)", ".4g"),
)
"""Parameters of a model, what a reader calls them, and their digits."""


def heading(file: str, curve: MeasuredCurve) -> str:
    """Which counts a file has, and how often they were read."""
    reads = curve.measurement.reads
    number = "" if reads is None else f", {reads.sum()} reads"
    same = f"all codes were the same at {curve.counts_of_one_code} of them"
    return f"{file}: counts 0..{curve.full_scale}{number}; {same}"


def fit_table(charge: ModelFit, current: ModelFit, own: float, own_aic: float) -> str:
    """The parameters of both models, and how well these and each count by itself predict.

    Args:
        charge: The charge model.
        current: The current model.
        own: Log-likelihood of each count by itself.
        own_aic: Akaike's criterion of each count by itself.
    """
    rows: list[Sequence[str]] = [("", charge.model, current.model, "each count by itself")]
    for name, what, form in _ROWS:
        values: list[Estimate | None] = [getattr(fit, name) for fit in (charge, current)]
        shown = (
            "-" if each is None else f"{each.value:{form}} [{each.low:{form}}, {each.high:{form}}]" for each in values
        )
        rows.append((what, *shown, "-"))
    rows.append(("log-likelihood", *(f"{each:.1f}" for each in (charge.log_likelihood, current.log_likelihood, own))))
    rows.append(("AIC", *(f"{each:.1f}" for each in (charge.aic, current.aic, own_aic))))
    return text_table(rows, 1, "llll")


def settings_of_file(file: str, converter: int | None) -> list[str]:
    """Settings of a macro for the column as it was measured, as lines of YAML."""
    arguments = [f"  file: {json.dumps(file, ensure_ascii=False)}"]
    if converter is not None:
        arguments.append(f"  converter: {converter}")
    noise = (f"{name}: 0  # the file has the noise" for name in ("random_noise", "nonlinear_noise"))
    return ["column: measured", "column_args:", *arguments, *noise]


def settings_of_fit(fit: ModelFit) -> list[str]:
    """Settings of a macro for a fitted model, as lines of YAML."""
    lines = [f"column: {fit.model}", "column_args:", _line("  gain", fit.gain, form=".6g")]
    lines.append(_line("  offset", fit.offset, "LSB; "))
    if fit.alpha is not None:
        lines.append(_line("  alpha", fit.alpha, "per count; "))
    lines += [_line(name, getattr(fit, name), "% of full scale; ") for name in ("random_noise", "nonlinear_noise")]
    return lines


def _line(name: str, each: Estimate, unit: str = "", form: str = ".4g") -> str:
    return f"{name}: {each.value:{form}}  # {unit}95 %: {each.low:{form}} to {each.high:{form}}"
