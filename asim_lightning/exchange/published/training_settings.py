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
    if not is_transformer or given.value("vit_quant_conv_proj"):
        stem_mode = "asim_vit_quant_conv_mode" if is_transformer else "quant_conv_mode"
        given.note(stem_mode, "nothing to do: this layer is digital, and the same integers at every fidelity")
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
    if is_transformer:
        for name in ("momentum", "weight_decay"):
            given.note(name, "nothing to do: the published code trains transformers with Adam and without it")
    # the published share goes only to the other classes; torch gives a part of it to the right class
    classes, epochs = given.value("cls_num"), given.value("max_epoch")
    share = given.value("label_smooth_eps") * classes / (classes - 1) if given.value("label_smooth") else 0
    milestones = given.value("milestones")
    if milestones is None:
        milestones = (0.6 * epochs, 0.9 * epochs)
    return {
        "optimizer": "adam" if is_transformer else "sgd",
        "momentum": 0.9 if is_transformer else given.value("momentum"),
        "weight_decay": 0.0 if is_transformer else given.value("weight_decay"),
        # a milestone after the last epoch has no effect there
        "milestones": [round(epoch / epochs, 6) for epoch in milestones if epoch <= epochs],
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
    accelerator = _DEVICES.get(device.partition(":")[0], "auto")
    if device not in _DEVICES:
        flags = "--trainer.accelerator NAME and --trainer.devices [NUMBER] choose another"
        given.note("device", f"the recipe has `trainer.accelerator: {accelerator}`; {flags}")
    return accelerator
