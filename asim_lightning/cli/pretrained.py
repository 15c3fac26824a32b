"""What a pretrained backbone decides of the other settings."""

from importlib import import_module

from jsonargparse import Namespace

from asim_lightning.backbone import BackboneConfig
from asim_lightning.data.colour import ColourDataModule
from asim_lightning.exchange.pretrained import check_tag, is_file, timm_weights


def named(weights: str) -> str:
    """timm's name of weights with their tag, also where the tag is timm's first choice.

    Args:
        weights: timm's name, with or without a tag.
    """
    import timm  # half of the command line's start-up time, and not needed for --help

    config = timm.get_pretrained_cfg(weights)
    tag = config.tag if config is not None and "." not in weights else None
    return f"{weights}.{tag}" if tag else weights


def settle_pretrained(settings: Namespace, written: Namespace, command: str) -> str:
    """Leave pretrained weights out where a checkpoint brings its own, else take pictures as they expect them; in place.

    Args:
        settings: Settings of a command.
        written: What of them the user wrote.
        command: The command; explain downloads nothing.

    Returns:
        What pictures are like, in words; empty where nothing was changed.

    Raises:
        ValueError: timm has no weights of the tag that is asked for.
    """
    backbone, has_own = settings.model.backbone, bool(settings.get("ckpt_path"))
    # a network that started from these weights sees the same pictures whoever brings its weights now
    pictures = "" if command == "explain" else _pictures(settings, written, has_own)
    if has_own or (command == "explain" and not is_file(backbone.pretrained)):
        backbone.pretrained = False
    return pictures


def _pictures(settings: Namespace, written: Namespace, has_own: bool) -> str:
    backbone = settings.model.backbone
    if not backbone.pretrained:
        return ""
    check_tag(BackboneConfig(**backbone.as_dict()))
    if backbone.small or not settings.get("data"):  # small networks take small pictures
        return ""
    module, _, name = settings.data.class_path.rpartition(".")
    given = (written.get("data") or Namespace()).get("init_args") or Namespace()
    chosen = any(given.get(key) is not None for key in ("normalize", "pretrained_cfg"))
    if chosen or not issubclass(getattr(import_module(module), name), ColourDataModule):
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
    import timm

    tags = timm.list_pretrained(f"{weights.split('.')[0]}.tv*") if is_file(backbone.pretrained) else []
    torchvision = f"; torchvision's: {tags[0]}" if tags and "." not in weights else ""
    return f"as {named(weights)} expects them (data.init_args.pretrained_cfg{torchvision})"
