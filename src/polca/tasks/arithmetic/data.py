"""Three-digit addition (§4): `ddd+ddd=dddd`, twelve tokens, of which the four output digits are scored.

Summands are uniform over 000–999 with leading zeros (the paper does not say; recorded here). One random permutation of
all 10⁶ ordered pairs is cut into evaluation and training parts: the two are disjoint by construction, and no training
pair is seen twice (one epoch).
"""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from polca.errors import PolcaError
from polca.tasks.transformer import ModelConfig

PLUS, EQUALS = 10, 11
INPUT_VOCABULARY, OUTPUT_VOCABULARY = 12, 10
SUMMAND_DIGITS, OUTPUT_DIGITS = 3, 4
CONTEXT = 2 * SUMMAND_DIGITS + 2 + OUTPUT_DIGITS
PAIRS = 10 ** (2 * SUMMAND_DIGITS)


def encode(a: NDArray[np.int64], b: NDArray[np.int64]) -> NDArray[np.uint8]:
    """Summands `[S]` → tokens `[S, 12]`: digits as 0–9, `+` as 10, `=` as 11, sums with leading zeros."""

    def digits(n: NDArray[np.int64], count: int) -> NDArray[np.int64]:
        return n[:, None] // 10 ** np.arange(count)[::-1] % 10

    columns = [
        digits(a, SUMMAND_DIGITS),
        np.full((len(a), 1), PLUS),
        digits(b, SUMMAND_DIGITS),
        np.full((len(a), 1), EQUALS),
        digits(a + b, OUTPUT_DIGITS),
    ]
    return np.concatenate(columns, axis=1).astype(np.uint8)


@dataclass(frozen=True)
class ArithmeticData:
    """Tokens of the training examples `[N, 12]` in the order of training, and of the evaluation examples `[S, 12]`."""

    training: NDArray[np.uint8]
    evaluation: NDArray[np.uint8]


def make_data(training_examples: int, evaluation_examples: int, seed: int) -> ArithmeticData:
    """Draw disjoint training and evaluation examples.

    Raises:
        PolcaError: more examples are asked for than there are pairs.
    """
    for name, value in (("training", training_examples), ("evaluation", evaluation_examples)):
        if value < 1:
            raise PolcaError(f"arithmetic: {name} examples = {value}: must be at least 1")
    if training_examples + evaluation_examples > PAIRS:
        raise PolcaError(
            f"arithmetic: {training_examples} training (steps × batch_size) and {evaluation_examples} evaluation "
            f"examples are more than the {PAIRS} pairs of summands: lower training.steps, training.batch_size or "
            "data.evaluation_examples"
        )
    pairs = np.random.default_rng(seed).permutation(PAIRS)
    a, b = np.divmod(pairs[: evaluation_examples + training_examples], 10**SUMMAND_DIGITS)
    tokens = encode(a, b)
    return ArithmeticData(training=tokens[evaluation_examples:], evaluation=tokens[:evaluation_examples])


def model_config(layers: int, width: int, heads: int, mlp_width: int) -> ModelConfig:
    """The arithmetic model: 12 input and 10 output tokens, 4 predicting positions (published: 9,475,594 parameters)."""
    return ModelConfig(
        INPUT_VOCABULARY, OUTPUT_VOCABULARY, CONTEXT, layers, width, heads, mlp_width, targets=OUTPUT_DIGITS
    )


def batch(tokens: NDArray[np.uint8]) -> tuple[Tensor, Tensor]:
    """Tokens `[N, 12]` → `(inputs [N, 11], targets [N, 4])`: the last token is only ever a target."""
    ids = torch.from_numpy(tokens.astype(np.int64))
    return ids[:, :-1], ids[:, -OUTPUT_DIGITS:]
