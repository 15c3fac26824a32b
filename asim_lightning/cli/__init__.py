"""The command line, ``asim``.

``main`` answers what needs no network, and turns errors into one line. ``parser`` reads recipes and flags over the
settings of a checkpoint, and makes the objects. The function of the command, which ``commands`` names, does the work.
"""

from asim_lightning.cli.main import main

__all__ = ["main"]
