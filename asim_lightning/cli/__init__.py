"""The command line, ``asim``."""

from asim_lightning.cli.main import main

__all__ = ["main"]
