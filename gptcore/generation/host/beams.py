"""Beam search over a ``Stepper``, as transformers does it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from gptcore.generation.config import GenerationConfig
from gptcore.generation.host.processors import process
from gptcore.generation.host.search import DecodeText, check_selected, holds_stop, usable
from gptcore.generation.host.stepper import Logits, Stepper
from gptcore.generation.prompt import Ids, Prompt
from gptcore.spec.random_numbers import gumbel


class Hypotheses:
    """The best complete continuations of one prompt.

    Args:
        size: The number of continuations to keep.
        length_penalty, early_stopping: As in ``GenerationConfig``.
        max_new_tokens: The length of the longest continuation.
    """

    def __init__(self, size: int, length_penalty: float, early_stopping: bool | str, max_new_tokens: int) -> None:
        self.size, self.length_penalty, self.early_stopping = size, length_penalty, early_stopping
        self.max_new_tokens = max_new_tokens
        self.items: list[tuple[float, Ids]] = []

    def add(self, tokens: Ids, log_probability: float) -> None:
        """Keep a continuation if it is among the best. One that contains a forbidden token is never kept."""
        if log_probability == -np.inf:
            return
        score = log_probability / len(tokens) ** self.length_penalty
        if len(self.items) < self.size or score > self.items[-1][0]:
            self.items.append((score, tokens))
            self.items.sort(key=lambda item: -item[0])
            del self.items[self.size :]

    def is_done(self, best_log_probability: float, length: int) -> bool:
        """Whether running hypotheses of ``length`` new tokens can no longer, or are unlikely to, join the best ones."""
        if len(self.items) < self.size:
            return False
        if self.early_stopping is True:
            return True
        if self.early_stopping == "never" and self.length_penalty > 0:
            length = self.max_new_tokens
        return bool(self.items[-1][0] >= best_log_probability / length**self.length_penalty)


def beam_search(
    stepper: Stepper, config: GenerationConfig, prompt: Prompt, decode_text: DecodeText | None = None
) -> tuple[Ids, NDArray[np.float32]]:
    """Continue prompts by their most probable sequences.

    Args:
        stepper: The model.
        config: The settings.
        prompt: The checked prompts.
        decode_text: A function that decodes ids to text, for ``stop_strings``.

    Returns:
        The ids (B * num_return_sequences, T + N), best first, and their scores.
    """
    beams, batch = config.num_beams, len(prompt.input_ids)
    done = [
        Hypotheses(beams, config.length_penalty, config.early_stopping, prompt.max_new_tokens) for _ in range(batch)
    ]
    logits, state = stepper.start(prompt.input_ids, prompt.attention_mask, prompt.length + prompt.max_new_tokens)
    order = np.repeat(np.arange(batch), beams)
    logits, state = logits[order], stepper.reordered(state, order)
    starts = [row for row in prompt.rows() for _ in range(beams)]
    tokens = np.empty((batch * beams, 0), np.int64)
    totals = np.full((batch, beams), -1e9, np.float32)
    totals[:, 0] = 0  # at first all beams are the same one
    finished = np.zeros(batch, bool)
    vocabulary = logits.shape[-1]
    for new in range(1, prompt.max_new_tokens + 1):
        check_selected((usable(logits) | finished.repeat(beams)).reshape(batch, beams))
        rows = [np.append(start, row) for start, row in zip(starts, tokens, strict=True)]
        scores = process(config, log_softmax(logits), rows, new - 1, prompt.length)
        scores = (scores.reshape(batch, beams, -1) + totals[:, :, None]).reshape(batch, -1)
        candidates = _candidates(config, scores, new - 1)
        selected = np.zeros((batch, beams), np.int64)
        for i in range(batch):
            running = []
            for rank, candidate in enumerate(candidates[i].tolist()):
                beam, token = divmod(candidate, vocabulary)
                text = np.append(tokens[i * beams + beam], token)
                ends = token in config.eos_token_ids or holds_stop(config, decode_text, text)
                if not ends:
                    running.append(candidate)
                if (ends or new == prompt.max_new_tokens) and rank < beams and not finished[i]:
                    done[i].add(text, float(scores[i, candidate]))
            running = running[:beams]  # fewer where nearly every token is an end of text
            selected[i, : len(running)] = running
            totals[i] = -np.inf
            totals[i, : len(running)] = scores[i, running]
            finished[i] |= done[i].is_done(float(totals[i, 0]), new)
        if finished.all() or new == prompt.max_new_tokens:
            break
        order = (np.arange(batch)[:, None] * beams + selected // vocabulary).reshape(-1)
        last = (selected % vocabulary).reshape(-1)
        tokens = np.concatenate([tokens[order], last[:, None]], axis=1)
        logits, state = stepper.step(last, stepper.reordered(state, order))
    return _collected(config, prompt, done)


def _candidates(config: GenerationConfig, scores: Logits, step: int) -> NDArray[np.int64]:
    """The best continuations of all beams of each prompt, best first: enough for ``num_beams`` that do not end."""
    count = min(max(2, 1 + len(config.eos_token_ids)) * config.num_beams, scores.shape[1])
    ranked = scores
    if config.do_sample:
        noise = [gumbel(config.seed, 0, step, np.arange(scores.shape[1])) for _ in scores]
        ranked = scores + np.stack(noise)
    picked = np.argpartition(-ranked, count - 1, axis=-1)[:, :count]
    by = np.take_along_axis(scores, picked, -1)
    order = np.lexsort((picked, -by), axis=-1)
    return np.take_along_axis(picked, order, -1)


def _collected(config: GenerationConfig, prompt: Prompt, done: list[Hypotheses]) -> tuple[Ids, NDArray[np.float32]]:
    check_selected(np.array([len(hypotheses.items) >= config.num_return_sequences for hypotheses in done]))
    best = [item for hypotheses in done for item in hypotheses.items[: config.num_return_sequences]]
    width = max(len(tokens) for _, tokens in best)
    sequences = np.full((len(best), prompt.length + width), config.fill_token_id, np.int64)
    sequences[:, : prompt.length] = np.repeat(prompt.input_ids, config.num_return_sequences, 0)
    for row, (_, tokens) in zip(sequences, best, strict=True):
        row[prompt.length : prompt.length + len(tokens)] = tokens
    return sequences, np.array([score for score, _ in best], np.float32)


def log_softmax(logits: Logits) -> Logits:
    """Compute the log of the softmax over the vocabulary."""
    shifted = logits - logits.max(-1, keepdims=True)
    logs: Logits = shifted - np.log(np.exp(shifted).sum(-1, keepdims=True, dtype=np.float32))
    return logs
