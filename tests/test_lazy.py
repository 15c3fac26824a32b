"""Packages that import their names when they are first used."""

from types import ModuleType

import pytest

import asim_lightning
from asim_lightning import callbacks, data, exchange


@pytest.mark.parametrize("package", [asim_lightning, callbacks, data, exchange], ids=lambda package: package.__name__)
def test_each_name_is_found_and_no_other(package: ModuleType) -> None:
    for name in package.__all__:
        assert getattr(package, name).__name__ == name
    with pytest.raises(AttributeError, match=f"module '{package.__name__}' has no attribute 'nothing'"):
        _ = package.nothing
