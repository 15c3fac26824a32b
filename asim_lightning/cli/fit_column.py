"""`asim fit-column`: column models fitted to measured codes, as a table, and the settings to paste."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace

from asim_lightning.checks import check_number, check_whole
from asim_lightning.circuit.measured import MeasuredCurve, driven_curves, measured_curves
from asim_lightning.circuit.measured_file import EACH, content_of, converters_in
from asim_lightning.circuit.model_fit import AllFits, ModelFit, fit_droop, fit_models, rising_sigma
from asim_lightning.circuit.wild_reads import RULE
from asim_lightning.report.command_tables import FIT_PARAMETERS, all_fits_table, fit_table

_NOTHING = 1e-6
"""LSB, or percent of full scale, that a fit's rounding makes of 0."""
_NAMED = 3  # wild reads that are named one by one


@dataclass(frozen=True)
class FitColumnOptions:
    """The file, and the measurement."""

    file: str
    """CSV file: count,mean,std of codes, or count,code, a line for each read; of voltages count,mean_mv,std_mv or
    count,mv. A further column `driven` has the number of driven rows, for the model droop. Or a log or print file of
    ngspice with a voltage by the count."""
    adc_bits: int = 8
    """Bits of the ADC: 1..16."""
    encoding_bits: int = 1
    """Input bits that were applied at once: 1..16."""
    converter: int | None = None
    """Number of the converter, if the file has a column `column`; null: all converters, and their spread."""
    reads: int | None = None
    """Reads behind each mean and std: 2 or more."""
    full_scale_mv: float | None = None
    """Voltage of the largest code, above 0 mV, if the file has voltages."""
    wild_reads: bool = False
    """Print settings for all reads. Else they are for reads at most 6 robust deviations from the median of their count.
    """


def fit_column(options: FitColumnOptions) -> None:
    """Fit the charge model, and the current model or, with driven rows, the droop; print the fits and the settings that
    predict best."""
    file, reads = options.file, options.reads
    check_whole("`--adc_bits`", options.adc_bits, 1, 16)
    check_whole("`--encoding_bits`", options.encoding_bits, 1, 16)
    if reads is not None:
        check_whole("`--reads`", reads, 2, 10**9)
    if options.full_scale_mv is not None:
        check_number("`--full_scale_mv`", options.full_scale_mv, 1e6, 1e-3)
    top, digit = 2**options.adc_bits - 1, 2**options.encoding_bits - 1
    content = content_of(file)[0]
    both = []
    if wild := _wild_reads(options, _curves(options, content, top)):
        print(wild)
        both = [(replace(options, wild_reads=not options.wild_reads), "the other fit")]
    for each, name in (*both, (options, "the fit of the settings below")):
        if both:
            print(f"\n{name}, {'with' if each.wild_reads else 'without'} wild reads:")
        try:
            fitted = _print_fits(each, content, top, digit)
        except ValueError as error:
            if each is options:
                raise
            print(error)
    _print_settings(options, *fitted)


def _curves(options: FitColumnOptions, content: bytes, top: int) -> tuple[Mapping[int, MeasuredCurve], bool]:
    """The curves of a file by driven rows, and true, or else by converter."""
    file, scale, converter = options.file, options.full_scale_mv, options.converter
    settings = "`--adc_bits`", "`--full_scale_mv`"
    if by_driven := driven_curves(content, file, top, scale, settings, options.wild_reads):
        return by_driven, True
    each = converter is None and bool(converters_in(content, file))
    found = measured_curves(content, file, EACH if each else converter, top, scale, settings, options.wild_reads)
    return {number or 0: curve for number, curve in found.items()}, False


def _wild_reads(options: FitColumnOptions, curves: tuple[Mapping[int, MeasuredCurve], bool]) -> str:
    """Two lines that count and name wild reads; empty if there are none."""
    names, number = list[str](), 0
    kind = ("converter", "driven rows")[curves[1]]
    for at, curve in curves[0].items():
        reads = curve.number if curve.reads is None else curve.reads
        number += 0 if reads is None else int(reads.sum())
        where = f" of {kind} {at}" if len(curves[0]) > 1 else ""
        for count, value in () if curve.wild is None else curve.wild.tolist():
            shown = f"{value:.4g} mV" if curve.is_voltage else f"code {value:.0f}"
            names.append(f"{shown} at count {count:.0f}{where}")
    if not names:
        return ""
    number += 0 if options.wild_reads else len(names)
    more = f", and {len(names) - _NAMED:,} more" if len(names) > _NAMED else ""
    are = "is" if len(names) == 1 else "are"
    return (
        f"{options.file}: {len(names):,} of {number:,} reads {are} wild ({100 * len(names) / number:.2g} %), {RULE}:\n"
        f"{', '.join(names[:_NAMED])}{more}"
    )


def _print_fits(
    options: FitColumnOptions, content: bytes, top: int, digit: int
) -> tuple[MeasuredCurve, int, list[str]]:
    """Print the fits of a file; return its curve, rows, and the settings that predict best, as lines of YAML."""
    curves, is_driven = _curves(options, content, top)
    if is_driven:
        return _of_driven(options, curves, top, digit)
    curve = next(iter(curves.values()))
    rows = _rows(options, curve, digit)
    if len(curves) > 1:
        return curve, rows, _of_all(options, curves, top, rows)
    if converters_in(content, options.file):
        options = replace(options, converter=next(iter(curves)))
    return curve, rows, _of_one(options, curve, top, rows)


def _rows(options: FitColumnOptions, curve: MeasuredCurve, digit: int) -> int:
    """Rows of the macro, by the last count; refuses options that do not fit the file."""
    if options.reads is not None and (curve.reads is not None or curve.number is not None):
        raise ValueError(f"`--reads` must be left out because {options.file} has each read, got {options.reads}")
    if curve.full_scale % digit:
        last = f"{curve.full_scale} in {options.file}"
        raise ValueError(f"`--encoding_bits` must divide the last count by {digit}, got {last}")
    return curve.full_scale // digit


def _print_settings(options: FitColumnOptions, curve: MeasuredCurve, rows: int, column: list[str]) -> None:
    bits = [f"rows: {rows}", f"adc_bits: {options.adc_bits}", f"encoding_bits: {options.encoding_bits}"]
    if curve.is_voltage and "column: measured" in column:
        bits.append(f"full_scale_mv: {options.full_scale_mv:g}")
    print("\n      ".join(["\nmodel:\n  plan:\n    macro:", *bits, *column]))


def _of_driven(
    options: FitColumnOptions, curves: Mapping[int, MeasuredCurve], top: int, digit: int
) -> tuple[MeasuredCurve, int, list[str]]:
    """`_print_fits` of a column that was measured at several numbers of driven rows."""
    curve = [*curves.values()][-1]
    rows = _rows(options, curve, digit)
    if options.converter is not None or [*curves][-1] != rows:
        raise ValueError(
            f"{options.file} has driven rows, so `--converter` must be left out, and the largest number of driven rows "
            f"must be the rows of the last count, {rows}, got {[*curves][-1]}"
        )
    if len(curves) == 1:  # which tell no droop from a gain
        column = _of_one(options, curve, top, rows)
    else:
        fits = fit_droop(curves, top, rows, options.reads)
        column = _compared(options, f"{_counts(curve)}; driven rows {', '.join(map(str, curves))}", fits)
    return curve, rows, column


def _of_one(options: FitColumnOptions, curve: MeasuredCurve, top: int, rows: int) -> list[str]:
    """Print the fits of one converter; return the settings that predict best, as lines of YAML."""
    number = "" if curve.reads is None else f", {curve.reads.sum()} reads"
    same = "" if curve.is_voltage else f"; at {curve.counts_of_one_code} of these counts, all codes were the same"
    column = _compared(options, f"{_counts(curve)}{number}{same}", fit_models(curve, top, rows, options.reads))
    if (rising := rising_sigma(curve, top, options.reads)) is not None:
        print(
            f"sigma rises from {rising[0]:.2g} LSB at count 0 to {rising[1]:.2g} LSB at count {curve.full_scale}, "
            "which charge and current cannot describe"
        )
    return column


def _compared(options: FitColumnOptions, measured: str, fits: tuple[ModelFit, ModelFit, float, int]) -> list[str]:
    """Print two fits and that of each count by itself; return the settings that predict best, as lines of YAML."""
    charge, other, own, parameters = fits
    own_aic = 2 * parameters - 2 * own
    # AIC penalises additional parameters
    best = other if other.aic < charge.aic else charge
    print(f"{options.file}: {measured}\n\n{fit_table(charge, other, own, own_aic)}")
    print(f"{best.model} predicts better, by {abs(charge.aic - other.aic):.1f} in AIC")
    if best.inl is not None:
        print(
            f"without noise; {best.model} leaves an INL of {best.inl:.2g} LSB (root mean square); `column: measured` "
            "keeps all of it"
        )
    elif own_aic < best.aic:
        print("the measured counts predict better than both; the settings below use `column: measured`")
        return _settings_of_file(options)
    return _settings_of_fit(best)


def _counts(curve: MeasuredCurve) -> str:
    measured = "" if len(curve.counts) == len(curve.level) else f", {len(curve.counts)} of these measured"
    return f"counts 0..{curve.full_scale}{measured}"


def _of_all(options: FitColumnOptions, curves: Mapping[int, MeasuredCurve], top: int, rows: int) -> list[str]:
    """Print the fits of all converters and their spread; return the settings, as lines of YAML."""
    pairs = {number: fit_models(curve, top, rows, options.reads)[:2] for number, curve in curves.items()}
    charge, current = (sum(each.aic for each in fits) for fits in zip(*pairs.values(), strict=True))
    fits = {number: pair[current < charge] for number, pair in pairs.items()}
    several = AllFits(list(fits.values()), [curves[number] for number in fits], top, rows, options.reads)
    mean, converters = several.mean(), len(several.counted)
    print(f"{options.file}: {len(fits)} converters, {_counts(next(iter(curves.values())))}\n")
    print(f"{all_fits_table(fits)}\n\n{mean.model} predicts better, by {abs(charge - current):.1f} in AIC")
    rms, most = several.inl
    print(
        f"INL that {mean.model} does not describe: {rms:.2g} LSB (root mean square), up to {most:.2g} LSB\n"
        "`column: measured` with `column_args: {converter: each}` has this INL, on the reference engine"
    )
    static = ["static:"]
    for name, unit, each in (("offset", " lsb", several.offset), ("gain", "", several.gain)):
        interval = f"{'%; ' * (not unit)}95 %: {each.low:.3g} to {each.high:.3g}"
        static.append(f"  {name}: {each.value:.3g}{unit}  # of {converters} converters; {interval}")
    return [*_settings_of_fit(mean), *static]


def _settings_of_file(options: FitColumnOptions) -> list[str]:
    """Settings of a macro for the measured column, as lines of YAML."""
    arguments = [f"  file: {json.dumps(options.file, ensure_ascii=False)}"]
    if options.converter is not None:
        arguments.append(f"  converter: {options.converter}")
    if options.wild_reads:
        arguments.append("  wild_reads: true")
    noise = (f"{name}: 0  # the file has the noise" for name in ("random_noise", "nonlinear_noise"))
    return ["column: measured", "column_args:", *arguments, *noise]


def _settings_of_fit(fit: ModelFit) -> list[str]:
    """Settings of a macro for a fitted model, as lines of YAML."""
    lines = [f"column: {fit.model}", "column_args:"]
    for name, unit, form in FIT_PARAMETERS:
        if (each := getattr(fit, name)) is not None:
            unit = "% of full scale" if unit == "%" else unit
            interval = f"{unit and unit + '; '}95 %: {each.low:{form}} to {each.high:{form}}"
            value = each.value if abs(each.value) > _NOTHING else 0.0
            lines.append(f"{'' if 'noise' in name else '  '}{name}: {value:{form}}  # {interval}")
    return lines
