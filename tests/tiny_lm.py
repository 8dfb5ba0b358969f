"""Tiny causal language models of Hugging Face, trained for a moment and saved as folders of checkpoints."""

from pathlib import Path
from typing import Any

import numpy as np
import torch

STEPS, INTERVAL = 200, 25
WORDS = ("the", "cat", "dog", "sat", "ran", "on", "under", "mat", "log", "and", "then", "it", ".", "again", "slept")


def corpus(seed: int = 0, sentences: int = 500) -> str:
    """Sentences of a small grammar."""
    rng = np.random.default_rng(seed)
    said = []
    for _ in range(sentences):
        a, b = rng.choice(["cat", "dog"]), rng.choice(["mat", "log"])
        verb, where = rng.choice(["sat", "ran", "slept"]), rng.choice(["on", "under"])
        said.append(f"the {a} {verb} {where} the {b} .")
    return " ".join(said)


def tokenizer() -> Any:
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from tokenizers.pre_tokenizers import WhitespaceSplit
    from transformers import PreTrainedTokenizerFast

    vocabulary = {word: i for i, word in enumerate((*WORDS, "?"))}
    raw = Tokenizer(WordLevel(vocabulary, unk_token="?"))
    raw.pre_tokenizer = WhitespaceSplit()
    return PreTrainedTokenizerFast(tokenizer_object=raw, unk_token="?")


def config(kind: str) -> Any:
    from transformers import GPT2Config, GPTNeoXConfig

    size = len(WORDS) + 1
    ends = {"bos_token_id": 0, "eos_token_id": 0}
    if kind == "gpt2":
        return GPT2Config(vocab_size=size, n_embd=16, n_layer=2, n_head=2, n_positions=32, **ends)
    return GPTNeoXConfig(
        vocab_size=size,
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=32,
        **ends,
    )


def train(kind: str, directory: Path) -> Path:
    """Train and save `step0` … `step200`, with a tokenizer and `text.txt` beside them."""
    from transformers import AutoModelForCausalLM

    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(config(kind), attn_implementation="eager")
    encoder = tokenizer()
    encoder.save_pretrained(directory)
    (directory / "text.txt").write_text(corpus(1), encoding="utf-8")
    ids = torch.tensor(encoder(corpus(0, 2000))["input_ids"])
    optimizer = torch.optim.AdamW(model.parameters(), 3e-3)
    generator = torch.Generator().manual_seed(0)
    for step in range(STEPS + 1):
        if step % INTERVAL == 0:
            model.eval().save_pretrained(directory / f"step{step}")
            model.train()
        starts = torch.randint(0, len(ids) - 17, (8,), generator=generator)
        batch = torch.stack([ids[s : s + 17] for s in starts])
        loss = model(batch, labels=batch, use_cache=False).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return directory
