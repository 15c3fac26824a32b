"""The commands import and export: weights and settings of others, in and out."""

from collections.abc import Sequence
from pathlib import Path

from jsonargparse import Namespace

from asim_lightning.cli.commands import DESCRIPTIONS
from asim_lightning.cli.messages import OneLineParser, UsageError
from asim_lightning.cli.writable import check_file
from asim_lightning.exchange.keys import LAYOUTS


def parser(command: str) -> OneLineParser:
    """The parser of a command."""
    made = OneLineParser(prog=f"asim {command}", description=DESCRIPTIONS[command], allow_abbrev=False)
    if command == "import":
        made.add_argument("file", type=str, help="weights (.pkl, .pth, .safetensors), or a published config.py")
        made.add_argument("--to", type=str, required=True, help="checkpoint (.ckpt), or recipe (.yaml), to write")
        made.add_argument("--network", type=str | None, help="timm's name, where the keys do not tell it")
        made.add_argument("--kwargs", type=dict | None, help="arguments of its constructor, such as {depth: 4}")
        made.add_argument(
            "--small", type=bool | None, help="whether it is made for images of about 32 pixels; default: as keys tell"
        )
    else:
        made.add_argument("file", type=str, help="checkpoint of this package, or the name of a shipped one")
        made.add_argument("--to", type=str, required=True, help="file to write (.pkl, .pth, .safetensors)")
        made.add_argument("--format", type=str, required=True, help=" or ".join(LAYOUTS))
    made.add_argument("--force", action="store_true", help="write, though keys are not accounted for")
    return made


def run(arguments: Sequence[str]) -> None:
    """Run a command.

    Args:
        arguments: Its name and what follows.

    Raises:
        UsageError, ValueError, OSError: What the user gave cannot be used; nothing is written then.
    """
    command, *rest = arguments
    made = parser(command)
    made.known_settings = [action.dest for action in made._actions]
    settings = made.parse_args(rest)
    _check_paths(settings)
    if command == "export":
        from asim_lightning.cli.exporting import export_weights

        export_weights(settings.file, settings.to, settings.format, settings.force)
    elif Path(settings.file).suffix == ".py":
        from asim_lightning.cli.importing import import_settings

        if settings.force or any(settings[name] is not None for name in ("network", "small", "kwargs")):
            raise UsageError("`--network`, `--small`, `--kwargs` and `--force` are for weights, not for a config.py")
        import_settings(settings.file, settings.to)
    else:
        from asim_lightning.cli.importing import import_weights

        if settings.kwargs is not None and settings.network is None:
            raise UsageError("`--kwargs` needs `--network`, whose constructor takes them")
        import_weights(settings.file, settings.to, settings.network, settings.small, settings.kwargs, settings.force)


def _check_paths(settings: Namespace) -> None:
    source, target = Path(settings.file), Path(settings.to)
    if source.exists() and target.exists() and source.samefile(target):
        raise UsageError(f"`--to` must be another file than the one that is read, got {target}")
    check_file(target, "`--to`")
