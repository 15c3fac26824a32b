"""The commands, and what is answered without torch: the help, the version, and commands that there are not."""

from collections.abc import Sequence
from difflib import get_close_matches

DESCRIPTIONS = {
    "fit": "Train a network, quantised and with noise.",
    "validate": "Accuracy on the validation images, as configured and, with --compare, in other ways beside it.",
    "test": "Accuracy on the test images.",
    "predict": "A CSV of labels, predictions and confidences.",
    "sweep": "Accuracy over a grid of macros, with error bars: a table, a picture and TensorBoard charts.",
    "search": "What accuracy costs: the macros, chips and technologies that trade it best for energy and time.",
    "bench": "Images and conversions a second on this machine, against float32.",
    "explain": "What the plan does to a network, and every cycle of its macros: LSB, noise, P(wrong code).",
    "verify": "Whether all engines agree on the network's own layers.",
    "chip": "What a chip gives each layer (offset, gain, INL, stuck cells): a table, a picture and a file.",
    "cost": "Conversions, energy and time of an image, layer by layer, with the source of every number.",
    "macros": "The published macros that model.plan.preset takes, and what of each is not the chip's.",
    "calibrate-adc": "ADC ranges of all layers, fitted to training images: a table, rules, and the accuracy they give.",
    "fit-column": "Column models fitted to measured codes, with intervals, and the settings to paste.",
    "import": "Weights of the published simulator, torchvision or timm to a checkpoint, or a config.py to a recipe.",
    "export": "A checkpoint's weights to a file of the published simulator, torchvision or timm.",
}
"""What each command does."""


def help_text() -> str:
    """What ``asim --help`` prints."""
    width = max(map(len, DESCRIPTIONS))
    lines = [f"  {name:<{width}}  {what}" for name, what in DESCRIPTIONS.items()]
    head = (
        "usage: asim COMMAND -c CONFIG [--SETTING VALUE ...]\n\n"
        "Accuracy of image classifiers on simulated SRAM analog compute-in-memory macros.\n"
    )
    tail = (
        "CONFIG is a YAML file, or the name of a shipped recipe, such as quickstart.\n"
        "asim COMMAND --help lists the settings of a command; asim --version prints the version.\n"
    )
    return "\n".join([head, "commands:", *lines, "", tail])


_NO_COMMAND = "asim needs a command first, as in asim fit -c CONFIG; asim --help lists them"


def _no_such_command(given: str) -> str:
    """That there is no such command, which there are, and which one may be meant."""
    near = get_close_matches(given.strip().lower(), DESCRIPTIONS, n=1, cutoff=0.5)
    meant = f"; nearest: {near[0]}" if near else ""
    return f"asim has the commands {', '.join(DESCRIPTIONS)}, got {given!r}{meant}"


def refusal(given: Sequence[str]) -> str | None:
    """Why there is no such command; None where there is."""
    command = given[0] if given else "-"
    if command.startswith("-"):
        before = any(each in DESCRIPTIONS for each in given)
        return "Options come after the command, as in asim fit -c CONFIG" if before else _NO_COMMAND
    return None if command in DESCRIPTIONS else _no_such_command(command)
