"""Summary of a fit: parts of the network, their parameters, and their multiplications for one image."""

from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import ModelSummary

from asim_lightning.surgery import ConversionReport, report_of
from asim_lightning.table import text_table


class NetworkSummary(ModelSummary):
    """Prints Lightning's table of a model, with multiplications (MACs of one image) instead of its FLOPs.

    Lightning counts torch's operations on an example input, which do not include a macro's.

    Args:
        max_depth: Depth of the listed parts: 1 or more; 0 prints nothing, -1 lists all.

    Examples:
        >>> from asim_lightning.callbacks import NetworkSummary
        >>> callbacks = [NetworkSummary(max_depth=2)]  # asim fit ... --trainer.callbacks+=NetworkSummary
    """

    def __init__(self, max_depth: int = 1) -> None:
        super().__init__(max_depth)
        self._report = ConversionReport(())

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Print."""
        self._report = report_of(pl_module)
        super().on_fit_start(trainer, pl_module)

    def summarize(  # type: ignore[override]  # static in Lightning, which calls it on the object
        self,
        summary_data: list[tuple[str, list[str]]],
        total_parameters: int,
        trainable_parameters: int,
        *_: Any,
        **__: Any,
    ) -> None:
        """Print Lightning's columns, except FLOPs, for parts with parameters."""
        columns = {name: values for name, values in summary_data if name != "FLOPs"}
        macs = [
            sum(row.macs or 0 for row in self._report if f"{row.name}.".startswith(f"{name}."))
            for name in columns["Name"]
        ]
        if any(macs):
            columns["MACs"] = [f"{count:,}" for count in macs]
        numbers = {name for name in columns if name in ("Params", "MACs")}
        rows = [
            row
            for row, params in zip(zip(*columns.values(), strict=True), columns["Params"], strict=True)
            if params.strip() != "0"  # metrics, activations
        ]
        print(text_table([tuple(columns), *rows], 1, "".join("r" if name in numbers else "l" for name in columns)))
        frozen = total_parameters - trainable_parameters
        print(f"{total_parameters:,} parameters" + (f", of which {frozen:,} are not trained" if frozen else ""))
        if self._report.rows:
            print(self._report.summary)
