"""Contrastive search (Su et al. 2022) selects likely tokens whose hidden state differs from those of earlier tokens."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from gptcore.generation.host.processors import softmax
from gptcore.generation.host.search import NOTHING, Search, usable
from gptcore.generation.host.stepper import Logits
from gptcore.generation.prompt import Ids


class ContrastiveSearch(Search):
    """Runs the model on the ``top_k`` most likely tokens, then selects one of them."""

    def start(self, input_ids: Ids, attention_mask: NDArray[np.bool_], capacity: int) -> Logits:
        logits = super().start(input_ids, attention_mask, capacity)
        hidden_states = self.stepper.hidden_states(self.state)
        self.context = [
            unit(states[: len(mask)][mask]) for states, mask in zip(hidden_states, attention_mask, strict=True)
        ]
        self.rows = np.arange(len(logits))  # the row of the state that each row continues from
        return logits

    def choose(self, scores: Logits, step: int) -> Ids:
        k, alpha = min(self.config.top_k, scores.shape[1]), self.config.penalty_alpha or 0.0
        candidates = np.argsort(-scores, axis=-1, kind="stable")[:, :k]  # (B, K)
        state = self.stepper.reordered(self.state, self.rows.repeat(k))
        self.logits, self.state = self.stepper.step(candidates.reshape(-1), state)
        ahead = unit(self.stepper.hidden_states(self.state)[:, 0]).reshape(*candidates.shape, -1)  # (B, K, C)
        selected, possible = np.zeros(len(scores), np.int64), usable(scores)
        for i in np.flatnonzero(possible):
            penalty = (ahead[i] @ self.context[i].T).max(-1)
            worth = (1 - alpha) * softmax(scores[i])[candidates[i]] - alpha * penalty
            allowed = scores[i, candidates[i]] > -np.inf
            selected[i] = np.where(allowed, worth, -np.inf).argmax()
            self.context[i] = np.append(self.context[i], ahead[i, selected[i], None], axis=0)
        self.rows = np.arange(len(scores)) * k + selected
        return np.where(possible, np.take_along_axis(candidates, selected[:, None], -1)[:, 0], NOTHING)

    def advance(self, tokens: Ids) -> Logits:
        return self.logits[self.rows]


def unit(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """Scale vectors (..., C) to length 1."""
    lengths: NDArray[np.float32] = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return vectors / lengths
