import pickle
import shutil
from itertools import product
from pathlib import Path
from typing import Any

import numpy
import pytest
import torch
import torchvision.datasets
from PIL import Image

from asim_lightning.data import CIFAR10, CIFAR100, cifar
from tests.data import published_layouts as layouts
from tests.data.real_pictures import real_pictures


def listed(data: Any, split: str = "test") -> tuple[torch.Tensor, torch.Tensor]:
    """Images, as bytes, and labels in the order of the files."""
    found = data._split(split)
    return found.images, found.labels


def by_picture(images: torch.Tensor, labels: torch.Tensor) -> list[tuple[int, bytes]]:
    return sorted((label, image.numpy().tobytes()) for image, label in zip(images, labels.tolist(), strict=True))


@pytest.mark.parametrize("split", ["train", "test"])
def test_class_folders_hold_the_pictures_and_labels_of_the_pickles(real_cifar: Path, split: str) -> None:
    pickles, folders = listed(CIFAR10(str(real_cifar)), split), listed(CIFAR10(str(real_cifar / "CIFAR10")), split)
    assert by_picture(*pickles) == by_picture(*folders)
    assert len({image for _, image in by_picture(*pickles)}) == 20
    assert pickles[1].tolist() == [label for _, label in real_pictures("cifar10")]


@pytest.mark.parametrize("split", ["train", "test"])
def test_tables_hold_the_labels_of_the_pickles_and_nearly_the_pictures(real_cifar: Path, split: str) -> None:
    pickles, table = listed(CIFAR100(str(real_cifar)), split), listed(CIFAR100(str(real_cifar / "Cifar100")), split)
    assert pickles[1].tolist() == table[1].tolist() == [label for _, label in real_pictures("cifar100")]
    difference = (pickles[0].int() - table[0].int()).abs()
    assert difference.float().mean() < 1.0  # of 255: JPEG of quality 100
    assert difference.max() <= 8


@pytest.mark.parametrize(("kind", "below"), [(CIFAR10, "cifar-10-batches-py"), (CIFAR100, "cifar-100-python")])
def test_pickles_are_read_as_torchvision_reads_them(real_cifar: Path, kind: Any, below: str, monkeypatch: Any) -> None:
    reference = getattr(torchvision.datasets, kind.__name__)
    monkeypatch.setattr(reference, "_check_integrity", lambda _: True)
    monkeypatch.setattr(reference, "_load_meta", lambda _: None)
    for root, train in product((real_cifar, real_cifar / below), (True, False)):
        expected = reference(str(real_cifar), train=train)
        images, labels = listed(kind(str(root)), "train" if train else "test")
        assert numpy.array_equal(images.permute(0, 2, 3, 1).numpy(), expected.data)
        assert labels.tolist() == expected.targets


def test_evaluation_order_of_each_layout(real_cifar: Path) -> None:
    pickles, folders = CIFAR10(str(real_cifar)), CIFAR10(str(real_cifar / "CIFAR10"), test_images=8)
    assert next(iter(pickles.test_dataloader()))[2].tolist() == list(range(20))
    _, labels, indices = next(iter(folders.test_dataloader()))
    # Eight classes have pictures: each once, whatever part of the folders comes first.
    assert sorted(labels.tolist()) == [0, 1, 3, 5, 6, 7, 8, 9]
    assert folders._split("test").labels[indices].tolist() == labels.tolist()


def test_a_folder_without_any_layout_is_refused_with_all_of_them(tmp_path: Path) -> None:
    absent = tmp_path / "absent"
    with pytest.raises(FileNotFoundError, match=rf"folder {absent} does not exist .* expected {absent}/cifar"):
        CIFAR100(str(absent)).setup("fit")
    with pytest.raises(FileNotFoundError, match=r"holds none of its layouts; expected .*data_batch_5,test_batch\}, or"):
        CIFAR10(str(tmp_path)).setup("test")


@pytest.fixture
def copied(tmp_path: Path, noisy_cifar10: Path) -> Path:
    shutil.copytree(noisy_cifar10, tmp_path / "copy")
    return tmp_path / "copy" / "cifar-10-batches-py"


def test_missing_pickles_are_named(copied: Path) -> None:
    (copied / "data_batch_5").unlink()
    (copied / "data_batch_2").unlink()
    for root in (copied, copied.parent):
        with pytest.raises(FileNotFoundError, match="lacks data_batch_2, data_batch_5; expected cifar-10-batches-py/"):
            CIFAR10(str(root)).setup("fit")
    CIFAR10(str(copied)).setup("test")


@pytest.mark.parametrize(
    "change",
    [
        {"labels": [0, 1]},
        {"labels": None},
        {"data": numpy.zeros((20, 1024), numpy.uint8)},
        {"data": numpy.zeros((20, 3072), numpy.int64)},
        {"data": [1, 2]},
        {"data": numpy.zeros((0, 3072), numpy.uint8), "labels": []},
    ],
)
def test_other_content_is_refused(copied: Path, change: dict[str, Any]) -> None:
    content = pickle.loads((copied / "test_batch").read_bytes(), encoding="latin1")
    (copied / "test_batch").write_bytes(pickle.dumps({**content, **change}, 4))
    with pytest.raises(ValueError, match=f"{copied / 'test_batch'} must hold .*(label|`data`)"):
        CIFAR10(str(copied)).setup("test")


def test_nothing_that_a_pickle_names_is_run(copied: Path) -> None:
    (copied / "test_batch").write_bytes(f"cos\nmkdir\n(V{copied}/trace\ntR.".encode())
    with pytest.raises(ValueError, match=r"test_batch must be a whole pickle .*it names os\.mkdir"):
        CIFAR10(str(copied)).setup("test")
    assert not (copied / "trace").exists()


@pytest.fixture
def folders(tmp_path: Path) -> Path:
    for half in ("train", "test"):
        samples = layouts.plain(range(20), [i % 10 for i in range(20)])
        layouts.write_class_folders(tmp_path / half, samples, layouts.CIFAR10_CLASSES)
    return tmp_path


def test_class_folders_that_do_not_fit(folders: Path) -> None:
    shutil.rmtree(folders / "train" / "cat")
    with pytest.raises(ValueError, match=r"train must hold 10 class folders, got 9$"):
        CIFAR10(str(folders)).setup("fit")
    Image.new("RGB", (32, 31)).save(folders / "train" / "dog" / "a.png")
    (folders / "train" / "cat").mkdir()
    with pytest.raises(ValueError, match=r"dog/a\.png must be an image of 32 x 32, got 32 x 31$"):
        CIFAR10(str(folders)).setup("fit")


def test_a_corrupt_picture_is_left_out_with_a_warning(folders: Path) -> None:
    _, expected = listed(CIFAR10(str(folders)), "train")
    victim = folders / "train" / "bird" / "00000002.png"
    victim.write_bytes(victim.read_bytes()[:60])
    data = CIFAR10(str(folders), skip_corrupt=True, augment="none", batch_size=50)
    with pytest.warns(UserWarning, match=r"^1 of 20 images are corrupt and left out, first .*00000002\.png$"):
        data.setup("fit")
    _, labels, indices = next(iter(data.train_dataloader()))
    assert sorted(indices.tolist()) == [i for i in range(20) if i != 4]  # the others keep their index
    assert expected[indices].tolist() == labels.tolist()


@pytest.fixture
def table(tmp_path: Path) -> Path:
    for half in ("train", "test"):
        layouts.write_table(tmp_path, half, layouts.plain(range(6), [0, 99, 5, 6, 7, 8]))
    return tmp_path


def test_a_missing_table_or_picture_is_named(table: Path) -> None:
    (table / "train_images" / "train_3.jpg").unlink()
    with pytest.raises(FileNotFoundError, match=r"The image .*train_images/train_3\.jpg does not exist$"):
        CIFAR100(str(table)).setup("fit")
    (table / "train.csv").unlink()
    with pytest.raises(FileNotFoundError, match=r"train\.csv"):
        CIFAR100(str(table)).setup("fit")
    shutil.rmtree(table / "test_images")
    with pytest.raises(FileNotFoundError, match=r"test_images/test_0\.jpg does not exist"):
        CIFAR100(str(table)).setup("test")


@pytest.mark.parametrize(
    "content",
    [
        "image_id,labels\ntest_0.jpg,1\n",
        "image_id,fine_labels\n",
        "image_id,fine_labels\ntest_0.jpg,100\n",
        "image_id,fine_labels\ntest_0.jpg,cat\n",
    ],
)
def test_other_tables_are_refused(table: Path, content: str) -> None:
    (table / "test.csv").write_text(content)
    with pytest.raises(ValueError, match=f"^{table / 'test.csv'} must h.*label"):
        CIFAR100(str(table)).setup("test")


def test_download_is_left_to_torchvision_and_only_where_asked_for(
    tmp_path: Path, folders: Path, copied: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[tuple[str, str, str, str]] = []
    monkeypatch.setattr(
        cifar, "download_and_extract_archive", lambda url, root, filename, md5: calls.append((url, root, filename, md5))
    )
    CIFAR10(str(tmp_path / "a")).prepare_data()
    CIFAR10(str(folders), download=True).prepare_data()  # there is another layout already
    assert calls == []
    expected = torchvision.datasets.CIFAR100
    CIFAR100(str(tmp_path / "a"), download=True).prepare_data()
    assert calls == [(expected.url, str(tmp_path / "a"), expected.filename, expected.tgz_md5)]
    CIFAR10(str(copied.parent), download=True).prepare_data()  # its pickles are not the published ones
    assert len(calls) == 2
    monkeypatch.setattr(cifar, "check_integrity", lambda *_: True)
    CIFAR10(str(copied.parent), download=True).prepare_data()
    assert len(calls) == 2
