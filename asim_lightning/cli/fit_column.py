"""`asim fit-column`: column models fitted to measured codes, as a table, and the settings to paste."""

import json
from dataclasses import dataclass

from asim_lightning.checks import check_whole
from asim_lightning.circuit.measured import measured_curves
from asim_lightning.circuit.measured_file import content_of
from asim_lightning.circuit.model_fit import ModelFit, fit_models, rising_sigma
from asim_lightning.report.command_tables import FIT_PARAMETERS, fit_table


@dataclass(frozen=True)
class FitColumnOptions:
    """The file, and the measurement."""

    file: str
    """CSV file: count,mean,std of codes, or count,code, a line for each read."""
    adc_bits: int = 8
    """Bits of the ADC: 1..16."""
    encoding_bits: int = 1
    """Input bits that were applied at once: 1..16."""
    converter: int | None = None
    """Number of the converter, if the file has a column `column`."""
    reads: int | None = None
    """Reads behind each mean and std: 2 or more."""


def fit_column(options: FitColumnOptions) -> None:
    """Fit the charge and the current model, and print the fits and the settings that predict best."""
    file, reads = options.file, options.reads
    check_whole("`--adc_bits`", options.adc_bits, 1, 16)
    check_whole("`--encoding_bits`", options.encoding_bits, 1, 16)
    if reads is not None:
        check_whole("`--reads`", reads, 2, 10**9)
    top, digit = 2**options.adc_bits - 1, 2**options.encoding_bits - 1
    (curve,) = measured_curves(content_of(file)[0], file, options.converter, top, "`--adc_bits`").values()
    if reads is not None and curve.reads is not None:
        raise ValueError(f"`--reads` must be left out because {file} has each read, got {reads}")
    if curve.full_scale % digit:
        raise ValueError(f"`--encoding_bits` must divide the last count by {digit}, got {curve.full_scale} in {file}")
    rows = curve.full_scale // digit
    charge, current, own, parameters = fit_models(curve, top, rows, reads)
    own_aic = 2 * parameters - 2 * own
    # AIC penalises additional parameters
    best = current if current.aic < charge.aic else charge
    number = "" if curve.reads is None else f", {curve.reads.sum()} reads"
    same = f"at {curve.counts_of_one_code} of these counts, all codes were the same"
    print(f"{file}: counts 0..{curve.full_scale}{number}; {same}\n\n{fit_table(charge, current, own, own_aic)}")
    print(f"{best.model} predicts better, by {abs(charge.aic - current.aic):.1f} in AIC")
    column = _settings_of_fit(best)
    if own_aic < best.aic:
        print("the measured counts predict better than both; the settings below use `column: measured`")
        column = _settings_of_file(file, options.converter)
    if (rising := rising_sigma(curve, top, reads)) is not None:
        print(
            f"sigma rises from {rising[0]:.2g} LSB at count 0 to {rising[1]:.2g} LSB at count {curve.full_scale}, "
            "which charge and current cannot describe"
        )
    bits = [f"rows: {rows}", f"adc_bits: {options.adc_bits}", f"encoding_bits: {options.encoding_bits}"]
    print("\n      ".join(["\nmodel:\n  plan:\n    macro:", *bits, *column]))


def _settings_of_file(file: str, converter: int | None) -> list[str]:
    """Settings of a macro for the measured column, as lines of YAML."""
    arguments = [f"  file: {json.dumps(file, ensure_ascii=False)}"]
    if converter is not None:
        arguments.append(f"  converter: {converter}")
    noise = (f"{name}: 0  # the file has the noise" for name in ("random_noise", "nonlinear_noise"))
    return ["column: measured", "column_args:", *arguments, *noise]


def _settings_of_fit(fit: ModelFit) -> list[str]:
    """Settings of a macro for a fitted model, as lines of YAML."""
    lines = [f"column: {fit.model}", "column_args:"]
    for name, unit, form in FIT_PARAMETERS:
        if (each := getattr(fit, name)) is not None:
            unit = "% of full scale" if unit == "%" else unit
            interval = f"{unit and unit + '; '}95 %: {each.low:{form}} to {each.high:{form}}"
            lines.append(f"{'' if 'noise' in name else '  '}{name}: {each.value:{form}}  # {interval}")
    return lines
