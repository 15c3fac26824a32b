"""Training and evaluation of a published config: optimizer, epochs, batches, noise of training, fidelity."""

from typing import Any

from asim_lightning.exchange.published.given_settings import Given

_MODES = ("Train", "Inference", "Simulation")
_DEVICES = {"cpu": "cpu", "mps": "mps", "cuda": "auto"}


def evaluation_of(given: Given, is_transformer: bool) -> dict[str, Any]:
    """Values for evaluation, and `trains`: whether the config is one of training."""
    parts = ("vit_mlp", "vit_attn", "vit_fc") if is_transformer else ("conv", "linear")
    noises = ("vit_mlp", "vit_attn_attn", "vit_attn_proj", "vit_fc") if is_transformer else parts
    noise = _train_noise(given, *(f"asim_{part}_trim_noise" for part in noises))
    mode, fidelity = _fidelity(given, [f"asim_{part}_mode" for part in parts], noise)
    stem_mode = "asim_vit_quant_conv_mode" if is_transformer else "quant_conv_mode"
    if not is_transformer or given.flag("vit_quant_conv_proj"):
        given.note(stem_mode, "nothing to do: this layer is digital, and the same integers at every fidelity")
    given.ignore(stem_mode)
    trains = mode == "Train"
    return {
        "trains": trains,
        "fidelity": fidelity,
        "train_noise": noise,
        "accelerator": _accelerator(given),
        "eval_batch_size": _one_of_two(given, "valid_bs", "test_bs", trains, "eval_batch_size", 1),
        "num_workers": _one_of_two(given, "train_workers", "test_workers", trains, "num_workers", 0),
    }


def training_of(given: Given, is_transformer: bool, classes: int) -> dict[str, Any]:
    """Values for training; published transformers are trained with Adam and without weight decay."""
    for name in ("momentum", "weight_decay") if is_transformer else ():
        given.note(name, "nothing to do: the published code trains transformers with Adam and without it")
    epochs = given.whole("max_epoch", 1)
    return {
        "max_epochs": epochs,
        "batch_size": given.whole("train_bs", 1),
        "optimizer": "adam" if is_transformer else "sgd",
        "lr": given.number("lr_init", above=True),
        "momentum": 0.9 if is_transformer else given.number("momentum", high=1),
        "weight_decay": 0.0 if is_transformer else given.number("weight_decay"),
        "milestones": _milestones(given, epochs),
        "gamma": given.number("factor", above=True),
        "label_smoothing": _label_smoothing(given, classes),
        "mixup": _if_on(given, "mixup", "mixup_alpha"),
        "log_every_n_steps": given.whole("log_interval", 1),
    }


def _train_noise(given: Given, first: str, *others: str) -> float:
    noise = given.number(first)
    for name in others:
        if given.number(name) != noise:
            what = f"`model.train_noise` is one for all layers, {noise:g} in the recipe, as cfg.{first}"
            given.note(name, f"{what}; in Python, layer.train_noise is one for each")
    return noise


def _fidelity(given: Given, names: list[str], noise: float) -> tuple[str, str]:
    """The published mode of the network, and its fidelity."""
    modes = {name: given.choice(name, _MODES) for name in names}
    mode = max(modes.values(), key=_MODES.index)
    fidelity = "simulated" if mode == "Simulation" else "estimated" if mode == "Inference" and noise else "quantized"
    for name, other in modes.items():
        if other != mode:
            what = f"`model.fidelity` is one for all layers, {fidelity} in the recipe, as another mode is {mode}"
            given.note(name, f"{what}; in Python, layer.fidelity is one for each")
    return mode, fidelity


def _one_of_two(given: Given, training: str, testing: str, trains: bool, here: str, least: int) -> int:
    chosen, other = (training, testing) if trains else (testing, training)
    value = given.whole(chosen, least)
    if given.whole(other, least) != value:
        what = f"`data.init_args.{here}` is one for all commands, {value}, as cfg.{chosen}"
        given.note(other, f"{what}; no accuracy depends on it, and a flag --data.init_args.{here} changes it")
    return value


def _accelerator(given: Given) -> str:
    device = given.text("device") or "cuda"
    kind, _, number = device.partition(":")
    accelerator = _DEVICES.get(kind, "auto")
    if device not in _DEVICES:
        flag = f"--trainer.accelerator NAME{f' --trainer.devices [{number}]' if number.isdigit() else ''}"
        given.note("device", f"the recipe has `trainer.accelerator: {accelerator}`; {flag} asks for one")
    return accelerator


def _milestones(given: Given, epochs: int) -> tuple[float, ...]:
    """Milestones as the shortest fractions of the epochs."""
    listed = given.value("milestones")
    if listed is None:
        return (0.6, 0.9)
    if not isinstance(listed, tuple) or not all(type(epoch) is int and epoch >= 0 for epoch in listed):
        raise given.error("milestones", f"must be a list of epochs, 0 or more, got {given.shown('milestones')}")
    if max(listed, default=0) > epochs:
        what = f"the recipe has those up to epoch {epochs}, the last one, as fractions of the epochs"
        given.note("milestones", what)
    found = []
    for epoch in (epoch for epoch in listed if epoch <= epochs):
        short = (round(epoch / epochs, digits) for digits in range(1, 12))
        found.append(next((each for each in short if each <= 1 and round(each * epochs) == epoch), epoch / epochs))
    return tuple(found)


def _label_smoothing(given: Given, classes: int) -> float:
    share = _if_on(given, "label_smooth", "label_smooth_eps")
    # published, the share goes to the other classes alone; torch gives the right class its part of it
    smoothing = share * classes / (classes - 1)
    if smoothing > 1:
        raise given.error("label_smooth_eps", f"must be 0..{(classes - 1) / classes:g}, got {share!r}")
    return smoothing


def _if_on(given: Given, switch: str, amount: str) -> float:
    given.ignore(amount)
    return given.number(amount) if given.flag(switch) else 0.0
