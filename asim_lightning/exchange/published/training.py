"""How a published config trains and evaluates: optimizer, epochs, batches, noise of training, fidelity."""

from dataclasses import dataclass

from asim_lightning.exchange.published.reading import ConfigReading

_MODES = ("Train", "Inference", "Simulation")
_CNN_MODES = ("asim_conv_mode", "asim_linear_mode")
_VIT_MODES = ("asim_vit_mlp_mode", "asim_vit_attn_mode", "asim_vit_fc_mode")
_CNN_NOISES = ("asim_conv_trim_noise", "asim_linear_trim_noise")
_VIT_NOISES = (
    "asim_vit_mlp_trim_noise",
    "asim_vit_attn_attn_trim_noise",
    "asim_vit_attn_proj_trim_noise",
    "asim_vit_fc_trim_noise",
)
_DEVICES = {"cpu": "cpu", "mps": "mps", "cuda": "auto"}


@dataclass(frozen=True)
class PublishedEvaluation:
    """At which fidelity a config evaluates, and with which batches."""

    trains: bool
    """Whether the config is one of training."""
    fidelity: str
    """Fidelity of every layer."""
    train_noise: float
    """Noise of training, percent of each output."""
    accelerator: str
    """Lightning's name of the device."""
    batch_size: int
    """Images a batch in evaluation."""
    workers: int
    """Processes that prepare batches."""


@dataclass(frozen=True)
class PublishedTraining:
    """How a config trains."""

    epochs: int
    """Passes over the training images."""
    batch_size: int
    """Images a step."""
    optimizer: str
    """sgd or adam."""
    lr: float
    """Learning rate at the start."""
    momentum: float
    """Of sgd."""
    weight_decay: float
    """Weight decay."""
    milestones: tuple[float, ...]
    """Fractions of the epochs."""
    gamma: float
    """Factor of the learning rate at a milestone."""
    label_smoothing: float
    """torch's label smoothing."""
    mixup: float
    """Alpha of mixup; 0 is off."""
    log_interval: int
    """Steps between two log entries."""


def evaluation_of(reading: ConfigReading, is_transformer: bool) -> PublishedEvaluation:
    """How a config evaluates.

    Args:
        reading: The config.
        is_transformer: Whether the network is one.

    Raises:
        ValueError: A value is not allowed; one sentence with the published setting.
    """
    noise = _train_noise(reading, _VIT_NOISES if is_transformer else _CNN_NOISES)
    mode, fidelity = _fidelity(reading, _VIT_MODES if is_transformer else _CNN_MODES, noise)
    stem_mode = "asim_vit_quant_conv_mode" if is_transformer else "quant_conv_mode"
    if not is_transformer or reading.flag("vit_quant_conv_proj"):
        reading.note(stem_mode, "nothing to do: this layer is digital, and the same integers at every fidelity")
    else:
        reading.ignore(stem_mode)
    trains = mode == "Train"
    batches = _one_of_two(reading, "valid_bs", "test_bs", trains, "eval_batch_size", 1)
    workers = _one_of_two(reading, "train_workers", "test_workers", trains, "num_workers", 0)
    return PublishedEvaluation(trains, fidelity, noise, _accelerator(reading), batches, workers)


def training_of(reading: ConfigReading, is_transformer: bool, classes: int) -> PublishedTraining:
    """How a config trains.

    Args:
        reading: The config.
        is_transformer: Whether the network is one, which is trained with Adam and without weight decay.
        classes: Number of classes.

    Raises:
        ValueError: A value is not allowed; one sentence with the published setting.
    """
    if is_transformer:
        for name in ("momentum", "weight_decay"):
            reading.note(name, "nothing to do: the published code trains transformers with Adam and without it")
    epochs = reading.whole("max_epoch", 1)
    return PublishedTraining(
        epochs=epochs,
        batch_size=reading.whole("train_bs", 1),
        optimizer="adam" if is_transformer else "sgd",
        lr=reading.number("lr_init", above=True),
        momentum=0.9 if is_transformer else reading.number("momentum", high=1),
        weight_decay=0.0 if is_transformer else reading.number("weight_decay"),
        milestones=_milestones(reading, epochs),
        gamma=reading.number("factor", above=True),
        label_smoothing=_label_smoothing(reading, classes),
        mixup=_if_on(reading, "mixup", "mixup_alpha"),
        log_interval=reading.whole("log_interval", 1),
    )


def _train_noise(reading: ConfigReading, names: tuple[str, ...]) -> float:
    first, *others = ((name, reading.number(name)) for name in names)
    for name, noise in others:
        if noise != first[1]:
            what = f"`model.train_noise` is one for all layers, {first[1]:g} in the recipe, as cfg.{first[0]}"
            reading.note(name, f"{what}; in Python, layer.train_noise is one for each")
    return first[1]


def _fidelity(reading: ConfigReading, names: tuple[str, ...], noise: float) -> tuple[str, str]:
    """The published mode that counts for the network, and its fidelity."""
    modes = {name: reading.choice(name, _MODES) for name in names}
    mode = max(modes.values(), key=_MODES.index)
    fidelity = "simulated" if mode == "Simulation" else "quantized"
    if mode == "Inference" and noise:
        fidelity = "estimated"
    for name, other in modes.items():
        if other != mode:
            what = f"`model.fidelity` is one for all layers, {fidelity} in the recipe, as another mode is {mode}"
            reading.note(name, f"{what}; in Python, layer.fidelity is one for each")
    return mode, fidelity


def _one_of_two(reading: ConfigReading, training: str, testing: str, trains: bool, here: str, least: int) -> int:
    values = {name: reading.whole(name, least) for name in (training, testing)}
    chosen, other = (training, testing) if trains else (testing, training)
    if values[other] != values[chosen]:
        what = f"`data.init_args.{here}` is one for all commands, {values[chosen]}, as cfg.{chosen}"
        reading.note(other, f"{what}; no accuracy depends on it, and a flag --data.init_args.{here} changes it")
    return values[chosen]


def _accelerator(reading: ConfigReading) -> str:
    device = reading.text("device") or "auto"
    if device in _DEVICES:
        return _DEVICES[device]
    kind, _, number = device.partition(":")
    which = f" --trainer.devices [{number}]" if number.isdigit() else ""
    reading.note(
        "device", f"the recipe has `trainer.accelerator: auto`; --trainer.accelerator NAME{which} asks for one"
    )
    return _DEVICES.get(kind, "auto")


def _milestones(reading: ConfigReading, epochs: int) -> tuple[float, ...]:
    given = reading.value("milestones")
    if given is None:
        return (0.6, 0.9)
    whole = isinstance(given, (list, tuple)) and all(type(epoch) is int and epoch >= 0 for epoch in given)
    if not whole:
        raise reading.error("milestones", f"must be a list of epochs, 0 or more, got {given!r}")
    late = [epoch for epoch in given if epoch > epochs]
    if late:
        reading.note(
            "milestones", f"the recipe has those up to epoch {epochs}, the last one, as fractions of the epochs"
        )
    return tuple(_fraction(epoch, epochs) for epoch in given if epoch <= epochs)


def _fraction(epoch: int, epochs: int) -> float:
    """The shortest fraction that gives the epoch."""
    exact = epoch / epochs
    short = (round(exact, digits) for digits in range(1, 12))
    return next((each for each in short if each <= 1 and round(each * epochs) == epoch), exact)


def _label_smoothing(reading: ConfigReading, classes: int) -> float:
    share = _if_on(reading, "label_smooth", "label_smooth_eps")
    # published, the share goes to the other classes alone; torch gives the right class its part of it
    smoothing = share * classes / (classes - 1)
    if smoothing > 1:
        raise reading.error("label_smooth_eps", f"must be 0..{(classes - 1) / classes:g}, got {share!r}")
    return smoothing


def _if_on(reading: ConfigReading, switch: str, amount: str) -> float:
    if reading.flag(switch):
        return reading.number(amount)
    reading.ignore(amount)
    return 0.0
