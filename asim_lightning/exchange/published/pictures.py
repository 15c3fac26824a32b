"""The pictures of a published config: folder, image size, normalisation and augmentation."""

from pathlib import PureWindowsPath
from typing import Any, NamedTuple

from asim_lightning.exchange.published.config_file import Given, Transform

_OWN_MODULE = "a LightningDataModule of your own, whose batches are (images, labels, indices), can do it"


class Task(NamedTuple):
    """A data set of the published simulator, and the layout of its folder."""

    module: str  # class in asim_lightning.data
    root: str  # if the file names no folder
    tree: str  # below the folder
    train: str  # folder of the training pictures
    test: tuple[str, ...]  # names that the folder of the test pictures may have
    mean: tuple[float, ...]  # of each channel
    deviation: tuple[float, ...]
    margin: float  # size that training pictures are squashed to before their crop, over that of the crop


TASKS = {
    "CIFAR-10": Task(
        "CIFAR10", "data", "{train,test}/<class>/*.png, or cifar-10-batches-py", "train", ("test",),
        (0.4914, 0.4822, 0.4465), (0.247, 0.2435, 0.2616), 1.0,
    ),
    "CIFAR-100": Task(
        "CIFAR100", "data", "{train,test}.csv with {train,test}_images, or cifar-100-python",
        "train_images", ("test_images",), (0.5071, 0.4867, 0.4408), (0.2675, 0.2565, 0.2761), 1.0,
    ),
    "ImageNet": Task(
        "ImageNet", "data/imagenet", "train/<wnid>/*.JPEG and valid (or val)/<wnid>/*.JPEG", "train", ("valid", "val"),
        (0.485, 0.456, 0.406), (0.229, 0.224, 0.225), 256 / 224,
    ),
}  # fmt: skip
"""The data sets by their published names."""


def pictures_of(given: Given, task: Task) -> dict[str, Any]:
    """Arguments of the data module that decide the pictures."""
    train, valid, test = (_steps(given.value(f"transforms_{part}")) for part in ("train", "valid", "test"))
    size = given.value("image_size")
    published = Transform("Normalize", keywords={"mean": task.mean, "std": task.deviation})
    found = (published,) if test is None else tuple(step for step in test if step.name == "Normalize")[:1]
    normalize = found[0].keywords if found else {"mean": (0.0,) * 3, "std": (1.0,) * 3}
    squash, *tail = plain = (Transform("Resize", ((size, size),)), Transform("ToTensor"), *found)
    here = f"pictures are squashed to {size} x {size} and normalised with one mean and std"
    if test not in (None, plain):
        given.note("transforms_test", f"here {here}, `image_size` and `normalize` of the data; {_OWN_MODULE}")
    if valid not in (None, plain if test is None else test):
        given.note("transforms_valid", f"here {here} in validation, as in tests; {_OWN_MODULE}")
    crop = (Transform("RandomCrop", (size,), {"padding": 4}), Transform("RandomHorizontalFlip"))
    first, augment = round(size * task.margin), "published"
    if train == plain:
        augment = "none"
    elif train in ((*crop, *tail), (squash, *crop, *tail)):
        augment = "crop_flip"
    elif train not in (None, (*_jittered(first), *crop, Transform("RandomRotation", (15,)), *tail)):
        steps = f"jitter of a colour, squash to {first}, crop to {size}, mirror, turn"
        given.note("transforms_train", f"here `augment: published` ({steps}); {_OWN_MODULE}")
    return {
        "root": _root(given, task),
        "image_size": size,
        "augment": augment,
        **({} if normalize == published.keywords else {"normalize": normalize}),
    }


def _steps(pipeline: Transform | None) -> tuple[Transform, ...] | None:
    """The steps of a pipeline; None if the file has none."""
    is_several = pipeline is not None and pipeline.name == "Compose"
    return pipeline and (pipeline.arguments[0] if is_several else (pipeline,))


def _jittered(size: int) -> tuple[Transform, ...]:
    """The beginning of the published augmentation."""
    amounts = {"brightness": 0.5, "contrast": 0.5, "saturation": 0.5, "hue": 0.3}
    jitters = tuple(Transform("ColorJitter", keywords={name: amount}) for name, amount in amounts.items())
    squashed = Transform("Resize", ((size, size),)), Transform("CenterCrop", (size,))
    return Transform("RandomChoice", (jitters,)), *squashed


def _root(given: Given, task: Task) -> str:
    """The folder in which the data module finds the content of the three folders."""
    allowed = {"train_dir": (task.train,), "valid_dir": task.test, "test_dir": task.test}
    # a path of Windows may have both kinds of slashes
    folders = {name: PureWindowsPath(given.value(name)) for name in allowed if given.value(name) is not None}
    roots = {name: path.parent.as_posix() for name, path in folders.items() if path.name in allowed[name]}
    root = next(iter(roots.values()), task.root)
    for name in folders:
        if roots.get(name) != root:
            where = f"{root}/{' or '.join(allowed[name])}"
            given.note(name, f"one folder `data.init_args.root`, {root}, holds {task.tree}; link this one as {where}")
    return root
