"""``python -m asim_lightning``: the command line."""

from asim_lightning.cli import main

if __name__ == "__main__":
    main()
