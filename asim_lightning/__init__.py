"""Networks on simulated SRAM analog compute-in-memory macros: convert, train, evaluate."""

from typing import TYPE_CHECKING, Any

from asim_lightning.circuit import MacroConfig

if TYPE_CHECKING:
    from asim_lightning.classifier import CimClassifier
    from asim_lightning.surgery import ConversionReport, Plan, Rule, convert_

__version__ = "0.1.0"
__all__ = ["CimClassifier", "ConversionReport", "MacroConfig", "Plan", "Rule", "convert_"]


def __getattr__(name: str) -> Any:
    # Lightning and timm take seconds to import, which a user of the circuit model alone should not wait for
    if name in __all__:
        import importlib

        room = "classifier" if name == "CimClassifier" else "surgery"
        return getattr(importlib.import_module(f"asim_lightning.{room}"), name)
    raise AttributeError(f"module 'asim_lightning' has no attribute {name!r}")
