"""Entry point of the command line: one line for an error, and exit code 2."""

import logging
import os
import sys
import warnings
from collections.abc import Sequence
from typing import NoReturn

from asim_lightning import __version__
from asim_lightning.cli.commands import help_text, refusal
from asim_lightning.cli.signals import Killed, kill_raises
from asim_lightning.cli.terminal import is_text, say_last, show_all, takes_output

_CHATTER = (
    "litlogger", "litmodels", "TPU available", "HPU available", "GPU available: False", "Seed set to",
    "Restoring states from", "Restored all states", "Loaded model weights", "to estimate number of stepping batches",
    "Detected KeyboardInterrupt", "Received SIGTERM", "`Trainer.fit` stopped: `max_", "was configured so ",
    "Trainer already configured with model summary callbacks",
)  # fmt: skip
"""Parts of what Lightning logs on every run and no user can act on."""

_GOES_ON = {
    "sweep": "; finished trials are kept, and the same command goes on there",
    "search": "; finished trials are kept, and the same command goes on there",
    "fit": "; with --ckpt_path last it goes on from what was saved last, as after each epoch",
}
"""How the work of a command that was stopped goes on."""
_LONGEST = 900
"""Most characters of an error: it may repeat a name of a file, which may be of any length."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run ``asim``.

    Args:
        arguments: Arguments after the program's name; default: those of the process.

    Raises:
        SystemExit: With code 2 after a user's error, which is one line on standard error; 130 after Ctrl-C, 143 after
            a kill. The variable JSONARGPARSE_DEBUG, jsonargparse's own, gives the traceback instead.
    """
    show_all()
    try:
        here = os.getcwd()
    except OSError:
        _refuse("the working folder does not exist any more; change to another one")
    if here not in sys.path and "" not in sys.path:
        sys.path.insert(0, here)  # a column model or data module of the user's own, as with python -m
    given = list(sys.argv[1:] if arguments is None else arguments)
    try:
        with kill_raises():
            try:
                _run(given)
            except SystemExit as stop:
                if stop.code == 0:  # after what was asked for in place of a run, such as the help
                    _say()
                raise
            _say()
    except BrokenPipeError:  # whoever read the output, such as head, has enough of it
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(141) from None  # as shells count a process that a closed pipe ended
    except (KeyboardInterrupt, SystemExit) as stop:
        code = _signal_code(stop)
        if code is None:
            raise
        say_last(f"stopped{_GOES_ON.get(given[0], '') if given else ''}")
        raise SystemExit(code) from None


def _run(given: list[str]) -> None:
    if given in (["--help"], ["-h"], ["--version"]):
        _say(f"asim {__version__}\n" if given == ["--version"] else help_text())
        raise SystemExit(0)
    if (why := refusal(given)) is not None:
        _refuse(why)
    from asim_lightning.cli.command_line import read_arguments

    try:
        arguments = read_arguments(given)
    except (OSError, ValueError) as error:  # before the seconds that Lightning takes to import
        _refuse_text(given, error)
        _refuse(str(error))
    from asim_lightning.cli.messages import UsageError, one_line
    from asim_lightning.cli.reworded import is_refusal

    _quieten()
    try:
        if arguments.command in ("export", "fit-column", "import", "macros", "report"):
            _run_small(arguments.command, given[1:])
        else:
            from asim_lightning.classifier.processes import leave
            from asim_lightning.cli.parser import AsimCLI

            AsimCLI(arguments).run()
            leave()
    except BrokenPipeError:
        raise
    except Exception as error:
        if "JSONARGPARSE_DEBUG" in os.environ or not (isinstance(error, UsageError) or is_refusal(error)):
            raise
        _refuse_text(given, error)
        _refuse(_os_words(error) if isinstance(error, OSError) else one_line(str(error)) or type(error).__name__)


def _run_small(command: str, words: Sequence[str]) -> None:
    """Run a command that has no network of its own to build."""
    from asim_lightning.cli.option_reader import read_options

    if command == "macros":
        from asim_lightning.cli.macros import MacrosOptions, macros

        macros(read_options(command, MacrosOptions, words))
    elif command == "import":
        from asim_lightning.cli.import_export import ImportOptions, import_file

        import_file(read_options(command, ImportOptions, words))
    elif command == "export":
        from asim_lightning.cli.import_export import ExportOptions, export

        export(read_options(command, ExportOptions, words))
    elif command == "fit-column":
        from asim_lightning.cli.fit_column import FitColumnOptions, fit_column

        fit_column(read_options(command, FitColumnOptions, words))
    else:
        from asim_lightning.cli.report import ReportOptions, report

        report(read_options(command, ReportOptions, words))


def _say(text: str = "") -> None:
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except BrokenPipeError:
        raise
    except OSError as error:  # of what was printed last
        _refuse(_os_words(error))


def _refuse(message: str) -> NoReturn:
    shown = message if len(message) <= _LONGEST else f"{message[:_LONGEST]}..."
    say_last(f"error: {shown}")
    raise SystemExit(2) from None


def _refuse_text(given: Sequence[str], error: Exception) -> None:
    """Refuse what is no text, where that is the error."""
    if "surrogates not allowed" in str(error) and (bytes_ := [each for each in given if not is_text(each)]):
        _refuse(f"what is given must be text in UTF-8, got {bytes_[-1]}; a path may start at the working folder")


def _os_words(error: OSError) -> str:
    """What the operating system refused, and of which file."""
    from asim_lightning.cli.messages import one_line

    if error.errno is None:  # in words already
        return one_line(str(error)) or type(error).__name__
    what = error.strerror or type(error).__name__
    if error.filename is not None:
        return f"{error.filename} cannot be read or written: {what}"
    return what if takes_output() else f"standard output cannot be written: {what}"


def _signal_code(stop: BaseException) -> int | None:
    """Exit code of a process that a signal stopped, as shells count: 128 and the signal's number."""
    if isinstance(stop, KeyboardInterrupt) or isinstance(stop.__context__, KeyboardInterrupt):  # Lightning's exit(1)
        return 130
    # Lightning's own may not be imported yet
    return 143 if isinstance(stop, Killed) or type(stop).__name__ == "SIGTERMException" else None


def _quieten() -> None:
    """Silence what Lightning says on every run and no user can act on."""
    for message in (
        ".*isinstance\\(treespec, LeafSpec\\).*",
        ".*does not have many workers.*",
        ".* exists and is not empty.*",
        ".*log_every_n_steps.*",
        ".*column_args.cell_sigma.*",  # said in a line of its own
        ".*could not find the monitored key in the returned metrics.*",  # a fit says at its end what it kept
    ):
        warnings.filterwarnings("ignore", message=message)
    for name in ("lightning", "lightning.pytorch", "lightning.fabric"):
        for handler in logging.getLogger(name).handlers:
            handler.addFilter(_is_news)


def _is_news(record: logging.LogRecord) -> bool:
    return not any(part in record.getMessage() for part in _CHATTER)
