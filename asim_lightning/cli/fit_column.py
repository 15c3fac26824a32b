"""`asim fit-column`: column models fitted to measured codes, as a table, and the settings to paste."""

from dataclasses import dataclass

from asim_lightning.checks import check_whole
from asim_lightning.circuit.measured import measured_curves
from asim_lightning.circuit.measured_file import content_of
from asim_lightning.circuit.model_fit import fit_models, rising_sigma
from asim_lightning.report.command_tables import fit_table, heading, settings_of_file, settings_of_fit


@dataclass(frozen=True)
class FitColumnOptions:
    """The file, and what was measured."""

    file: str
    """CSV file: count,mean,std of codes, or count,code, a line for each read."""
    adc_bits: int = 8
    """Bits of the ADC: 1..16."""
    encoding_bits: int = 1
    """Input bits that were applied at once: 1..16."""
    converter: int | None = None
    """Which one, if the file has a column `column`."""
    reads: int | None = None
    """Reads behind each mean and std: 2 or more."""


def fit_column(options: FitColumnOptions) -> None:
    """Fit the charge and the current model, and print the fits and the settings that predict best.

    Raises:
        ValueError: The file is refused, or does not suffice for a fit.
    """
    file, reads = options.file, options.reads
    check_whole("`--adc_bits`", options.adc_bits, 1, 16)
    check_whole("`--encoding_bits`", options.encoding_bits, 1, 16)
    if reads is not None:
        check_whole("`--reads`", reads, 2, 10**9)
    top, digit = 2**options.adc_bits - 1, 2**options.encoding_bits - 1
    (curve,) = measured_curves(content_of(file)[0], file, (options.converter,), top, "`--adc_bits`")
    if reads is not None and curve.measurement.reads is not None:
        raise ValueError(f"`--reads` must be left out where a file has each read, as {file} does, got {reads}")
    if curve.full_scale % digit:
        raise ValueError(f"`--encoding_bits` must divide the last count by {digit}, got {curve.full_scale} in {file}")
    rows = curve.full_scale // digit
    charge, current, own, parameters = fit_models(curve, top, rows, reads)
    own_aic = 2 * parameters - 2 * own
    # a further parameter must earn its place
    best = current if current.aic < charge.aic else charge
    lines = [
        f"{heading(file, curve)}\n\n{fit_table(charge, current, own, own_aic)}\n",
        "in brackets 95 % intervals, by observed information; noise in % of full scale; a smaller AIC predicts better",
        f"{best.model} predicts better, by {abs(charge.aic - current.aic):.1f} in AIC",
    ]
    column = settings_of_fit(best)
    if own_aic < best.aic:
        lines.append("the measured counts predict better than both; the settings below use `column: measured`")
        column = settings_of_file(file, options.converter)
    if (rising := rising_sigma(curve, top, reads)) is not None:
        low, high = rising
        lines.append(
            f"sigma rises from {low:.2g} LSB at count 0 to {high:.2g} LSB at count {curve.full_scale}, which charge "
            "and current cannot describe"
        )
    bits = [f"rows: {rows}", f"adc_bits: {options.adc_bits}", f"encoding_bits: {options.encoding_bits}"]
    lines += ["\nmodel:", "  plan:", "    macro:", *(f"      {line}" for line in [*bits, *column])]
    print("\n".join(lines))
