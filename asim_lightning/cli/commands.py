"""The commands: the function of each, and answers without torch, such as the help."""

from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pkgutil import resolve_name
from typing import Any, get_type_hints


@dataclass(frozen=True)
class Command:
    """A command of ``asim``."""

    place: str
    """A module in this folder, and its function, which takes the `AsimCLI`, if it runs a network, and its options, a
    dataclass whose docstrings are the help."""
    what: str
    """Help in one line."""
    runs_network: bool = True
    """Whether it takes the settings of a network, its data and a trainer, and not only options."""
    word: str = ""
    """The option that a word right after the command sets, if it runs a network."""

    @property
    def function(self) -> Any:
        """The function, imported when it is needed."""
        return resolve_name(f"asim_lightning.cli.{self.place}")

    @property
    def options(self) -> Any:
        """Type of its options; None if it has none."""
        return get_type_hints(self.function).get("options")


COMMANDS = {
    "fit": Command("stages:fit", "Train a network, quantised and with noise."),
    "validate": Command(
        "stages:validate",
        "Accuracy on the validation images (which may be test images, if none are held out), as configured, or in each "
        "way that --compare names.",
    ),
    "test": Command("stages:evaluate", "Accuracy on the test images."),
    "predict": Command("stages:predict", "A CSV of labels, predictions and confidences."),
    "sweep": Command(
        "studies:sweep", "Accuracy over a grid of macros, with error bars: a table, a picture and TensorBoard charts."
    ),
    "search": Command(
        "studies:search",
        "What accuracy costs: macros, chips and technologies with the best trade-offs of accuracy, energy and time.",
    ),
    "spec": Command(
        "studies:spec", "How good the macro must be: the worst value of each property that still keeps a target."
    ),
    "doctor": Command(
        "studies:doctor",
        "What to change so that a target is kept: the cheapest plans, proved on other images and chips.",
    ),
    "report": Command(
        "report:report",
        "Finished sweeps, yields and searches as one HTML file: verdict, figures, tables, commands; no network.",
        runs_network=False,
    ),
    "bench": Command("bench:bench", "Images and conversions a second on this machine, against float32."),
    "explain": Command(
        "explain:explain_macros",
        "What the plan does to a network, and every cycle of its macros: LSB, noise, P(wrong code).",
    ),
    "verify": Command("bench:verify", "Check that all engines agree on the network's layers."),
    "chip": Command(
        "explain:chip",
        "Offsets, gains, INL and stuck cells of one chip, layer by layer: a table, a picture and a file.",
    ),
    "cost": Command(
        "cost:network_cost",
        "Conversions, energy and time of an image, layer by layer, with the source of every number.",
    ),
    "macros": Command(
        "explain:macros",
        "Published macros for model.plan.preset, and where our values differ from the chip's.",
        runs_network=False,
    ),
    "vectors": Command(
        "vectors:vectors",
        "Bits, codes and sums of a layer for RTL and SPICE: hex, CSV or NPZ files, Verilog, and a check.",
    ),
    "replay": Command(
        "vectors:replay",
        "Codes of a simulator, an RTL bench or a chip in place of a layer's own: output, and answers.",
        word="codes",
    ),
    "calibrate-adc": Command(
        "calibrate_adc:calibrate",
        "ADC ranges of all layers, fitted to training images: a table, rules, and the accuracy they give.",
    ),
    "fit-column": Command(
        "fit_column:fit_column",
        "Column models fitted to measured codes, with intervals, and the settings to paste.",
        runs_network=False,
    ),
    "import": Command(
        "import_export:import_file",
        "Weights of the published simulator, torchvision or timm to a checkpoint, or a config.py to a recipe.",
        runs_network=False,
    ),
    "export": Command(
        "import_export:export",
        "A checkpoint's weights to a file of the published simulator, torchvision or timm.",
        runs_network=False,
    ),
}


OPTIONS_OF_STUDIES = frozenset({"axes", "corners", "published", "search", "technology", "trials"})
"""Options that shipped recipes have for studies; other commands leave them out without importing the studies."""


def help_text() -> str:
    """The text of ``asim --help``."""
    width = max(map(len, COMMANDS))
    commands = "\n".join(f"  {name:<{width}}  {command.what}" for name, command in COMMANDS.items())
    return f"""usage: asim COMMAND -c CONFIG [--SETTING VALUE ...]

Accuracy of neural networks on simulated SRAM analog compute-in-memory macros.

commands:
{commands}

CONFIG is a YAML file, or the name of a shipped recipe, such as quickstart.
asim COMMAND --help lists the options of a command; asim --version prints the version.
"""


_WITHOUT_DATA = ("explain", "cost", "bench")
"""Commands for which the default settings are enough, because they do not depend on the user's images."""


def check_command(given: Sequence[str]) -> None:
    """Refuse a command line without a command, or with a command that needs a recipe and has none."""
    command = given[0] if given else "-"
    if command.startswith("-"):
        raise ValueError("asim needs a command first, as in asim fit -c CONFIG; asim --help lists them")
    if command not in COMMANDS:
        near = get_close_matches(command.strip().lower(), COMMANDS, n=1, cutoff=0.5)
        meant = f"; nearest: {near[0]}" if near else ""
        raise ValueError(f"asim has the commands {', '.join(COMMANDS)}, got {command!r}{meant}")
    if len(given) == 1 and COMMANDS[command].runs_network and command not in _WITHOUT_DATA:
        raise ValueError(f"asim {command} needs a recipe, as in asim {command} -c quickstart")
