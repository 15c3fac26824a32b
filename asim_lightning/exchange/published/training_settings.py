"""Training and evaluation of a published config: optimizer, epochs, batches, training noise, fidelity."""

from typing import Any

from asim_lightning.exchange.published.given_settings import Given

_MODES = ("Train", "Inference", "Simulation")
_DEVICES = {"cpu": "cpu", "mps": "mps", "cuda": "auto"}


def evaluation_of(given: Given, is_transformer: bool) -> dict[str, Any]:
    """Values for evaluation, and `trains`: whether the config is for training."""
    parts = ("vit_mlp", "vit_attn", "vit_fc") if is_transformer else ("conv", "linear")
    noises = ("vit_mlp", "vit_attn_attn", "vit_attn_proj", "vit_fc") if is_transformer else parts
    noise = _one_of(given, "model.train_noise", [f"asim_{part}_trim_noise" for part in noises], "layer.train_noise")
    modes = [f"asim_{part}_mode" for part in parts]
    modes.sort(key=lambda name: -_MODES.index(given.choice(name, _MODES)))
    mode = _one_of(given, "model.fidelity", modes, "layer.fidelity")
    stem_mode = "asim_vit_quant_conv_mode" if is_transformer else "quant_conv_mode"
    if not is_transformer or given.value("vit_quant_conv_proj"):
        given.note(stem_mode, "nothing to do: this layer is digital, and the same integers at every fidelity")
    given.ignore(stem_mode)
    trains = mode == "Train"
    order = slice(None, None, 1 if trains else -1)
    return {
        "trains": trains,
        "fidelity": "simulated" if mode == "Simulation" else "estimated" if not trains and noise else "quantized",
        "train_noise": noise,
        "accelerator": _accelerator(given),
        "eval_batch_size": _one_of(given, "data.init_args.eval_batch_size", ["valid_bs", "test_bs"][order]),
        "num_workers": _one_of(given, "data.init_args.num_workers", ["train_workers", "test_workers"][order]),
    }


def training_of(given: Given, is_transformer: bool) -> dict[str, Any]:
    """Values for training; published transformers are trained with Adam and without weight decay."""
    for name in ("momentum", "weight_decay") if is_transformer else ():
        given.note(name, "nothing to do: the published code trains transformers with Adam and without it")
    given.ignore("mixup_alpha", "label_smooth_eps")  # while they are off
    # the published share goes only to the other classes; torch gives a part of it to the right class
    classes, smooths = given.value("cls_num"), given.value("label_smooth")
    share = given.value("label_smooth_eps") * classes / (classes - 1) if smooths else 0
    return {
        "optimizer": "adam" if is_transformer else "sgd",
        "momentum": 0.9 if is_transformer else given.value("momentum"),
        "weight_decay": 0.0 if is_transformer else given.value("weight_decay"),
        "milestones": _milestones(given),
        "label_smoothing": share,
        "mixup": given.value("mixup_alpha") if given.value("mixup") else 0,
    }


def _one_of(given: Given, setting: str, names: list[str], in_python: str | None = None) -> Any:
    """The value of the first of several settings that are one setting here; notes the others if they differ."""
    first, *others = names
    for name in others:
        if given.value(name) != given.value(first):
            more = f"in Python, {in_python} is one for each layer" if in_python else "no accuracy depends on it"
            given.note(name, f"`{setting}` is one for all, as cfg.{first} = {given.shown(first)}; {more}")
    return given.value(first)


def _accelerator(given: Given) -> str:
    device = given.value("device") or "cuda"
    kind, _, number = device.partition(":")
    accelerator = _DEVICES.get(kind, "auto")
    if device not in _DEVICES:
        flag = f"--trainer.accelerator NAME{f' --trainer.devices [{number}]' if number.isdigit() else ''}"
        given.note("device", f"the recipe has `trainer.accelerator: {accelerator}`; {flag} asks for one")
    return accelerator


def _milestones(given: Given) -> tuple[float, ...]:
    """Milestones as the shortest fractions of the epochs."""
    listed, epochs = given.value("milestones"), given.value("max_epoch")
    if listed is None:
        return (0.6, 0.9)
    if max(listed, default=0) > epochs:
        what = f"the recipe has the milestones up to epoch {epochs}, the last one, as fractions of the epochs"
        given.note("milestones", what)
    found = []
    for epoch in (epoch for epoch in listed if epoch <= epochs):
        short = (round(epoch / epochs, digits) for digits in range(1, 12))
        found.append(next((each for each in short if each <= 1 and round(each * epochs) == epoch), epoch / epochs))
    return tuple(found)
