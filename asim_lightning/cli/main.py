"""Entry point of the command line: one line for an error, and exit code 2."""

import logging
import pickle
import sys
import warnings
from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> None:
    """Run ``asim``.

    Args:
        arguments: Arguments after the program's name; default: those of the process.

    Raises:
        SystemExit: With code 2 after a user's error, which is one line on standard error.
    """
    from asim_lightning.cli.parser import AsimCLI, resolve_configs, standard_error

    _quieten()
    given = list(sys.argv[1:] if arguments is None else arguments)
    try:
        sys.argv[1:] = resolved = resolve_configs(given)
        AsimCLI(resolved)
    except (ValueError, FileNotFoundError) as error:
        standard_error(f"error: {_one_line(error)}")
        raise SystemExit(2) from None
    except pickle.UnpicklingError:
        standard_error(
            "error: The checkpoint holds more than tensors and plain values; it could run code and is not loaded"
        )
        raise SystemExit(2) from None


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__


def _quieten() -> None:
    """Silence what Lightning says on every run and no user can act on."""
    warnings.filterwarnings("ignore", message=".*isinstance\\(treespec, LeafSpec\\).*")
    warnings.filterwarnings("ignore", message=".*does not have many workers.*")
    warnings.filterwarnings("ignore", message=".*Checkpoint directory .* exists and is not empty.*")
    warnings.filterwarnings("ignore", message=".*log_every_n_steps.*")
    for name in ("lightning.pytorch.utilities.rank_zero", "lightning.pytorch.trainer.connectors.accelerator_connector"):
        logging.getLogger(name).addFilter(_not_a_tip)


def _not_a_tip(record: logging.LogRecord) -> bool:
    return not any(word in record.getMessage() for word in ("litlogger", "litmodels", "TPU available", "HPU available"))
