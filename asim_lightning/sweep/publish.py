"""The results of a sweep for people: table, plot, TensorBoard."""

from collections.abc import Sequence

from asim_lightning.sweep.dashboard import write_dashboard
from asim_lightning.sweep.plot import plot_sweep
from asim_lightning.sweep.result import PointResult
from asim_lightning.sweep.run import Sweep
from asim_lightning.sweep.table import results_table


def publish(results: Sequence[PointResult], sweep: Sweep, name: str, num_classes: int) -> str:
    """Write plot and dashboard into the sweep's folder, and return the table and where the files are.

    Args:
        results: One result a point.
        sweep: The finished sweep.
        name: Name of the run, for the headline.
        num_classes: Number of classes.
    """
    axis = next(iter(axes)) if (axes := results[-1].axes) else ""
    if "random_noise" in results[-1].axes:
        axis = "random_noise"
    macros = [layer.macro for layer in sweep.layers.values()]
    bits = {macro.adc_bits for macro in macros}
    adc_bits = bits.pop() if len(bits) == 1 and "adc_bits" not in results[-1].axes else None
    macro = macros[0]
    title = f"{name}: W{macro.weight_bits}A{macro.input_bits}, {macro.rows} rows"
    title += f", {adc_bits}-bit ADC" if adc_bits else ""
    picture = plot_sweep(results, axis, sweep.folder / f"accuracy_vs_{axis}.png", title, None, num_classes, adc_bits)
    write_dashboard(sweep.folder, results, axis, title, num_classes=num_classes, adc_bits=adc_bits)
    return "\n".join(
        [
            results_table(results),
            "",
            f"numbers  {sweep.folder / 'results.csv'}",
            f"picture  {picture}",
            f"charts   tensorboard --logdir {sweep.folder.parent.parent}",
        ]
    )
