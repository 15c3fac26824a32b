"""The data of a published config: data module, folder, image size, normalisation and augmentation."""

import re
from dataclasses import dataclass
from pathlib import PurePath, PurePosixPath, PureWindowsPath
from typing import Any

from asim_lightning.exchange.published.reading import ConfigReading
from asim_lightning.exchange.published.values import Transform

_OWN_MODULE = "a LightningDataModule of your own, whose batches are (images, labels, indices), can do it"


@dataclass(frozen=True)
class Task:
    """A data set of the published simulator."""

    module: str
    """Class in asim_lightning.data."""
    root: str
    """Folder where the file names none."""
    tree: str
    """What lies below the folder."""
    train: str
    """Name of the folder of the training pictures."""
    test: tuple[str, ...]
    """Names of the folder of the test pictures."""
    mean: tuple[float, ...]
    """Published mean of each channel."""
    deviation: tuple[float, ...]
    """Published standard deviation of each channel."""
    classes: int | None
    """Number of classes; None: as many as there are folders."""
    margin: float
    """Size that training pictures are squashed to before their crop, over that of the crop."""


TASKS = {
    "CIFAR-10": Task(
        module="CIFAR10",
        root="data",
        tree="{train,test}/<class>/*.png, or cifar-10-batches-py",
        train="train",
        test=("test",),
        mean=(0.4914, 0.4822, 0.4465),
        deviation=(0.247, 0.2435, 0.2616),
        classes=10,
        margin=1.0,
    ),
    "CIFAR-100": Task(
        module="CIFAR100",
        root="data",
        tree="{train,test}.csv with {train,test}_images, or cifar-100-python",
        train="train_images",
        test=("test_images",),
        mean=(0.5071, 0.4867, 0.4408),
        deviation=(0.2675, 0.2565, 0.2761),
        classes=100,
        margin=1.0,
    ),
    "ImageNet": Task(
        module="ImageNet",
        root="data/imagenet",
        tree="train/<wnid>/*.JPEG and valid (or val)/<wnid>/*.JPEG",
        train="train",
        test=("valid", "val"),
        mean=(0.485, 0.456, 0.406),
        deviation=(0.229, 0.224, 0.225),
        classes=None,
        margin=256 / 224,
    ),
}
"""The data sets by their published names."""


@dataclass(frozen=True)
class PublishedData:
    """How a published config's pictures are read here."""

    task: Task
    """The data set."""
    root: str
    """Its folder."""
    image_size: int
    """Height and width, pixels."""
    augment: str
    """Of training pictures: published, crop_flip or none."""
    normalize: tuple[tuple[float, ...], tuple[float, ...]] | None
    """Mean and deviation of each channel; None: the published ones."""


def data_of(reading: ConfigReading, is_large: bool) -> PublishedData:
    """The data of a config.

    Args:
        reading: The config.
        is_large: Whether images have 224 pixels where the file gives no size.

    Raises:
        ValueError: A value is not allowed; one sentence with the published setting.
    """
    task = TASKS[reading.choice("task", tuple(TASKS))]
    test = _steps(reading, "transforms_test")
    size = _image_size(reading, test, is_large or task.margin > 1)
    mean, deviation = _normalization(reading, test, task)
    published = (mean, deviation) == (task.mean, task.deviation)
    expected = (Transform("Resize", ((size, size),)), Transform("ToTensor"), Transform("Normalize", (mean, deviation)))
    squash = f"pictures are squashed to {size} x {size} and normalised with one mean and std"
    if test is not None and test != expected:
        reading.note("transforms_test", f"here {squash}, `image_size` and `normalize` of the data; {_OWN_MODULE}")
    valid = _steps(reading, "transforms_valid")
    if valid is not None and valid != (expected if test is None else test):
        reading.note("transforms_valid", f"here {squash} in validation, as in tests; {_OWN_MODULE}")
    augment = _augmentation(reading, task, size, expected)
    return PublishedData(task, _root(reading, task), size, augment, None if published else (mean, deviation))


def _steps(reading: ConfigReading, name: str) -> tuple[Any, ...] | None:
    """What a pipeline does, one transform after the other; None where the file has none."""
    pipeline = reading.value(name)
    if pipeline is None:
        return None
    if isinstance(pipeline, Transform) and pipeline.name == "Compose" and len(pipeline.arguments) == 1:
        steps = _frozen(pipeline.arguments[0])
        if isinstance(steps, tuple) and all(isinstance(step, Transform) for step in steps):
            return tuple(_with_places(step) for step in steps)
    raise reading.error(name, f"must be transforms.Compose([...]) of transforms, got {str(pipeline)[:80]!r}")


def _frozen(value: Any) -> Any:
    """Lists as tuples, so that both compare alike."""
    if isinstance(value, Transform):
        keywords = {name: _frozen(each) for name, each in value.keywords.items()}
        return Transform(value.name, tuple(_frozen(each) for each in value.arguments), keywords)
    return tuple(_frozen(each) for each in value) if isinstance(value, (list, tuple)) else value


def _with_places(step: Transform) -> Transform:
    """mean and std by place, as published."""
    if step.name == "Normalize" and set(step.keywords) == {"mean", "std"}:
        return Transform(step.name, (step.keywords["mean"], step.keywords["std"]))
    return step


def _image_size(reading: ConfigReading, test: tuple[Any, ...] | None, is_large: bool) -> int:
    if reading.has("image_size"):
        return reading.whole("image_size", 1)
    resize = next((step for step in test or () if step.name == "Resize" and step.arguments), None)
    size = resize.arguments[0] if resize else None
    size = size[0] if isinstance(size, tuple) and size else size
    return size if isinstance(size, int) and size > 0 else 224 if is_large else 32


def _normalization(
    reading: ConfigReading, test: tuple[Any, ...] | None, task: Task
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    if test is None:
        return task.mean, task.deviation
    given = next((step.arguments for step in test if step.name == "Normalize"), ((0.0,) * 3, (1.0,) * 3))
    three = len(given) == 2 and all(isinstance(part, tuple) and len(part) == 3 for part in given)
    if not three or not all(type(value) in (int, float) for part in given for value in part) or min(given[1]) <= 0:
        wanted = "must normalise with a mean and a std of three numbers each, std above 0"
        raise reading.error("transforms_test", f"{wanted}, got {str(given)[:80]}")
    return given


def _augmentation(reading: ConfigReading, task: Task, size: int, expected: tuple[Any, ...]) -> str:
    train = _steps(reading, "transforms_train")
    if train is None:
        return "published"
    if train == expected:
        return "none"
    crop = (Transform("RandomCrop", (size,), {"padding": 4}), Transform("RandomHorizontalFlip"))
    if train in ((*crop, *expected[1:]), (expected[0], *crop, *expected[1:])):
        return "crop_flip"
    colours = tuple(
        Transform("ColorJitter", (), {name: amount})
        for name, amount in (("brightness", 0.5), ("contrast", 0.5), ("saturation", 0.5), ("hue", 0.3))
    )
    first = next((step.arguments[0] for step in train if step.name == "CenterCrop" and step.arguments), size)
    published = (
        *(Transform("RandomChoice", (colours,)), Transform("Resize", ((first, first),))),
        *(Transform("CenterCrop", (first,)), *crop, Transform("RandomRotation", (15,)), *expected[1:]),
    )
    here = round(size * task.margin)
    if train != published:
        steps = f"jitter of a colour, squash to {here}, crop to {size}, mirror, turn"
        reading.note("transforms_train", f"here `augment: published` ({steps}); {_OWN_MODULE}")
    elif first != here:
        reading.note(
            "transforms_train",
            f"all is as in `augment: published`, but pictures are squashed to {here} pixels before their crop to "
            f"{size}, not to {first}; {_OWN_MODULE}",
        )
    return "published"


def _root(reading: ConfigReading, task: Task) -> str:
    """The folder below which the data module finds what the three folders hold."""
    given = {name: reading.text(name) for name in ("train_dir", "valid_dir", "test_dir")}
    folders = {name: _path(path) for name, path in given.items() if path is not None}
    allowed = {"train_dir": (task.train,), "valid_dir": task.test, "test_dir": task.test}
    fitting = [folder for name, folder in folders.items() if folder.name in allowed[name]]
    root = str(fitting[0].parent) if fitting else task.root
    for name, folder in folders.items():
        if folder.name not in allowed[name] or str(folder.parent) != root:
            where = f"{root}/{' or '.join(allowed[name])}"
            reading.note(name, f"one folder `data.init_args.root`, {root}, holds {task.tree}; link this one as {where}")
    valid, test = folders.get("valid_dir"), folders.get("test_dir")
    if (
        valid is not None
        and test is not None
        and valid != test
        and valid.name in task.test
        and valid.parent == test.parent
    ):
        reading.note("valid_dir", "validation is on the test pictures; `data.init_args.held_out` takes training ones")
    return root


def _path(text: str) -> PurePath:
    is_windows = "\\" in text or re.match(r"[A-Za-z]:", text)
    return PureWindowsPath(text) if is_windows else PurePosixPath(text)
