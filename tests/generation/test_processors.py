"""Processors of scores, and samples from what they leave."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gptcore.generation import GenerationConfig
from gptcore.generation.host import processors
from gptcore.generation.host.search import choose


@pytest.mark.parametrize("settings", [{"top_k": 0}, {"top_k": 7, "top_p": 0.9, "temperature": 1.3}, {"min_p": 0.1}])
def test_samples_follow_the_filtered_softmax(settings):
    """Pearson's chi-square over 20,000 draws; the limit is 6 standard deviations above its mean."""
    config = GenerationConfig(do_sample=True, **{"top_k": 0, **settings}, seed=3)
    logits = np.random.default_rng(0).standard_normal((1, 23)).astype(np.float32) * 2
    scores = processors.process(config, logits, [np.array([1])], 0, 1)
    expected = processors.softmax(scores[0].astype(np.float64)) * 20_000
    draws = [choose(config, scores, step)[0] for step in range(20_000)]
    counts = np.bincount(draws, minlength=23)
    possible = expected > 0
    assert counts[~possible].sum() == 0
    freedom = possible.sum() - 1
    chi_square = ((counts - expected)[possible] ** 2 / expected[possible]).sum()
    assert chi_square < freedom + 6 * np.sqrt(2 * freedom)


rows_of_scores = st.lists(st.floats(-30, 30, width=32), min_size=2, max_size=40).map(
    lambda x: np.array([x], np.float32)
)


@given(rows_of_scores, st.integers(1, 50))
def test_top_k_keeps_the_highest(scores, k):
    kept = processors.top_k(scores, k) > -np.inf
    assert kept.sum() >= min(k, scores.size)
    assert scores[kept].min() >= scores[~kept].max(initial=-np.inf)


@given(rows_of_scores, st.floats(0.01, 1.0))
def test_top_p_keeps_enough_and_no_more(scores, p):
    kept = np.flatnonzero(processors.top_p(scores, p)[0] > -np.inf)
    probabilities = processors.softmax(scores[0].astype(np.float64))
    assert len(kept) >= 1
    assert probabilities[kept].sum() >= p - 1e-5
    assert probabilities[kept].sum() - probabilities[kept].min() <= p + 1e-5
    assert scores[0].argmax() in kept or scores[0, kept].max() == scores[0].max()


@given(rows_of_scores, st.floats(0.01, 0.99))
def test_min_p_and_typical_p_keep_something(scores, p):
    for processor in (processors.min_p, processors.typical_p):
        filtered = processor(scores, p)
        kept = filtered > -np.inf
        assert kept.any()
        np.testing.assert_array_equal(filtered[kept], scores[kept])


@given(st.lists(st.integers(0, 6), min_size=1, max_size=30), st.integers(1, 4))
def test_no_ngram_comes_twice(tokens, size):
    scores = processors.no_repeat_ngram(np.zeros((1, 7), np.float32), [np.array(tokens)], size)[0]
    seen = {tuple(tokens[i : i + size]) for i in range(len(tokens) - size + 1)}
    head = tuple(tokens[len(tokens) - size + 1 :]) if size > 1 else ()
    for token in range(7):
        assert (scores[token] == -np.inf) == (len(tokens) >= size and (*head, token) in seen)


def test_bad_words_and_repetition():
    scores = np.array([[2.0, -2.0, 1.0, 1.0]], np.float32)
    np.testing.assert_array_equal(
        processors.repetition_penalty(scores, [np.array([0, 1, 1])], 2.0), [[1.0, -4.0, 1.0, 1.0]]
    )
    banned = processors.bad_words(scores, [np.array([3, 1])], [[0], [1, 2], [2, 1, 3], [3, 1, 1]])
    np.testing.assert_array_equal(banned > -np.inf, [[False, False, False, True]])
