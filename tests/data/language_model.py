"""A small language model of transformers and its tokenizer, saved in a folder: each byte is a token."""

from pathlib import Path
from typing import Any

import torch


def write_language_model(folder: Path, windows: torch.Tensor | None = None, **sizes: Any) -> str:
    """Save a LlamaForCausalLM of two layers, and a tokenizer of 256 bytes; return the folder.

    Weights are random, or trained in 40 steps on some windows of tokens. # (windows, window)
    """
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast
    from transformers.utils.logging import disable_progress_bar

    disable_progress_bar()  # as a command does, before it imports transformers
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE(vocab={letter: number for number, letter in enumerate(letters)}, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token=letters[0]).save_pretrained(folder)
    usual = {"hidden_size": 16, "intermediate_size": 32, "num_attention_heads": 2, "num_key_value_heads": 1}
    config = LlamaConfig(
        vocab_size=256, num_hidden_layers=2, max_position_embeddings=64, initializer_range=0.5, **{**usual, **sizes}
    )
    torch.manual_seed(0)
    network = LlamaForCausalLM(config)
    optimizer = torch.optim.AdamW(network.parameters(), 0.01)
    for _ in range(0 if windows is None else 40):
        optimizer.zero_grad()
        network(windows, labels=windows).loss.backward()
        optimizer.step()
    network.save_pretrained(folder)
    return str(folder)
