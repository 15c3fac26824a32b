"""The pictures of a published config: data module, folder, image size, normalisation and augmentation."""

from pathlib import PureWindowsPath
from typing import Any, NamedTuple

from asim_lightning.exchange.published.assignments import Transform
from asim_lightning.exchange.published.given_settings import Given

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


def pictures_of(given: Given, is_transformer: bool) -> dict[str, Any]:
    """Values of the recipe for the data; if the file gives no size, images of transformers have 224 pixels."""
    task = TASKS[given.choice("task", tuple(TASKS))]
    train, valid, test = (_steps(given, f"transforms_{part}") for part in ("train", "valid", "test"))
    usual = 224 if is_transformer or task.margin > 1 else 32
    size = given.value("image_size") if "image_size" in given.settings else usual
    published = _step("Normalize", mean=task.mean, std=task.deviation)
    found = (published,) if test is None else tuple(step for step in test if step.name == "Normalize")[:1]
    normalize = found[0].keywords if found else {"mean": (0.0,) * 3, "std": (1.0,) * 3}
    plain = (_step("Resize", (size, size)), _step("ToTensor"), *found)
    squash = f"pictures are squashed to {size} x {size} and normalised with one mean and std"
    if test not in (None, plain):
        given.note("transforms_test", f"here {squash}, `image_size` and `normalize` of the data; {_OWN_MODULE}")
    if valid not in (None, plain if test is None else test):
        given.note("transforms_valid", f"here {squash} in validation, as in tests; {_OWN_MODULE}")
    return {
        "module": f"asim_lightning.data.{task.module}",
        "root": _root(given, task),
        "tree": task.tree,
        "image_size": size,
        "augment": _augmentation(given, train, plain, size, round(size * task.margin)),
        **({} if normalize == published.keywords else {"normalize": normalize}),
    }


def _step(name: str, /, *arguments: Any, **keywords: Any) -> Transform:
    return Transform(name, arguments, keywords)


def _steps(given: Given, name: str) -> tuple[Transform, ...] | None:
    """The steps of a pipeline, one transform after the other; None if the file has none."""
    match given.value(name):
        case None:
            return None
        case Transform("Compose", (tuple(steps),)) if all(isinstance(step, Transform) for step in steps):
            ends = ("mean", "std")  # arguments of Normalize, which a file may name
            return tuple(
                _step(each.name, **dict(zip(ends, each.arguments, strict=False)), **each.keywords)
                if each.name == "Normalize"
                else each
                for each in steps
            )
    raise given.error(name, f"must be transforms.Compose([...]) of transforms, got {given.shown(name)}")


def _augmentation(
    given: Given, train: tuple[Transform, ...] | None, plain: tuple[Transform, ...], size: int, first: int
) -> str:
    squash, *tail = plain
    crop = (_step("RandomCrop", size, padding=4), _step("RandomHorizontalFlip"))
    amounts = {"brightness": 0.5, "contrast": 0.5, "saturation": 0.5, "hue": 0.3}
    jitter = _step("RandomChoice", tuple(_step("ColorJitter", **{name: amount}) for name, amount in amounts.items()))
    squashed = (_step("Resize", (first, first)), _step("CenterCrop", first))
    if train == plain:
        return "none"
    if train in ((*crop, *tail), (squash, *crop, *tail)):
        return "crop_flip"
    if train not in (None, (jitter, *squashed, *crop, _step("RandomRotation", 15), *tail)):
        steps = f"jitter of a colour, squash to {first}, crop to {size}, mirror, turn"
        given.note("transforms_train", f"here `augment: published` ({steps}); {_OWN_MODULE}")
    return "published"


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
