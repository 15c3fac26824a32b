"""Settings that depend on others: a macro's flag replaces its axis, pretrained weights set the pictures."""

from collections.abc import Mapping
from dataclasses import asdict
from pkgutil import resolve_name
from typing import Any

from jsonargparse import Namespace

from asim_lightning.backbone import BackboneConfig
from asim_lightning.circuit.presets import preset
from asim_lightning.circuit.static import StaticEffects
from asim_lightning.classifier.outcome import Outcome
from asim_lightning.data.colour import ColourDataModule
from asim_lightning.evaluation.results import Measure, axis_text
from asim_lightning.evaluation.target import target_texts
from asim_lightning.exchange.pretrained import check_tag, is_file, timm_weights
from asim_lightning.exploration.axes import DEFAULT_AXES


def settle_axes(
    flags: Mapping[str, Any], axes: Mapping[str, Any], model: Mapping[str, Any], of_chips: bool = False
) -> tuple[dict[str, Any], str]:
    """The axes of a sweep that a flag for a macro field or for the chip replaces, and a line about it.

    In configuration files an axis wins over the field, because recipes have both. A flag for the axis always wins.
    A sweep over chips 0, 1, 2, ... (`of_chips`) needs no other axis.
    """
    if of_chips and "chip" in _group(flags, "model"):
        raise ValueError(
            "`chips` and `until` take chips 0, 1, 2, ..., so no flag may name a chip, got "
            f"--model.chip {model.get('chip')}; --chips null and --until null leave them out"
        )
    given = {name: values for name, values in axes.items() if values is not None} or ({} if of_chips else DEFAULT_AXES)
    fixed = {*_group(flags, "model", "plan", "macro"), *({"chip"} & set(_group(flags, "model")))}
    if (name := _group(flags, "model", "plan").get("preset")) is not None:
        fixed.update(preset(name).macro)
    values = {**_group(model, "plan", "macro"), "chip": model.get("chip")}
    if isinstance(static := values.get("static"), Mapping):
        usual = asdict(StaticEffects())
        values["static"] = {name: value for name, value in static.items() if value != usual.get(name)}
    of_axes = _group(flags, "axes")
    settled = {name: [values[name]] for name in given if name in fixed and name not in of_axes}
    parts = [f"{name} {axis_text(value)} by its flag, not {_values(given[name])}" for name, (value,) in settled.items()]
    return settled, "; ".join(parts)


def settle_targets(settings: Namespace) -> None:
    """Replace the outcome's name by accuracy in targets, in place."""
    measure, search = Measure.of(Outcome.of(settings.model.outcome)), settings.get("search")
    for name in ("until", "target", "search.until"):
        if settings.get(name) is not None:
            (settings[name],) = target_texts(name, [settings[name]], measure)
    if search is not None:
        search.constraints = target_texts("search.constraints", search.constraints, measure)
        search.objectives = ["accuracy" if each == measure.name else each for each in search.objectives]


def _group(settings: Mapping[str, Any], *names: str) -> Mapping[str, Any]:
    for name in names:
        inside = settings.get(name)
        settings = inside if isinstance(inside, Mapping) else {}
    return settings


def _values(values: Any) -> str:
    if not isinstance(values, (list, tuple)):
        return str(values)
    return f"{axis_text(values[0])}" if len(values) == 1 else f"the {len(values)} values of its axis"


def settle_pretrained(settings: Namespace, written: Mapping[str, Any], command: str) -> str:
    """Leave pretrained weights out if a checkpoint brings weights, else adapt pictures to them; in place.

    Returns the changed form of pictures in words, or an empty text. `written` is what the user wrote of the settings.
    """
    backbone, has_own = settings.model.backbone, bool(settings.get("ckpt_path"))
    # a checkpoint may have started from these weights, so the pictures stay the same
    pictures = "" if command == "explain" else _pictures(settings, written, has_own)
    if has_own or (command == "explain" and not is_file(backbone.pretrained)):
        backbone.pretrained = False
    return pictures


def _pictures(settings: Namespace, written: Mapping[str, Any], has_own: bool) -> str:
    backbone = settings.model.backbone
    if not backbone.pretrained:
        return ""
    check_tag(BackboneConfig(**backbone.as_dict()))
    if backbone.small or not settings.get("data"):  # small networks take small pictures
        return ""
    given = {**_group(written, "data"), **_group(written, "data", "init_args")}
    chosen = any(given.get(key) is not None for key in ("normalize", "pretrained_cfg"))
    if chosen or not issubclass(resolve_name(settings.data.class_path), ColourDataModule):
        return ""
    try:
        weights = timm_weights(BackboneConfig(**backbone.as_dict()))
    except FileNotFoundError:
        if not has_own:
            raise
        weights = backbone.name  # the file is gone, and not needed any more
    if weights is None:
        return ""
    settings.data.init_args.normalize, settings.data.init_args.pretrained_cfg = "pretrained", weights
    import timm  # half of the command line's start-up time, and not needed for --help

    config = timm.get_pretrained_cfg(weights)
    default = f".{config.tag}" if config is not None and config.tag and "." not in weights else ""
    tags = timm.list_pretrained(f"{weights.split('.')[0]}.tv*") if is_file(backbone.pretrained) else []
    torchvision = f"; torchvision's: {tags[0]}" if tags and "." not in weights else ""
    return f"as {weights}{default} expects them (data.init_args.pretrained_cfg{torchvision})"
