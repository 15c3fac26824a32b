"""Codes from files in place of a layer's own: the same codes change nothing, and others are counted."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from asim_lightning.classifier.network import GivenNetwork
from asim_lightning.silicon.folder import write_folder
from asim_lightning.silicon.recording import Chosen, layer_vectors
from asim_lightning.silicon.replay import GivenCodes, read_codes, replay
from asim_lightning.surgery import macro_layers
from tests.silicon.conftest import PLACES, with_macro
from tests.silicon.test_recording import NOISY


@pytest.mark.parametrize("ideal", [False, True])
@pytest.mark.parametrize("form", ["hex", "csv"])
@pytest.mark.parametrize("layer", ["conv.0", "qkv", "qk", "head"])
def test_own_codes_give_the_same_answers_to_the_bit(
    network: GivenNetwork, images: Tensor, tmp_path: Path, layer: str, form: str, ideal: bool
) -> None:
    with_macro(network, NOISY.with_fields(votes=3, vote_levels=2, digital_levels=1))
    chosen = Chosen(layer, ideal=ideal)
    write_folder(tmp_path, layer_vectors(network, images, PLACES, chosen), form)
    given = read_codes(tmp_path)
    assert given.images == PLACES
    assert given.settings == {"layer": layer, "read": 0, "chip": 0, "ideal": ideal}
    found = replay(network, images, PLACES, given, chosen)
    assert found.equal_outputs is True
    assert found.snr == found.own_snr
    assert {off for off, count in found.off.items() if count} == {0}


def test_other_codes_are_counted_and_those_of_some_positions_answer_nothing(
    network: GivenNetwork, images: Tensor, tmp_path: Path
) -> None:
    with_macro(network, NOISY)
    chosen = Chosen("qkv", slice(2, 5))
    write_folder(tmp_path, layer_vectors(network, images, PLACES, chosen), "csv")
    own = read_codes(tmp_path / "codes.csv")
    codes = own.codes.copy()
    codes[:7] += np.array([1, 1, 1, 2, 2, 5, 5]) * np.where(codes[:7] < 30, 1, -1)
    found = replay(network, images, PLACES, GivenCodes("x", own.at, codes), Chosen("qkv"))
    assert {off: count for off, count in found.off.items() if off and count} == {1: 3, 2: 2, 5: 2}
    assert (found.equal_outputs, found.outputs) == (None, None)
    assert found.snr != found.own_snr
    at_two = own.at[:, 1] == 2 + (own.at[:, 0] == 3)  # position 2 of image 17, position 3 of image 3
    both = replay(network, images, PLACES, GivenCodes("x", own.at[at_two], codes[at_two]), Chosen("qkv"))
    snrs = [
        replay(network, images, PLACES, GivenCodes("x", own.at[each], codes[each]), Chosen("qkv")).own_snr
        for each in (at_two & (own.at[:, 0] == place) for place in PLACES)
    ]
    assert min(snrs) < both.own_snr < max(snrs)
    assert found.mean_off * found.codes == pytest.approx((codes - own.codes).sum())
    assert found.positions == (6, 128)
    assert "7 differ from its own (read 0 of chip 0): 3 by 1, 2 by 2, 2 by 5" in str(found)


def test_codes_of_another_shape_are_refused(network: GivenNetwork, images: Tensor, tmp_path: Path) -> None:
    with_macro(network, NOISY)
    write_folder(tmp_path, layer_vectors(network, images, PLACES, Chosen("head")), "csv")
    given = read_codes(tmp_path)
    with pytest.raises(ValueError, match=r"must have each of 64 codes .* once .*, got 63 for image 3, position 0"):
        replay(network, images, PLACES, GivenCodes("x", given.at[:-1], given.codes[:-1]), Chosen("head"))
    other = given.at.copy()
    other[3, 6] = 1
    with pytest.raises(ValueError, match=r"x must have vote 0\.\.0 for layer `head`, got 1"):
        replay(network, images, PLACES, GivenCodes("x", other, given.codes), Chosen("head"))
    other = given.at.copy()
    other[3, 4] = 9
    with pytest.raises(ValueError, match=r"x must have output 0\.\.3 for layer `head`, got 9"):
        replay(network, images, PLACES, GivenCodes("x", other, given.codes), Chosen("head"))
    for code in (-1.0, 64.0, 1.5):
        codes = np.where(np.arange(len(given.codes)) == 5, code, given.codes)
        with pytest.raises(ValueError, match=rf"x must have whole codes 0\.\.63 in cycle \d+, got {code:g}"):
            replay(network, images, PLACES, GivenCodes("x", given.at, codes), Chosen("head"))
    with_macro(network, NOISY.with_fields(adc_bits=5))
    with pytest.raises(ValueError, match="was written for a macro with adc_bits 6, and layer `head` has adc_bits 5"):
        replay(network, images, PLACES, given, Chosen("head"))
    (tmp_path / "head.csv").write_text("image,position,tile,group,output,cycle,vote,code\n")
    with pytest.raises(ValueError, match="must have a line for each code, got only the names of columns"):
        read_codes(tmp_path / "head.csv")
    (tmp_path / "bad.csv").write_text("image,position,code\n1,2,3\n")
    with pytest.raises(ValueError, match="must have the columns image, position, tile, group, output"):
        read_codes(tmp_path / "bad.csv")


@pytest.mark.parametrize("form", ["hex", "csv"])
def test_vectors_of_other_weights_or_inputs_are_refused(
    network: GivenNetwork, images: Tensor, tmp_path: Path, form: str
) -> None:
    with_macro(network, NOISY)
    chosen = Chosen("head")
    write_folder(tmp_path, layer_vectors(network, images, PLACES, chosen), form)
    given = read_codes(tmp_path)
    with pytest.raises(ValueError, match="was written for other inputs of layer `head`"):
        replay(network, images.flip(0), PLACES, given, chosen)
    with torch.no_grad():
        macro_layers(network.backbone)["head"].weight.mul_(torch.tensor([[1.0], [-1.0], [1.0], [1.0]]))
    with pytest.raises(ValueError, match="was written for other weights of layer `head`"):
        replay(network, images, PLACES, given, chosen)
    for operand in ("weights", "inputs"):
        file = next(tmp_path.glob(f"*_{operand}.*"))
        content = file.read_bytes()
        file.write_bytes(content.replace(b"1", b"0"))
        with pytest.raises(ValueError, match=f"{file.name} must be as `asim vectors` wrote it"):
            read_codes(tmp_path)
        file.write_bytes(content)
    read_codes(tmp_path)


@pytest.mark.parametrize(
    "content",
    ["[]", "3", "null", "{}", '{"layer": 1}', "{", '{"layer":"a","read":0,"chip":0,"ideal":0,"format":"hex"}'],
)
def test_a_folder_with_another_expected_json_is_refused(content: str, tmp_path: Path) -> None:
    (tmp_path / "expected.json").write_text(content)
    with pytest.raises(ValueError, match=r"expected\.json must be as `asim vectors` writes it, got "):
        read_codes(tmp_path)
