"""Output that a terminal of any encoding can show."""

import codecs
import io
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


def show_all(*streams: TextIO) -> None:
    """Let streams write in plain characters what their encoding has not, where they would raise an error.

    Args:
        streams: Standard output and error; what is no stream of a terminal or file stays as it is.
    """
    codecs.register_error(_ERRORS, _plain)
    for stream in streams:
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors=_ERRORS)


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
