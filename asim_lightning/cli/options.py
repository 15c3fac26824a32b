"""Options of commands: fields of a frozen dataclass, whose docstrings are the help."""

from argparse import SUPPRESS
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from textwrap import fill
from typing import TYPE_CHECKING, Any, Literal, get_type_hints

from jsonargparse import ArgumentParser, set_parsing_settings
from jsonargparse.typing import restricted_number_type

from asim_lightning.cli.commands import COMMANDS
from asim_lightning.cli.setting_names import no_setting

if TYPE_CHECKING:
    from asim_lightning.report.picture import Paper

_Inches = restricted_number_type("Inches", float, [(">=", 2), ("<=", 30)])


@dataclass(frozen=True)
class Drawing:
    """Options of commands that draw."""

    format: Literal["png", "pdf", "svg"] = "png"
    """Format of pictures: png, pdf or svg."""
    width: _Inches = 7.2  # type: ignore[valid-type]
    """Width of pictures: 2..30 inches, such as 3.5 for a column of a page of two columns."""

    @property
    def paper(self) -> "Paper":
        """Format and width."""
        from asim_lightning.report.picture import Paper  # most commands draw nothing

        return Paper(self.format, self.width)


def own_options(command: str) -> dict[str, Any]:
    """Types of the options of a command, by name."""
    options = COMMANDS[command].options
    return {} if options is None else {each.name: each.type for each in fields(options)}


def add_options(parser: ArgumentParser, command: str, skip: Collection[str] = ()) -> None:
    """Add the options of a command to a parser.

    A field without a default is positional, unless it is keyword-only. A list of texts with help in its metadata takes
    all positional words. Options in `skip` are left out.
    """
    options = COMMANDS[command].options
    if options is None:
        return
    several = [each for each in fields(options) if each.type == list[str] and "help" in each.metadata]
    parser.add_class_arguments(options, as_positional=True, skip={*skip, *(each.name for each in several)})
    for each in several:
        parser.add_argument(each.name, type=str, nargs="+", help=each.metadata["help"])


def take_options(command: str, given: Mapping[str, Any]) -> list[Any]:
    """The options of a command, as arguments of its function."""
    options = COMMANDS[command].options
    return [] if options is None else [options(**{name: given[name] for name in own_options(command)})]


def read_options(command: str, words: Sequence[str]) -> list[Any]:
    """Like `take_options`, from the words of a command that runs no network."""
    set_parsing_settings(docstring_parse_attribute_docstrings=True)
    what = COMMANDS[command].what
    parser = ArgumentParser(prog=f"asim {command}", description=what, allow_abbrev=False, exit_on_error=False)
    add_options(parser, command)
    given, known = with_switches(words, command), list(own_options(command))
    for name in (word.removeprefix("--").split("=")[0] for word in given if word.startswith("--")):
        if name not in (*known, "help"):
            raise no_setting(name, known)
    return take_options(command, vars(parser.parse_args(given)))


def with_switches(flags: Sequence[str], command: str) -> list[str]:
    """Flags of a command: dashes in a name become underscores, a flag for true or false without such a value means
    true, and a word right after the command sets `Command.word`."""
    if (word := COMMANDS[command].word) and flags and not flags[0].startswith("-"):
        flags = [f"--{word}={flags[0]}", *flags[1:]]
    switches, words = {f"--{name}" for name, kind in own_options(command).items() if kind in (bool, bool | None)}, []
    for flag, after in zip(flags, [*flags[1:], ""], strict=False):
        name, equals, value = flag.partition("=")
        if name.startswith("--") and "." not in name:
            flag = f"--{name[2:].replace('-', '_')}{equals}{value}"
        words.append(f"{flag}=true" if flag in switches and after.lower() not in ("true", "false") else flag)
    return words


_SETTINGS = """settings of the network, its data and the trainer:
  -c CONFIG              A recipe: a YAML file, or the name of a shipped one. Several may be given; a later one wins.
  --ckpt_path FILE       Trained weights; their settings count if no recipe or flag says otherwise.
  --model.SETTING VALUE  Network, fidelity, macro and optimizer, such as --model.plan.macro.adc_bits 7.
  --data CLASS           Data module, and its arguments, such as --data.init_args.root FOLDER.
  --trainer.SETTING VALUE
                         Lightning's trainer.
  --print_config         Print all settings, and run nothing.
A file may stand for a group of settings, as in --model.plan FILE."""


def _groups(command: str) -> dict[str, Any]:
    """Options of a command that are groups of settings."""
    kinds = get_type_hints(COMMANDS[command].options) if COMMANDS[command].options is not None else {}
    return {name: kind for name, kind in kinds.items() if is_dataclass(kind)}


def asked_group(command: str, flags: Sequence[str]) -> str | None:
    """The group of options whose help is asked for, as in --search.help."""
    return next((name for name in _groups(command) if f"--{name}.help" in flags), None)


def print_group_help(command: str, group: str) -> None:
    """Print the settings of a group of options."""
    set_parsing_settings(docstring_parse_attribute_docstrings=True)
    parser = ArgumentParser(prog=f"asim {command}", usage=SUPPRESS, add_help=False, print_config=None)
    parser.add_class_arguments(_groups(command)[group], group)
    parser.print_help()


def print_help(command: str) -> None:
    """Print the options of a command one by one, and groups of options and all other settings in a line each."""
    groups = _groups(command)
    set_parsing_settings(docstring_parse_attribute_docstrings=True)
    parser = ArgumentParser(prog=f"asim {command}", usage=SUPPRESS, add_help=False, print_config=None)
    add_options(parser, command, skip=groups)
    print(f"usage: asim {command} -c CONFIG [--OPTION VALUE ...]\n\n{COMMANDS[command].what}\n")
    parser.print_help()
    for name, kind in groups.items():
        print(f"\n--{name}.FIELD VALUE: {str(kind.__doc__).splitlines()[0]} --{name}.help explains:")
        print(fill(", ".join(each.name for each in fields(kind)), 100, initial_indent="  ", subsequent_indent="  "))
    print(f"\n{_SETTINGS}\nasim {command} --help.all explains every setting.")
