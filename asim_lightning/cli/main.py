"""Entry point of the command line: errors in one line, with exit code 2 for the user's errors, 1 for others."""

import gc
import io
import logging
import os
import re
import signal
import sys
import tempfile
import threading
import traceback
import warnings
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from types import FrameType
from typing import Any, NoReturn

from asim_lightning import __version__
from asim_lightning.cli.commands import COMMANDS, check_command, help_text

_CHATTER = (
    "litlogger", "litmodels", "TPU available", "HPU available", "GPU available: False", "Seed set to",
    "Restoring states from", "Restored all states", "Loaded model weights", "to estimate number of stepping batches",
    "Detected KeyboardInterrupt", "was configured so ", "Trainer already configured with model summary callbacks",
)  # fmt: skip
"""Parts of Lightning's messages that come on every run and help no user."""
_GOES_ON = {
    "sweep": "; finished trials are saved; the same command continues",
    "search": "; finished trials are saved; the same command continues",
    "fit": "; with --ckpt_path last it continues from the last save, at least each epoch",
}
"""How to continue a stopped command."""

_OF_USERS = {
    "ValueError", "OSError", "MemoryError", "ModuleNotFoundError", "ArgumentError", "MisconfigurationException",
}  # fmt: skip
"""Classes of errors that the user can mend, by name, because Lightning may not be imported yet."""


class Killed(SystemExit):
    """A SIGTERM arrived."""


def kill_raises() -> Any:
    """Raise `Killed` at SIGTERM; return the handler before, or None outside of the main thread, which has no signals.

    Lightning's handler would inform other processes by a collective operation, in the middle of another operation: the
    processes would wait for each other until a timeout of half an hour.
    """
    in_main = threading.current_thread() is threading.main_thread()
    return signal.signal(signal.SIGTERM, _raise) if in_main else None


def _raise(number: int, frame: FrameType | None) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # the parent process may send another
    raise Killed(128 + number)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run ``asim``.

    Args:
        arguments: Arguments after the program's name; default: the process's arguments. With --debug, the traceback of
            an error is printed, too.

    Raises:
        SystemExit: With code 2 after a user's error, which is one line on standard error; 1 after another error, whose
            line names a file with its traceback; 130 after Ctrl-C, 143 after a kill.
    """
    sys.stdout, sys.stderr = (stream or open(os.devnull, "w") for stream in (sys.stdout, sys.stderr))  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):  # a closed one discards its output
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # characters that a terminal cannot show
    given = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in given
    given = [word for word in given if word != "--debug"]
    before = kill_raises()
    # torch's threads read it once, when torch loads. Threads that spin while they wait take the processor from other
    # programs, and from each other: beside busy neighbours a sweep takes 2.3 times as long
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    gc.disable()  # imports make 800,000 objects and no garbage; looking for it takes an eighth of a short command
    try:
        work = _parsed(given)
        gc.freeze()
        gc.enable()
        work()
        print(end="", flush=True)
    except BrokenPipeError:  # the reader of the output, such as head, has closed it
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(141) from None  # the shell's code for a process that a closed pipe ended
    except (KeyboardInterrupt, SystemExit) as stop:
        code = _signal_code(stop)
        if code is None:
            raise
        _say_last(f"stopped{_GOES_ON.get(given[0], '') if given else ''}")
        raise SystemExit(code) from None
    except Exception as error:
        if debug:
            traceback.print_exc()
        _refuse(error)
    finally:
        gc.unfreeze()
        gc.enable()
        if before is not None:
            signal.signal(signal.SIGTERM, before)


def _parsed(given: list[str]) -> Callable[[], object]:
    """A command with its settings, as a function without arguments."""
    here = os.getcwd()
    if here not in sys.path and "" not in sys.path:
        sys.path.insert(0, here)  # finds a user's column model or data module, like python -m
    if given in (["--help"], ["-h"], ["--version"]):
        return partial(print, f"asim {__version__}\n" if given == ["--version"] else help_text(), end="")
    check_command(given)
    # transformers draws a bar for each network and tokenizer; it reads this when timm or itself is imported
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    from asim_lightning.cli.command_line import read_arguments

    command = COMMANDS[given[0]]
    arguments = read_arguments(given) if command.runs_network else None  # before the slow import of Lightning
    from asim_lightning.cli.options import asked_group, print_group_help, print_help, read_options

    _quieten()
    if arguments is None:
        return partial(command.function, *read_options(given[0], given[1:]))
    if {"-h", "--help"} & set(arguments.flags):
        return partial(print_help, arguments.command)
    if (group := asked_group(arguments.command, arguments.flags)) is not None:
        return partial(print_group_help, arguments.command, group)
    from asim_lightning.cli.parser import cli_of

    return cli_of(arguments).run


def _say_last(line: str) -> None:
    with suppress(OSError):
        print(line, file=sys.stderr, flush=True)


def _refuse(error: Exception) -> NoReturn:
    """Print the error in one line, and exit with code 2 if the user can mend it, else with 1."""
    from asim_lightning.cli.wrong_types import one_line

    said = one_line(str(error)) or type(error).__name__
    if said.startswith("Caught ") and (errors := re.findall(r"\n\w*Error: (.+)", str(error))):
        said = errors[-1]  # the last line of a worker's traceback has the error
    if isinstance(error, OSError) and error.filename is not None:  # else the message is complete
        said = f"{error.filename} cannot be read or written: {error.strerror or type(error).__name__}"
    names = {each.__name__ for each in type(error).__mro__}
    if _OF_USERS & names:
        _say_last(f"error: {said}")
        raise SystemExit(2) from None
    with tempfile.NamedTemporaryFile("w", prefix="asim-", suffix=".txt", delete=False, errors="replace") as file:
        file.writelines(traceback.format_exception(error))
    _say_last(f"error: {type(error).__name__}: {said}; traceback in {file.name}")
    raise SystemExit(1) from None


def _signal_code(stop: BaseException) -> int | None:
    """Exit code of a process that a signal stopped, by the shell's rule: 128 plus the signal's number."""
    if isinstance(stop, KeyboardInterrupt) or isinstance(stop.__context__, KeyboardInterrupt):  # Lightning's exit(1)
        return 130
    return 143 if isinstance(stop, Killed) else None


def _quieten() -> None:
    """Silence Lightning's messages that come on every run and help no user."""
    for message in (
        ".*does not have many workers.*",
        ".* exists and is not empty.*",
    ):
        warnings.filterwarnings("ignore", message=message)
    import lightning.pytorch  # noqa: F401  adds the handlers

    for name in ("lightning", "lightning.pytorch", "lightning.fabric"):
        for handler in logging.getLogger(name).handlers:
            handler.addFilter(lambda record: not any(part in record.getMessage() for part in _CHATTER))
