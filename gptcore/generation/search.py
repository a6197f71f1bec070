"""Greedy search and sampling: the token that scores highest, or that is drawn."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from gptcore.generation.config import GenerationConfig
from gptcore.generation.random import gumbel
from gptcore.generation.stepper import Ids, Logits, Stepper


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
        """The next token of each row, (B,), from processed scores (B, V); ``step`` counts new tokens from 0."""
        return choose(self.config, scores, step)

    def advance(self, tokens: Ids) -> Logits:
        """Read the tokens that were chosen, (B,); the logits (B, V) behind them."""
        logits, self.state = self.stepper.step(tokens, self.state)
        return logits


def choose(config: GenerationConfig, scores: Logits, step: int) -> Ids:
    """The highest score of each row or, in sampling, the highest sum of score and noise. (B, V) -> (B,)"""
    if not config.do_sample:
        best: Ids = scores.argmax(-1)
        return best
    chosen = np.empty(len(scores), np.int64)
    for i, row in enumerate(scores):
        candidates = np.flatnonzero(row > -np.inf)
        noise = gumbel(config.seed, i % config.num_return_sequences, step, candidates)
        chosen[i] = candidates[(row[candidates] + noise).argmax()]
    return chosen
