"""The command line, ``asim``.

``main`` answers calls without a network, and turns errors into one line. ``parser`` reads recipes and flags over the
settings of a checkpoint, and makes the objects. The command's function, found by ``commands``, does the work.
"""

from asim_lightning.cli.main import main

__all__ = ["main"]
