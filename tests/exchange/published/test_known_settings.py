"""The settings of the published config.py are all known."""

import timm

from asim_lightning.exchange.published import known_settings as known


def test_networks_and_macros() -> None:
    assert all(timm.is_model(name) for name in known.NETWORKS.values())
    assert len(known.NETWORKS) == 18
    macros = (known.CONV, known.LINEAR, known.QK, known.AV, known.PROJ, known.MLP, known.FC)
    assert len({tuple(keys) for keys in macros}) == 1  # all fields in each
    assert len(known.KNOWN) == 100
