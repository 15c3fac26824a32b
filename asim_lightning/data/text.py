"""A text as a Lightning data module: windows of tokens for a language model."""

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from pkgutil import resolve_name
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from asim_lightning.checks import check_whole
from asim_lightning.data.draws import positions_and_epochs
from asim_lightning.data.image_data_module import ImageDataModule
from asim_lightning.data.splits import ImageSplit, SplitName
from asim_lightning.hub import asked_once
from asim_lightning.nn.inputs import TokenWindows
from asim_lightning.resources import local_path

CHARACTERS, BYTES = "characters", "bytes"
"""Tokenizers whose tokens are the characters of the text, and the 256 values of its bytes in UTF-8."""
_NOT_COUNTED = -100
"""Target of a token that an earlier window has counted."""
_OBJECT = re.compile(r"(?!package:)[^\W\d][\w.]*:[^\W\d][\w.]*")
"""A text in a Python module."""
_DIGITS = 12
_STRETCHES = 8
"""Stretches of neighbouring windows that intervals resample."""
_GOLDEN = (5**0.5 - 1) / 2
"""Multiples of it, modulo 1, are spread evenly at any number of them."""


class Text(ImageDataModule, TokenWindows):
    """Windows of a text's tokens; batches are ``[tokens, targets, indices]``, int64.

    tokens: (batch, window); targets: (batch, window), the same tokens, because the outcomes perplexity and next_token
    compare each output with the token after it; indices: (batch,), the numbers of the windows in their part of the
    text. The first token of a window is only context.

    The test part has `test_windows` windows, spread evenly over the text, and the train part has the windows that share
    no token with them. Without `spread`, the test part has the last windows of the text. Tokens that fill no window are
    left out.

    **Neighbours are alike.** Windows next to each other have the same subject, so they tell less than as many windows
    from all over the text. If evaluated windows are nearer than one window to each other, without `spread` or if they
    are more than half of the text, the windows of each of eight stretches belong together, and are resampled together.
    Coverage of 95 % intervals in 40 studies that a long text was cut into:

    =================================  ==============  ===============  ================
    windows of 128 tokens in a study   single windows  eight stretches  spread (default)
    =================================  ==============  ===============  ================
    small GPT, perplexity, 32          45 %            70 %             90 %
    small GPT, perplexity, 88          35 %            78 %             100 %
    small GPT, change by 0.1 LSB, 32   92 %            100 %            95 %
    small GPT, change by 0.15 LSB, 32  82 %            90 %             92 %
    SmolLM2-135M, perplexity, 32       78 %            92 %             100 %
    =================================  ==============  ===============  ================

    Neighbours still tell too little: a subject may be longer than a stretch.

    Attributes:
        digest: First 12 digits of the SHA-256 of the text, once it is read; perplexities compare only on equal texts.
        tokens: Number of tokens of the text, once it is read.

    Examples:
        >>> from asim_lightning.data import Text
        >>> text = Text("pydoc_data.topics:topics", tokenizer="bytes", window=64)  # Python's own help
        >>> tokens, targets, indices = next(iter(text.test_dataloader()))
        >>> tokens.shape, text.vocabulary
        (torch.Size([8, 64]), 256)
    """

    def __init__(
        self,
        files: str | list[str],
        tokenizer: str = CHARACTERS,
        tokenizer_kwargs: dict[str, Any] | None = None,
        window: int = 256,
        test_windows: int = 128,
        stride: int | None = None,
        batch_size: int = 8,
        eval_batch_size: int = 8,
        num_workers: int = 0,
        held_out: int = 0,
        seed: int = 0,
        spread: bool = True,
    ) -> None:
        """Check the arguments; read nothing yet.

        Args:
            files: Text files, UTF-8, which are joined by line ends: a path or several; package:NAME/PATH is a file in
                an installed package, and module:name a text, or texts by key, in an installed module, such as
                pydoc_data.topics:topics. Texts by key are joined in the order of their keys.
            tokenizer: characters (each character of the text is a token), bytes (each byte is one of 256 tokens,
                whatever the text), or a folder with a tokenizer of transformers, which package:NAME finds in an
                installed package, or its name on the Hugging Face hub.
            tokenizer_kwargs: More arguments of AutoTokenizer.from_pretrained, such as gguf_file.
            window: Tokens of a window: 2 or more.
            test_windows: Windows of the test part: 1 or more.
            stride: Least tokens from the start of a test window to the start of the next: 1 to window; null: `window`.
                With a smaller stride, tokens have more context, and each window after the first counts only its last
                `stride` tokens, so that no token counts twice.
            batch_size: Training windows a batch, on each process.
            eval_batch_size: Windows a batch in validation, test and calibration, on each process.
            num_workers: Processes that prepare batches; 0 is fast enough.
            held_out: Number of windows of the train part, spread evenly over it, that become the validation set; 0
                validates on the test windows.
            seed: Decides the order of training and calibration windows.
            spread: Whether test and held-out windows are spread evenly. False: they are the last ones of the text and
                of the train part, as for a network that was trained on all windows before these.

        Raises:
            ValueError: An argument is out of its range.
        """
        super().__init__(batch_size, eval_batch_size, num_workers, held_out, None, seed)
        check_whole("`window`", window, 2)
        check_whole("`test_windows`", test_windows, 1)
        check_whole("`stride`", window if stride is None else stride, 1, window)
        self.files, self.tokenizer, self.tokenizer_kwargs = files, tokenizer, dict(tokenizer_kwargs or {})
        self.window, self.test_windows, self.stride, self.spread = window, test_windows, stride or window, spread
        self.digest, self.tokens = "", 0
        self._read: tuple[Tensor, int] | None = None

    def __getstate__(self) -> dict[str, Any]:
        """The settings, without the text, which a copy reads itself."""
        return {**super().__getstate__(), "_read": None}

    @property
    def vocabulary(self) -> int:
        """Number of the tokenizer's tokens; reads the text."""
        return self._text()[1]

    @property
    def described(self) -> str:
        """The text in a line: its name, digest and tokens; reads the text.

        Raises:
            ValueError: The text is too short for the test windows.
        """
        self._split("test")
        name = ", ".join(_listed(self.files))
        scored = self.window - 1 + (self.test_windows - 1) * min(self.stride, self.window - 1)
        where = "spread over it" if self.spread else "at its end"
        tested = f"{self.test_windows:,} windows of {self.window:,} {where} test it on {scored:,}"
        held_out = f"; {self.held_out:,} others are for validation" * bool(self.held_out)
        return f"{name}, sha256 {self.digest}, {self.tokens:,} tokens; {tested}{held_out}"

    def read(self, split: SplitName) -> ImageSplit[Tensor]:
        """The windows of a part of the text and their targets. # (windows, window) both

        Raises:
            FileNotFoundError: A file or package is missing.
            ValueError: The text or the tokenizer cannot be read, or the text has too few tokens.
        """
        tokens, step = self._text()[0], self.stride
        starts = (len(tokens) - self.window) // step + 1  # windows of the whole text
        if starts < self.test_windows:
            needed = self.window + (self.test_windows - 1) * step
            raise ValueError(
                f"{self.test_windows:,} test windows of {self.window:,} tokens need a text of {needed:,} tokens, got "
                f"{len(tokens):,}; give a longer text, or smaller `test_windows` or `window`"
            )
        tested = self._chosen(starts, self.test_windows) * step  # where test windows begin
        if split != "test":
            is_free = torch.ones(len(tokens), dtype=torch.bool)
            is_free[tested[:, None] + torch.arange(self.window)] = False
            first = torch.arange(0, len(tokens) - self.window + 1, self.window)
            first = first[is_free.unfold(0, self.window, self.window).all(dim=1)]
            if not len(first):
                raise ValueError(
                    f"The train part needs a window of {self.window:,} tokens outside the test part, got none; give a "
                    "longer text, or smaller `test_windows`"
                )
            windows = tokens[first[:, None] + torch.arange(self.window)]
            return _TextSplit(windows, windows, torch.arange(len(windows)), first)
        windows = tokens[tested[:, None] + torch.arange(self.window)]
        targets = windows.clone()
        targets[1:, : self.window - step] = _NOT_COUNTED
        places = np.arange(len(windows))
        if self.spread and not self._are_near(tested):  # then each beginning of this order is spread, too
            places = (places * _GOLDEN % 1.0).argsort().argsort()
        return _TextSplit(windows, targets, torch.from_numpy(places), tested)

    def _chosen(self, windows: int, count: int) -> Tensor:
        """Numbers of `count` of some windows in a row: spread evenly, or the last ones. # (count,)"""
        places = torch.arange(count)
        return (2 * places + 1) * windows // (2 * count) if self.spread else windows - count + places

    def _are_near(self, starts: Tensor) -> bool:
        """Whether less than a window is between two windows, from the first token of each, rising. # (windows,)"""
        return len(starts) > 1 and int(starts.diff().min()) < 2 * self.window

    def dataset(self, split: ImageSplit[Any], indices: Tensor, augment: bool) -> "Windows":
        """See `ImageDataModule.dataset`."""
        numbers, groups = indices.sort().values, None
        if self._are_near(split.starts[numbers]):  # type: ignore[attr-defined]  # of `read`
            groups = torch.zeros(len(split.labels), dtype=torch.int64)  # (windows of the part,)
            groups[numbers] = torch.arange(len(numbers)) * _STRETCHES // len(numbers)
        return Windows(split.images, split.labels, indices, groups)

    def held_out_limit(self, labels: Tensor) -> int:
        """See `ImageDataModule.held_out_limit`: a window stays to train on."""
        return len(labels)

    def draw_held_out(self, labels: Tensor) -> Tensor:
        """The windows that `spread` says; see `ImageDataModule.draw_held_out`."""
        return self._chosen(len(labels), self.held_out)

    def _text(self) -> tuple[Tensor, int]:
        """The tokens of the text, int64, and the size of the vocabulary. # (tokens,)"""
        if self._read is None:
            text = "\n".join(map(_text_of, _listed(self.files)))
            own = {CHARACTERS: _characters, BYTES: _bytes}.get(self.tokenizer, self._tokenized)
            self._read = own(text)
            self.digest = hashlib.sha256(text.encode()).hexdigest()[:_DIGITS]
            self.tokens = len(self._read[0])
        return self._read

    def _tokenized(self, text: str) -> tuple[Tensor, int]:
        try:
            from transformers import AutoTokenizer
        except ModuleNotFoundError:
            raise ModuleNotFoundError(
                f"The tokenizer {self.tokenizer} needs transformers, which is not installed; pip install '.[lm]' in "
                f"the checkout installs it, and `tokenizer: {CHARACTERS}` or {BYTES} needs no package"
            ) from None
        folder = local_path(self.tokenizer)
        where = {"local_files_only": True} if folder.is_dir() else {}  # a folder needs no network
        name = str(folder) if folder.is_dir() else self.tokenizer
        try:
            with asked_once():
                found: Any = AutoTokenizer.from_pretrained(name, **where, **self.tokenizer_kwargs)
        except (OSError, ValueError) as error:
            raise ValueError(
                f"`tokenizer` must be {CHARACTERS}, {BYTES}, a folder or package:NAME with a tokenizer of transformers "
                f"(`tokenizer_kwargs.gguf_file` if it is in a GGUF file), or its name on the Hugging Face hub, got "
                f"{self.tokenizer}: {str(error).strip().splitlines()[0].rstrip(':')}"
            ) from error
        ids = found(text, add_special_tokens=False, verbose=False)["input_ids"]  # not verbose: any length is right
        return torch.tensor(ids, dtype=torch.int64), len(found)


@dataclass(frozen=True)
class _TextSplit(ImageSplit[Tensor]):
    starts: Tensor
    """The first token of each window, int64, rising. # (windows,)"""


class Windows(Dataset[Any]):
    """Some windows of a part of a text: tokens, targets and the number of the window."""

    def __init__(self, tokens: Tensor, targets: Tensor, indices: Tensor, groups: Tensor | None = None) -> None:
        """Keep references; `groups` has the stretch of each window of the part, see `groups_of`.

        # (windows, window), (windows, window), (samples,), (windows,)
        """
        self.tokens, self.targets, self.indices, self.groups = tokens, targets, indices, groups

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, yielded: int) -> tuple[Tensor, Tensor, int]:
        positions, _ = positions_and_epochs([yielded])
        index = int(self.indices[positions])
        return self.tokens[index], self.targets[index], index


def _listed(files: str | Sequence[str]) -> list[str]:
    return [files] if isinstance(files, str) else list(files)


def _text_of(given: str) -> str:
    """The text of a file, or in a Python module."""
    if not _OBJECT.fullmatch(given) or Path(given).exists():
        try:
            return local_path(given).read_text(encoding="utf-8")
        except UnicodeDecodeError as error:
            raise ValueError(f"`files` {given} must be text in UTF-8: {error}") from None
    try:
        found: Any = resolve_name(given)
    except (ImportError, AttributeError) as error:
        raise ValueError(f"`files` {given} cannot be imported: {error}") from None
    if isinstance(found, Mapping):
        found = "\n".join(found[key] for key in sorted(found))
    if not isinstance(found, str):
        raise ValueError(f"`files` {given} must be a text, or texts by key, got a {type(found).__name__}")
    return found


def _bytes(text: str) -> tuple[Tensor, int]:
    """The bytes of the text. # (bytes,)"""
    return torch.from_numpy(np.frombuffer(text.encode(), np.uint8).astype(np.int64)), 256


def _characters(text: str) -> tuple[Tensor, int]:
    """Each character's place among the sorted ones of the text. # (characters,)"""
    letters, places = np.unique(np.frombuffer(text.encode("utf-32-le"), np.uint32), return_inverse=True)
    return torch.from_numpy(places.astype(np.int64)), len(letters)
