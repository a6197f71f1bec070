"""Logits processors in NumPy: the reference that the native versions are compared with.

Each function takes scores (B, V) in float32 and returns new ones; forbidden tokens score minus infinity. Order and
meaning are those of transformers, except that padding in a prompt is ignored.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from gptcore.generation.config import GenerationConfig

Scores = NDArray[np.float32]
Rows = Sequence[NDArray[np.integer]]  # the real tokens of each row so far, without padding


def process(config: GenerationConfig, scores: Scores, rows: Rows, new_tokens: int, prompt_length: int) -> Scores:
    """Apply all processors that the settings select.

    Args:
        config: The settings.
        scores: The logits of the next token, (B, V).
        rows: The tokens of each row so far, without padding.
        new_tokens: The number of new tokens among them.
        prompt_length: The number of columns of the prompt, including padding; ``min_length`` counts these.
    """
    scores = np.asarray(scores, np.float32)
    if config.repetition_penalty != 1:
        scores = repetition_penalty(scores, rows, config.repetition_penalty)
    if config.no_repeat_ngram_size:
        scores = no_repeat_ngram(scores, rows, config.no_repeat_ngram_size)
    if config.bad_words_ids:
        scores = bad_words(scores, rows, config.bad_words_ids)
    too_short = prompt_length + new_tokens < config.min_length or new_tokens < (config.min_new_tokens or 0)
    if config.eos_token_ids and too_short:
        scores = without(scores, config.eos_token_ids)
    if not config.do_sample:
        return scores
    scores, usable = scores.copy(), np.isfinite(scores.max(-1))  # no token can be sampled in the other rows
    scores[usable] = warp(config, scores[usable])
    return scores


def warp(config: GenerationConfig, scores: Scores) -> Scores:
    """Apply the processors that only sampling uses."""
    keep = len(config.eos_token_ids) + 1 if config.num_beams > 1 else 1
    if config.temperature != 1:
        scores = scores / np.float32(config.temperature)
    if config.top_k:
        scores = top_k(scores, config.top_k, keep)
    if config.top_p < 1:
        scores = top_p(scores, config.top_p, keep)
    if config.min_p is not None:
        scores = min_p(scores, config.min_p, keep)
    if config.typical_p < 1:
        scores = typical_p(scores, config.typical_p, keep)
    return scores


def repetition_penalty(scores: Scores, rows: Rows, penalty: float) -> Scores:
    """Divide positive scores of earlier tokens by ``penalty``, multiply negative ones by it (Keskar et al. 2019)."""
    scores, factor = scores.copy(), np.float32(penalty)
    for row, tokens in zip(scores, rows, strict=True):
        seen = np.unique(tokens)
        row[seen] = np.where(row[seen] < 0, row[seen] * factor, row[seen] / factor)
    return scores


def no_repeat_ngram(scores: Scores, rows: Rows, size: int) -> Scores:
    """Mask out tokens that would repeat a sequence of ``size`` tokens."""
    scores = scores.copy()
    for row, tokens in zip(scores, rows, strict=True):
        if len(tokens) >= size:
            windows = np.lib.stride_tricks.sliding_window_view(np.asarray(tokens), size)
            last = np.asarray(tokens)[len(tokens) - size + 1 :]
            row[windows[(windows[:, :-1] == last).all(-1), -1]] = -np.inf
    return scores


def bad_words(scores: Scores, rows: Rows, words: Sequence[Sequence[int]]) -> Scores:
    """Mask out tokens that would complete a sequence of ``words``."""
    scores = scores.copy()
    for row, tokens in zip(scores, rows, strict=True):
        for word in words:
            head = list(word[:-1])
            if not head or list(tokens[-len(head) :]) == head:
                row[word[-1]] = -np.inf
    return scores


def without(scores: Scores, tokens: Sequence[int]) -> Scores:
    """Mask out some tokens."""
    scores = scores.copy()
    scores[:, list(tokens)] = -np.inf
    return scores


def top_k(scores: Scores, k: int, keep: int = 1) -> Scores:
    """Keep the k highest scores, and all that tie with the lowest of them."""
    k = min(max(k, keep), scores.shape[-1])
    kth = np.partition(scores, -k, axis=-1)[:, -k, None]
    return np.where(scores < kth, np.float32(-np.inf), scores)


def top_p(scores: Scores, p: float, keep: int = 1) -> Scores:
    """Keep the smallest set of highest scores with a probability above ``p`` (Holtzman et al. 2020)."""
    scores = scores.copy()
    for row in scores:
        candidates = np.flatnonzero(row > -np.inf)
        order = candidates[np.argsort(row[candidates], kind="stable")]  # ascending
        removed = np.cumsum(softmax(row[order]), dtype=np.float32) <= np.float32(1 - p)
        removed[-keep:] = False
        row[order[removed]] = -np.inf
    return scores


def min_p(scores: Scores, p: float, keep: int = 1) -> Scores:
    """Keep tokens that are at least ``p`` times as likely as the most likely one."""
    scores = scores.copy()
    for row in scores:
        probabilities = softmax(row)
        removed = probabilities < np.float32(p) * probabilities.max()
        removed[np.argsort(-row, kind="stable")[:keep]] = False
        row[removed] = -np.inf
    return scores


def typical_p(scores: Scores, mass: float, keep: int = 1) -> Scores:
    """Keep tokens whose surprise is closest to the expected one, with probability ``mass`` (Meister et al. 2022)."""
    scores = scores.copy()
    for row in scores:
        candidates = np.flatnonzero(row > -np.inf)
        probabilities = softmax(row[candidates])
        logs = np.log(probabilities)
        distance = np.abs(-logs + (probabilities * logs).sum())
        order = np.argsort(distance, kind="stable")
        last = min(int((np.cumsum(probabilities[order], dtype=np.float32) < np.float32(mass)).sum()), len(order) - 1)
        removed = distance > distance[order[last]]
        removed[order[:keep]] = False
        row[candidates[removed]] = -np.inf
    return scores


def softmax(row: NDArray[np.float32]) -> NDArray[np.float32]:
    """Compute the softmax of one row."""
    exponentials = np.exp(row - row.max())
    probabilities: NDArray[np.float32] = exponentials / exponentials.sum(dtype=np.float32)
    return probabilities
