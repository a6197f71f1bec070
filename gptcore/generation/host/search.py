"""Greedy search and sampling: the token that scores highest, or that is drawn."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gptcore.errors import InputError
from gptcore.generation.config import GenerationConfig
from gptcore.generation.host.stepper import Logits, Stepper
from gptcore.generation.prompt import Ids
from gptcore.spec.counters import gumbel

DecodeText = Callable[[Ids], str]

NOTHING = -1
"""In place of a token, where none can be chosen."""


def holds_stop(config: GenerationConfig, decode_text: DecodeText | None, tokens: Ids) -> bool:
    """Whether the text of new tokens (N,) holds one of the ``stop_strings``."""
    if not config.stops or decode_text is None:
        return False
    text = decode_text(tokens)
    return any(stop in text for stop in config.stops)


class Search:
    """One way of choosing tokens, with the model that reads them.

    Args:
        stepper: the model.
        config: how to generate.
    """

    def __init__(self, stepper: Stepper, config: GenerationConfig) -> None:
        self.stepper, self.config = stepper, config
        self.state: Any = None

    def start(self, input_ids: Ids, attention_mask: NDArray[np.bool_], capacity: int) -> Logits:
        """Read prompts; arguments and result as those of a ``Stepper``."""
        logits, self.state = self.stepper.start(input_ids, attention_mask, capacity)
        return logits

    def choose(self, scores: Logits, step: int) -> Ids:
        """The next token of each row, (B,), or ``NOTHING``, from processed scores (B, V); ``step`` counts from 0."""
        return choose(self.config, scores, step)

    def advance(self, tokens: Ids) -> Logits:
        """Read the tokens that were chosen, (B,); the logits (B, V) behind them."""
        logits, self.state = self.stepper.step(tokens, self.state)
        return logits


def choose(config: GenerationConfig, scores: Logits, step: int) -> Ids:
    """The highest score of each row or, in sampling, the highest sum of score and noise. (B, V) -> (B,)

    ``NOTHING`` where the highest score is not finite: a logit is infinite or not a number, or no token is allowed.
    """
    chosen = np.where(usable(scores), scores.argmax(-1), NOTHING)
    if not config.do_sample:
        return chosen
    for i, row in enumerate(scores):
        if chosen[i] == NOTHING:
            continue
        candidates = np.flatnonzero(row > -np.inf)
        noise = gumbel(config.seed, i % config.num_return_sequences, step, candidates)
        chosen[i] = candidates[(row[candidates] + noise).argmax()]
    return chosen


def usable(scores: Logits) -> NDArray[np.bool_]:
    """Whether a token can be chosen in each row: (B, V) -> (B,)"""
    finite: NDArray[np.bool_] = np.isfinite(scores.max(-1))
    return finite


def check_chosen(chosen: NDArray[np.bool_]) -> None:
    """Raise an ``InputError`` for the first row, of (B,) or (B, N), where no token could be chosen."""
    rows = np.nonzero(~chosen)[0]
    if len(rows):
        raise InputError(
            f"cannot choose a token in row {rows[0]}: its logits are infinite or not a number, or no token is allowed. "
            "Check the weights and their dtype, or relax bad_words_ids, no_repeat_ngram_size and min_new_tokens."
        )
