"""The command fit-column: column models fitted to measured codes, a table, and the settings to paste."""

import json
from collections.abc import Sequence

from asim_lightning.checks import check_whole
from asim_lightning.circuit.measured import MeasuredCurve, measured_curve
from asim_lightning.circuit.measured_file import content_of
from asim_lightning.circuit.model_fit import Estimate, ModelFit, fit_models, rising_sigma
from asim_lightning.cli.commands import DESCRIPTIONS
from asim_lightning.cli.messages import OneLineParser
from asim_lightning.text_table import text_table

_ROWS = (
    ("alpha", "alpha (1/count)", ".4g"),
    ("offset", "offset (LSB)", ".4g"),
    ("gain", "gain", ".6g"),
    ("random_noise", "random noise (%)", ".4g"),
    ("nonlinear_noise", "nonlinear noise (%)", ".4g"),
)
"""Parameters of a model, what a reader calls them, and their digits."""


def parser() -> OneLineParser:
    """The parser of the command."""
    made = OneLineParser(prog="asim fit-column", description=DESCRIPTIONS["fit-column"], allow_abbrev=False)
    made.add_argument("file", type=str, help="CSV file: count,mean,std of codes, or count,code, a line for each read")
    made.add_argument("--adc_bits", type=int, default=8, help="bits of the ADC: 1..16")
    made.add_argument("--encoding_bits", type=int, default=1, help="input bits that were applied at once: 1..16")
    made.add_argument("--converter", type=int | None, help="which one, where the file has a column `column`")
    made.add_argument("--reads", type=int | None, help="reads behind each mean and std: 2 or more")
    return made


def run(arguments: Sequence[str]) -> None:
    """Fit the charge and the current model, and print what was found and the settings that predict best.

    Args:
        arguments: What follows the command.

    Raises:
        ValueError: The file is refused, or does not suffice for a fit.
    """
    made = parser()
    made.known_settings = [action.dest for action in made._actions]
    settings = made.parse_args(list(arguments))
    check_whole("`--adc_bits`", settings.adc_bits, 1, 16)
    check_whole("`--encoding_bits`", settings.encoding_bits, 1, 16)
    if settings.reads is not None:
        check_whole("`--reads`", settings.reads, 2, 10**9)
    file, top = settings.file, 2**settings.adc_bits - 1
    curve = measured_curve(content_of(file)[0], file, settings.converter, top, "`--adc_bits`")
    if settings.reads is not None and curve.measurement.reads is not None:
        raise ValueError(f"`--reads` must be left out where a file has each read, as {file} does, got {settings.reads}")
    digit = 2**settings.encoding_bits - 1
    if curve.full_scale % digit:
        raise ValueError(f"`--encoding_bits` must divide the last count by {digit}, got {curve.full_scale} in {file}")
    rows = curve.full_scale // digit
    charge, current, own, parameters = fit_models(curve, top, rows, settings.reads)
    # a further parameter must earn its place
    best = current if current.aic < charge.aic else charge
    verdict = f"{best.model} predicts better, by {abs(charge.aic - current.aic):.1f} in AIC"
    column = _fitted(best)
    if 2 * parameters - 2 * own < best.aic:
        verdict += "\nthe measured counts predict better than both; the settings below use `column: measured`"
        column = _measured(file, settings.converter)
    rising = rising_sigma(curve, top, settings.reads)
    print("\n".join([
        _heading(file, curve), "", _table(charge, current, own, parameters), "",
        "in brackets 95 % intervals, by observed information; noise in % of full scale; a smaller AIC predicts better",
        verdict, *([] if rising is None else [_rise(*rising, curve)]), "",
        "model:", "  plan:", "    macro:", f"      rows: {rows}", f"      adc_bits: {settings.adc_bits}",
        f"      encoding_bits: {settings.encoding_bits}", *column,
    ]))  # fmt: skip


def _heading(file: str, curve: MeasuredCurve) -> str:
    reads = curve.measurement.reads
    number = "" if reads is None else f", {reads.sum()} reads"
    return (
        f"{file}: counts 0..{curve.full_scale}{number}; all codes were the same at {curve.counts_of_one_code} of them"
    )


def _table(charge: ModelFit, current: ModelFit, own: float, parameters: int) -> str:
    rows: list[Sequence[str]] = [("", charge.model, current.model, "each count by itself")]
    for name, what, form in _ROWS:
        values: list[Estimate | None] = [getattr(fit, name) for fit in (charge, current)]
        rows.append((what, *("-" if each is None else _shown(each, form) for each in values), "-"))
    own_aic = 2 * parameters - 2 * own
    rows.append(("log-likelihood", f"{charge.log_likelihood:.1f}", f"{current.log_likelihood:.1f}", f"{own:.1f}"))
    rows.append(("AIC", f"{charge.aic:.1f}", f"{current.aic:.1f}", f"{own_aic:.1f}"))
    return text_table(rows, 1, "llll")


def _rise(low: float, high: float, curve: MeasuredCurve) -> str:
    return (
        f"sigma rises from {low:.2g} LSB at count 0 to {high:.2g} LSB at count {curve.full_scale}, which charge "
        "and current cannot describe"
    )


def _measured(file: str, converter: int | None) -> list[str]:
    """The recipe's lines for the column as it was measured."""
    lines = ["      column: measured", "      column_args:", f"        file: {json.dumps(file, ensure_ascii=False)}"]
    if converter is not None:
        lines.append(f"        converter: {converter}")
    return lines + [f"      {name}: 0  # the file has the noise" for name in ("random_noise", "nonlinear_noise")]


def _fitted(fit: ModelFit) -> list[str]:
    """The recipe's lines for a fitted model."""
    lines = [f"      column: {fit.model}"]
    arguments = [("gain", fit.gain, ".6g", ""), ("offset", fit.offset, ".4g", "LSB; ")]
    if fit.alpha is not None:
        arguments.append(("alpha", fit.alpha, ".4g", "per count; "))
    lines.append("      column_args:")
    lines += [
        f"        {name}: {each.value:{form}}  # {unit}{_range(each, form)}" for name, each, form, unit in arguments
    ]
    for name in ("random_noise", "nonlinear_noise"):
        each: Estimate = getattr(fit, name)
        lines.append(f"      {name}: {each.value:.4g}  # % of full scale; {_range(each)}")
    return lines


def _range(each: Estimate, form: str = ".4g") -> str:
    return f"95 %: {each.low:{form}} to {each.high:{form}}"


def _shown(each: Estimate, form: str) -> str:
    return f"{each.value:{form}} [{each.low:{form}}, {each.high:{form}}]"
