"""Whatever the user gets wrong about a fit, the answer is one line, exit code 2, and no traceback."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy
import pytest
import torch
import yaml
from PIL import Image

from asim_lightning.cli.parser import AsimCLI  # noqa: F401  Lightning logs to the standard error of its first import
from tests.cli.conftest import Asim, Run
from tests.data import published_layouts as layouts

Write = Callable[..., Path]

CALLBACKS = "asim_lightning.callbacks"

FLAGS = {
    "classes": (("--model.num_classes", "7"), "`model.num_classes` must be 10, as in the data, got 7"),
    "typo": (
        ("--model.optimizer.lrr", "0.1"),
        "`model.optimizer.lrr` is no setting; nearest: model.optimizer.lr",
    ),
    "negative rate": (("--model.optimizer.lr", "-0.1"), "`model.optimizer.lr` must be above 0, got -0.1"),
    "no number": (("--model.optimizer.lr", "fast"), "`model.optimizer.lr` must be float, got fast"),
    "noise model": (
        ("--model.train_noise_model", "proportionel"),
        "`train_noise_model` must be proportional, macro, chip or an import path such as package.module.Class, got "
        "'proportionel'; did you mean proportional?",
    ),
    "noise model of another kind": (
        ("--model.train_noise_model", "collections.OrderedDict"),
        "`train_noise_model` must be proportional, macro, chip or an import path such as package.module.Class, got "
        "'collections.OrderedDict', which does not inherit TrainingNoise",
    ),
    "noise arguments": (
        ("--model.train_noise_args", "{by: 3}"),
        "`train_noise_args` does not fit proportional: ",
    ),
    "negative noise": (("--model.train_noise", "-1"), "`model.train_noise` must be 0 or more, got -1.0"),
    "infinite noise": (("--model.train_noise", ".inf"), "`model.train_noise` must be 0 or more, got inf"),
    "mixup": (("--model.mixup", "-1"), "`model.mixup` must be 0 or more, got -1.0"),
    "smoothing": (("--model.label_smoothing", "1.5"), "`model.label_smoothing` must be 0..1, got 1.5"),
    "warm-up": (
        ("--model.optimizer.warmup", "0.1"),
        "`model.optimizer.warmup` must be 0 with schedule multistep, got 0.1",
    ),
    "schedule": (
        ("--model.optimizer.schedule", "cosin"),
        "`model.optimizer.schedule` must be one of multistep, cosine, constant, got 'cosin'",
    ),
    "missing checkpoint": (("--ckpt_path", "nosuch.ckpt"), "There is no file 'nosuch.ckpt'"),
}


@pytest.mark.parametrize("case", FLAGS.values(), ids=FLAGS)
def test_flags(case: tuple[tuple[str, ...], str], asim: Asim, written: Write) -> None:
    arguments, expected = case
    error = asim("fit", "-c", written(), *arguments).error
    assert error.startswith(expected)
    assert "\n" not in error
    assert not list(Path().glob("runs/**/*.ckpt"))


RAMP, SWEEP, LAST = "NoiseRamp", "NoiseSweep", "LastCheckpoint"
WITH_CALLBACKS = {
    "negative ramp": (RAMP, {"end": -1}, "`end` of NoiseRamp must be 0 or more, got -1"),
    "negative start": (RAMP, {"end": 1, "start": -1}, "`start` of NoiseRamp must be 0 or more, got -1"),
    "shape": (
        RAMP,
        {"end": 1, "shape": "cosin"},
        "`shape` of NoiseRamp must be one of constant, linear, cosine, step, got 'cosin'; did you mean cosine?",
    ),
    "unit": (RAMP, {"end": 1, "unit": "epochs"}, "got 'epochs'; did you mean epoch?"),
    "length": (RAMP, {"end": 1, "length": 0}, "`length` of NoiseRamp must be above 0 or null, got 0"),
    "typo of a ramp": (RAMP, {"ent": 1}, "is no setting; nearest: "),
    "no levels": (SWEEP, {"levels": []}, "`levels` of NoiseSweep must be a list of one or more noise levels, got []"),
    "negative level": (SWEEP, {"levels": [-1]}, "-1"),
    "axis": (SWEEP, {"levels": [1], "axis": "noise"}, "`axis` of NoiseSweep must be one of random_noise, "),
    "no step": (
        LAST,
        {"every_n_train_steps": 0},
        "`every_n_train_steps` of LastCheckpoint must be 1 or more, or null, got 0",
    ),
}


@pytest.mark.parametrize("case", WITH_CALLBACKS.values(), ids=WITH_CALLBACKS)
def test_callbacks(case: tuple[str, dict[str, Any], str], asim: Asim, written: Write) -> None:
    name, arguments, expected = case
    callback = {"class_path": f"{CALLBACKS}.{name}", "init_args": arguments}
    error = asim("fit", "-c", written(trainer__callbacks=[callback])).error
    assert expected in error
    assert "Error" not in error


def test_a_ramp_on_the_command_line(asim: Asim, written: Write) -> None:
    arguments = ("--trainer.callbacks+=NoiseRamp", "--trainer.callbacks.end=-1")
    assert "`end` of NoiseRamp must be 0 or more, got -1" in asim("fit", "-c", written(), *arguments).error


@pytest.mark.parametrize("weights_only", [True, False])
def test_checkpoint_of_another_network(weights_only: bool, asim: Asim, run: Run, written: Write) -> None:
    checkpoint = torch.load(run.checkpoint, weights_only=True)
    if weights_only:
        checkpoint = {"state_dict": checkpoint["state_dict"], "pytorch-lightning_version": "2.6.6"}
    torch.save(checkpoint, "other.ckpt")
    wide = "{in_chans: 1, stem_width: 4, channels: [8, 16, 32, 128]}"
    error = asim("fit", "-c", written(), "--ckpt_path", "other.ckpt", "--model.backbone.kwargs", wide).error
    assert error.startswith("other.ckpt does not fit resnet10t as `model.backbone` describes it: size mismatch for ")
    assert not list(Path().glob("runs/**/*.ckpt"))


# data


def colour(kind: str, root: Path, **options: Any) -> dict[str, Any]:
    """Changes of the tiny configuration: colour pictures."""
    return {
        "data": {
            "class_path": f"asim_lightning.data.{kind}",
            "init_args": {"root": str(root), "batch_size": 10, "eval_batch_size": 10, "image_size": 32, **options},
        },
        "model__backbone__kwargs": {"in_chans": 3, "stem_width": 4, "channels": [8, 16, 32, 64]},
        "model__backbone__image_size": 32,
    }


EMPTY = {
    "CIFAR10": "The CIFAR-10 folder {0} holds none of its layouts; expected {0}/cifar-10-batches-py/{{data_batch_1,",
    "ImageFolder": "The folder {0} lacks train; expected {0}/train/<class>/*.jpg and {0}/{{val,valid,test}}/<class>/",
    "ImageNet": "{0}",
}


@pytest.mark.parametrize("kind", EMPTY)
def test_empty_folder(kind: str, asim: Asim, written: Write, folder: Path) -> None:
    (folder / "empty").mkdir()
    error = asim("fit", "-c", written(**colour(kind, folder / "empty"))).error
    assert EMPTY[kind].format(folder / "empty") in error


def test_empty_folder_of_fashion_mnist(asim: Asim, written: Write, folder: Path) -> None:
    (folder / "empty").mkdir()
    error = asim("fit", "-c", written(), "--data.init_args.root", "empty").error
    assert error == (
        "The Fashion-MNIST folder empty lacks train-images-idx3-ubyte[.gz]; expected "
        "empty/[FashionMNIST/raw/]{train,t10k}-{images-idx3,labels-idx1}-ubyte[.gz]."
    )


def test_truncated_pickle(asim: Asim, written: Write, folder: Path) -> None:
    below = layouts.write_cifar10_pickles(folder / "cifar", layouts.noisy(20, 10), layouts.noisy(10, 10))
    path = written(**colour("CIFAR10", folder / "cifar", augment="crop_flip"))
    content = (below / "data_batch_3").read_bytes()
    (below / "data_batch_3").write_bytes(content[:5000])
    error = asim("fit", "-c", path).error
    assert error.startswith(f"{below}/data_batch_3 must be a whole pickle of numbers, text and arrays: pickle data was")
    (below / "data_batch_3").write_bytes(content)
    assert asim("fit", "-c", path, "--trainer.limit_train_batches", "1").code == 0


@pytest.fixture
def pictures(folder: Path) -> Path:
    """12 training and 4 validation JPEGs of two classes, two of the former cut in the middle."""
    random = numpy.random.RandomState(0)
    for half, count in (("train", 6), ("val", 2)):
        for name in ("cat", "dog"):
            below = folder / "pictures" / half / name
            below.mkdir(parents=True)
            for number in range(count):
                pixels = random.randint(0, 256, (40, 40, 3), dtype=numpy.uint8)
                Image.fromarray(pixels).save(below / f"{number}.jpg")
    for name in ("cat/3.jpg", "dog/1.jpg"):
        path = folder / "pictures" / "train" / name
        path.write_bytes(path.read_bytes()[:900])
    return folder / "pictures"


def two_classes(root: Path, **options: Any) -> dict[str, Any]:
    changes = {**colour("ImageFolder", root, augment="crop_flip", **options), "model__num_classes": 2}
    changes["data"]["init_args"]["batch_size"] = 2
    return {**changes, "trainer__limit_train_batches": 1.0}


def test_a_corrupt_picture_is_named(asim: Asim, written: Write, pictures: Path) -> None:
    error = asim("fit", "-c", written(**two_classes(pictures))).error
    named = [pictures / "train" / name for name in ("cat/3.jpg", "dog/1.jpg")]
    assert any(error.startswith(f"{path} must be a whole image, but is corrupt or of another") for path in named)
    assert error.endswith("`skip_corrupt: true` leaves such files out.")


def test_a_corrupt_picture_that_a_worker_reads_is_named(asim: Asim, written: Write, pictures: Path) -> None:
    error = asim("fit", "-c", written(**two_classes(pictures, num_workers=1))).error
    assert error.startswith(f"{pictures}/train/")
    assert ".jpg must be a whole image, but is corrupt or of another format" in error
    assert error.endswith("`skip_corrupt: true` leaves such files out.")


@pytest.mark.filterwarnings("default:.*images are corrupt")
def test_corrupt_pictures_are_left_out(asim: Asim, written: Write, pictures: Path) -> None:
    path = written(**two_classes(pictures, skip_corrupt=True))
    with pytest.warns(UserWarning, match="corrupt") as caught:
        answer = asim("fit", "-c", path)
    assert answer.code == 0
    said = [str(each.message) for each in caught if "corrupt" in str(each.message)]
    assert said == [f"2 of 12 images are corrupt and left out, first {pictures}/train/cat/3.jpg."]
    assert yaml.safe_load(Path("runs/tiny/version_0/config.yaml").read_text())["data"]["init_args"]["skip_corrupt"]


def test_number_of_class_folders(asim: Asim, written: Write, pictures: Path) -> None:
    changes = {**two_classes(pictures), "model__num_classes": 10}
    assert asim("fit", "-c", written(**changes)).error == "`model.num_classes` must be 2, as in the data, got 10"


def test_validation_of_other_classes(asim: Asim, written: Write, pictures: Path) -> None:
    (pictures / "val" / "dog").rename(pictures / "val" / "dogs")
    error = asim("fit", "-c", written(**two_classes(pictures))).error
    assert error == f"The folders in {pictures}/val must be named as the 2 classes, cat to dog, got dogs."
