"""Output that a terminal of any encoding can show."""

import codecs
import io
import os
import sys
from contextlib import suppress
from typing import TextIO

_PLAIN = {
    "\u2022": "*",
    "\u2192": "->",
    "\u00b0": " deg",
    "\u00b1": "+-",
    "\u00d7": "x",
    "\u2026": "...",
    "\u2212": "-",
}
"""Signs of tables and progress bars, in ASCII."""
_ERRORS = "asim_lightning.plain"


def show_all() -> None:
    """Let standard output and error write in plain characters what their encoding has not, in place of an error.

    One that is closed takes what is written, and forgets it.
    """
    codecs.register_error(_ERRORS, _plain)
    sys.stdout, sys.stderr = sys.stdout or _nowhere(), sys.stderr or _nowhere()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors=_ERRORS)


def _nowhere() -> TextIO:
    return os.fdopen(os.open(os.devnull, os.O_WRONLY), "w")


def takes_output() -> bool:
    """Whether standard output can be written; where it cannot, it is closed, as Python would try again as it ends."""
    try:
        print(flush=True)
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return False
    return True


def say_last(line: str) -> None:
    """Write a line to standard error, if that is possible."""
    with suppress(OSError):
        print(line, file=sys.stderr, flush=True)


def is_text(given: str) -> bool:
    """Whether an argument is text, and not bytes of a file name that are none."""
    return not any(0xDC80 <= ord(sign) <= 0xDCFF for sign in given)


def _plain(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    given = error.object[error.start : error.end]
    return "".join(_PLAIN.get(sign) or _escaped(sign) for sign in given), error.end


def _escaped(sign: str) -> str:
    code = ord(sign)
    # how Python holds a byte of a file name that is no text
    return f"\\x{code - 0xDC00:02x}" if 0xDC80 <= code <= 0xDCFF else ascii(sign)[1:-1]
