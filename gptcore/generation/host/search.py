"""Greedy search and sampling: select the token with the highest score, or draw one at random."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gptcore.errors import InputError
from gptcore.generation.config import GenerationConfig
from gptcore.generation.host.stepper import Logits, Stepper
from gptcore.generation.prompt import Ids
from gptcore.spec.random_numbers import gumbel

DecodeText = Callable[[Ids], str]

NOTHING = -1
"""Stands for a token that cannot be selected."""


def holds_stop(config: GenerationConfig, decode_text: DecodeText | None, tokens: Ids) -> bool:
    """Whether the text of new tokens (N,) contains one of the ``stop_strings``."""
    if not config.stops or decode_text is None:
        return False
    text = decode_text(tokens)
    return any(stop in text for stop in config.stops)


class Search:
    """A method of selecting tokens, together with the model that runs on them.

    Args:
        stepper: The model.
        config: The settings.
    """

    def __init__(self, stepper: Stepper, config: GenerationConfig) -> None:
        self.stepper, self.config = stepper, config
        self.state: Any = None

    def start(self, input_ids: Ids, attention_mask: NDArray[np.bool_], capacity: int) -> Logits:
        """Run the model on prompts; arguments and result are those of ``Stepper.start``."""
        logits, self.state = self.stepper.start(input_ids, attention_mask, capacity)
        return logits

    def choose(self, scores: Logits, step: int) -> Ids:
        """Select the next token of each row, (B,), or ``NOTHING``, by scores (B, V); ``step`` counts from 0."""
        return choose(self.config, scores, step)

    def advance(self, tokens: Ids) -> Logits:
        """Run the model on the selected tokens (B,) and return the next logits (B, V)."""
        logits, self.state = self.stepper.step(tokens, self.state)
        return logits


def choose(config: GenerationConfig, scores: Logits, step: int) -> Ids:
    """Select the token with the highest score or, in sampling, the highest sum of score and noise. (B, V) -> (B,)

    Returns ``NOTHING`` where the highest score is not finite: a logit is infinite or NaN, or no token is allowed.
    """
    selected = np.where(usable(scores), scores.argmax(-1), NOTHING)
    if not config.do_sample:
        return selected
    for i, row in enumerate(scores):
        if selected[i] == NOTHING:
            continue
        candidates = np.flatnonzero(row > -np.inf)
        noise = gumbel(config.seed, i % config.num_return_sequences, step, candidates)
        selected[i] = candidates[(row[candidates] + noise).argmax()]
    return selected


def usable(scores: Logits) -> NDArray[np.bool_]:
    """Whether a token can be selected in each row. (B, V) -> (B,)"""
    finite: NDArray[np.bool_] = np.isfinite(scores.max(-1))
    return finite


def check_selected(selected: NDArray[np.bool_]) -> None:
    """Raise an ``InputError`` for the first row, of (B,) or (B, N), in which no token could be selected."""
    rows = np.nonzero(~selected)[0]
    if len(rows):
        raise InputError(
            f"cannot select a token in row {rows[0]}: its logits are infinite or NaN, or no token is allowed. "
            "Check the weights and their dtype, or relax bad_words_ids, no_repeat_ngram_size and min_new_tokens."
        )
