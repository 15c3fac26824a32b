"""`asim calibrate-adc`: ADC ranges fitted to training images, as a table, as rules in a file, and by accuracy."""

from dataclasses import dataclass
from pathlib import Path

from asim_lightning.cli.command_line import dump_yaml, write_text
from asim_lightning.cli.parser import AsimCLI
from asim_lightning.cli.weights import prepare
from asim_lightning.exploration.adc_calibration import AdcSettings, calibrate_adc, compare_adc
from asim_lightning.exploration.runner import Work
from asim_lightning.report.command_tables import range_table


@dataclass(frozen=True)
class CalibrateAdcOptions(AdcSettings):
    """Data of the ranges, comparisons of their accuracy, and the file."""

    output: str | None = None
    """YAML file of the rules; null: adc_ranges.yaml in the folder of this configuration's runs."""


def calibrate(cli: AsimCLI, options: CalibrateAdcOptions) -> None:
    """Fit the ADC range (adc_step, adc_low) of every layer to the counts of training images, and show its benefit.

    All accuracies are at the same noise in volts.
    """
    file = Path(options.output) if options.output else cli.run_folder / "adc_ranges.yaml"
    prepare(cli.trainer, cli.model, cli.datamodule)
    work = Work(cli.trainer, cli.model, cli.datamodule, cli.run_folder)
    fitted = calibrate_adc(work, options)
    cli.say(f"ADC ranges, fitted to the counts of {fitted.images}\n{range_table(fitted.ranges)}\n")
    if fitted.noise:
        cli.say(f"noise    the same in volts before and after: the file has {' and '.join(fitted.noise)} for them")
    write_text(file, dump_yaml({"model": {"plan": dict(fitted.plan)}}))
    compare_adc(work, options, fitted, cli.say)
    cli.say(f"rules    {file}, for asim COMMAND -c CONFIG -c {file}")
