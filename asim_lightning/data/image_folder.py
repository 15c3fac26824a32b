"""Images in one folder for each class, as a Lightning data module."""

from pathlib import Path
from typing import Any

from asim_lightning.data.colour import ColourDataModule
from asim_lightning.data.image_files import ImageFiles, class_names, corrupt_images, list_class_folders
from asim_lightning.data.splits import ImageSplit, SplitName, spread


class ImageFolder(ColourDataModule):
    """Images in train/<class> and {val,valid,test}/<class>; batches are ``[images, labels, indices]``.

    Labels number the folders in train in sorted order, without hidden folders. Indices number the images in
    torchvision's listing of their split. Images are decoded when a loader reads them. Validation uses val or valid, and
    tests use test; if there is only one such folder, it serves for both. `published` means ImageNet's transforms and
    normalisation.

    Args:
        root: Folder of the data set.
        options: Options of `ColourDataModule`.

    Examples:
        >>> from asim_lightning.data import ImageFolder
        >>> # asim fit ... --data ImageFolder --data.root my/pictures
        >>> ImageFolder("my/pictures", image_size=96).image_size
        96
    """

    def __init__(self, root: str, **options: Any) -> None:
        super().__init__(root, **options)
        self._classes: list[str] | None = None

    @property
    def class_names(self) -> list[str]:
        """Names of the classes in the order of their labels: the sorted folders in train."""
        if self._classes is None:
            self._classes = class_names(self._folder("train"))
        return self._classes

    @property
    def num_classes(self) -> int:  # type: ignore[override]
        """Number of folders in train."""
        return len(self.class_names)

    _evaluation_folders: tuple[str, ...] = ("val", "valid", "test")

    @classmethod
    def tree(cls, root: str) -> str:
        """The layout expected below root."""
        return f"{root}/train/<class>/*.jpg and {root}/{{{','.join(cls._evaluation_folders)}}}/<class>/*.jpg"

    def _base(self) -> Path:
        """The folder that holds train."""
        return Path(self.root).expanduser()

    def _folder(self, split: SplitName) -> Path:
        base = self._base()
        if split == "train":
            names: tuple[str, ...] = ("train",)
        else:
            names = self._evaluation_folders if split == "val" else self._evaluation_folders[::-1]
        for name in names:
            if (base / name).is_dir():
                return base / name
        lacking = f"lacks {' or '.join(names)}" if base.is_dir() else "does not exist or is not a folder"
        raise FileNotFoundError(f"The folder {base} {lacking}; expected {self.tree(str(base))}")

    def validation_split(self) -> SplitName:
        """See `ImageDataModule.validation_split`."""
        # read once if both are the same folder.
        return "test" if self._folder("val") == self._folder("test") else "val"

    def read(self, split: SplitName) -> ImageSplit[ImageFiles]:
        """See `ImageDataModule.read`."""
        return self._in_use(*list_class_folders(self._folder(split), self.class_names))

    def _in_use(self, files: ImageFiles, labels: Any) -> ImageSplit[ImageFiles]:
        listed = ImageSplit(files, labels, spread(labels, seed=0, shuffle=False))
        return listed.without(corrupt_images(files)) if self.skip_corrupt else listed
