"""The settings of the published config.py are all known."""

import timm

from asim_lightning.exchange.published.known_settings import (
    AV,
    CNN,
    COMMON,
    CONV,
    FC,
    KNOWN,
    LINEAR,
    MLP,
    NETWORKS,
    PROJ,
    QK,
    VIT,
)


def test_names_of_networks() -> None:
    assert all(timm.is_model(name) for name in NETWORKS.values())
    assert len(NETWORKS) == 18


def test_every_macro_has_all_published_fields() -> None:
    assert len({tuple(keys) for keys in (CONV, LINEAR, QK, AV, PROJ, MLP, FC)}) == 1
    assert set(KNOWN) == {*COMMON, *CNN, *VIT}
    assert len(KNOWN) == 100
