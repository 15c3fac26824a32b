"""Networks on simulated SRAM analog compute-in-memory macros: convert, train, evaluate."""

from typing import TYPE_CHECKING

from asim_lightning.lazy import lazy

if TYPE_CHECKING:
    from asim_lightning.circuit import MacroConfig, StaticEffects
    from asim_lightning.classifier import CimClassifier
    from asim_lightning.classifier.outcome import Outcome
    from asim_lightning.engine.explanation import explain
    from asim_lightning.evaluation.layer_snr import layer_snr
    from asim_lightning.exploration.python_calls import calibrate_adc_, describe_chip, doctor, search, spec, study
    from asim_lightning.exploration.python_results import Results
    from asim_lightning.nn import calibrate_, verify
    from asim_lightning.silicon.folder import vectors
    from asim_lightning.surgery import (
        ConversionReport,
        Plan,
        Rule,
        change_macros_,
        convert_,
        set_fidelity_,
        set_train_noise_,
    )

__version__ = "0.2.0"
_FOLDERS = {
    "CimClassifier": "classifier",
    "ConversionReport": "surgery",
    "MacroConfig": "circuit",
    "Outcome": "classifier.outcome",
    "Plan": "surgery",
    "Results": "exploration.python_results",
    "Rule": "surgery",
    "StaticEffects": "circuit",
    "calibrate_": "nn",
    "calibrate_adc_": "exploration.python_calls",
    "change_macros_": "surgery",
    "convert_": "surgery",
    "describe_chip": "exploration.python_calls",
    "doctor": "exploration.python_calls",
    "explain": "engine.explanation",
    "layer_snr": "evaluation.layer_snr",
    "search": "exploration.python_calls",
    "set_fidelity_": "surgery",
    "set_train_noise_": "surgery",
    "spec": "exploration.python_calls",
    "study": "exploration.python_calls",
    "vectors": "silicon.folder",
    "verify": "nn",
}
__all__ = [
    "CimClassifier", "ConversionReport", "MacroConfig", "Outcome", "Plan", "Results", "Rule", "StaticEffects",
    "calibrate_", "calibrate_adc_", "change_macros_", "convert_", "describe_chip", "doctor", "explain", "layer_snr",
    "search", "set_fidelity_", "set_train_noise_", "spec", "study", "vectors", "verify",
]  # fmt: skip

# torch, Lightning and timm take seconds to import, and `asim --help` does not need them
__getattr__ = lazy(__name__, _FOLDERS)
