"""Token selection on the device, as ``gptcore.generation`` defines it in NumPy."""

import math

import tensorflow as tf

from gptcore.generation.device import Method, Numbers
from gptcore.generation.host.search import NOTHING
from gptcore.spec.random_numbers import LARGEST_UNIFORM, PARITY, ROTATIONS


def choose(logits: tf.Tensor, method: Method, numbers: Numbers, rows: tf.Tensor, step: tf.Tensor) -> tf.Tensor:
    """The next token of each row.

    Args:
        logits: (B, V) floats.
        method, numbers: The two parts of the settings, from ``gptcore.generation.device.program``.
        rows: (B,) integers, the index of each row among the continuations of its prompt.
        step: Index of the token in the continuation.

    Returns:
        (B,) token ids; -1 where the highest score is not finite.
    """
    scores = tf.cast(logits, tf.float32)
    if len(numbers.eos_token_ids):
        ends = tf.reduce_any(tf.range(scores.shape[-1])[:, None] == tf.stack(numbers.eos_token_ids), -1)  # (V,)
        scores = tf.where(ends & (step < numbers.min_new_tokens), -math.inf, scores)
    if not method.do_sample:
        return highest(scores)
    scores = scores / numbers.temperature
    if method.top_k:
        scores = top_k(scores, method.top_k)
    if method.top_p:
        scores = top_p(scores, numbers.tail)
    if method.min_p:
        scores = min_p(scores, numbers.min_p)
    return highest(scores + gumbel(numbers.seed, rows, step, scores.shape[-1]))


def highest(scores: tf.Tensor) -> tf.Tensor:
    """The token with the highest score in each row; -1 where that score is infinite or not a number."""
    best = tf.reduce_max(tf.where(tf.math.is_nan(scores), math.inf, scores), -1)  # XLA skips NaN
    return tf.where(tf.math.is_finite(best), tf.argmax(scores, -1), NOTHING)


def top_k(scores: tf.Tensor, k: int) -> tf.Tensor:
    """Keep the k highest scores and all that tie with the last of them; set the others to minus infinity."""
    kth = tf.math.top_k(scores, min(k, scores.shape[-1])).values[:, -1:]
    return tf.where(scores < kth, -math.inf, scores)


def top_p(scores: tf.Tensor, tail: tf.Tensor) -> tf.Tensor:
    """Set the lowest scores, whose probabilities add up to ``tail`` at most, to minus infinity."""
    order = tf.argsort(scores, -1, stable=True)  # ascending
    removed = tf.cumsum(tf.gather(tf.nn.softmax(scores), order, axis=-1, batch_dims=1), -1) <= tail
    removed = tf.concat([removed[:, :-1], tf.zeros_like(removed[:, :1])], -1)
    removed = tf.gather(removed, tf.argsort(order, -1), axis=-1, batch_dims=1)
    return tf.where(removed, -math.inf, scores)


def min_p(scores: tf.Tensor, p: tf.Tensor) -> tf.Tensor:
    """Keep tokens at least ``p`` times as likely as the likeliest; set the other scores to minus infinity."""
    probabilities = tf.nn.softmax(scores)
    return tf.where(probabilities < p * tf.reduce_max(probabilities, -1, keepdims=True), -math.inf, scores)


def threefry(key0: tf.Tensor, key1: tf.Tensor, x0: tf.Tensor, x1: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Threefry-2x32, 20 rounds."""
    keys = (key0, key1, key0 ^ key1 ^ PARITY)
    x0, x1 = x0 + keys[0], x1 + keys[1]
    for group in range(5):
        for rotation in ROTATIONS[group % 2]:
            x0 = x0 + x1
            left, right = tf.bitwise.left_shift(x1, rotation), tf.bitwise.right_shift(x1, 32 - rotation)
            x1 = (left | right) ^ x0
        x0 = x0 + keys[(group + 1) % 3]
        x1 = x1 + keys[(group + 2) % 3] + (group + 1)
    return x0, x1


def gumbel(seed: tf.Tensor, rows: tf.Tensor, step: tf.Tensor, size: int) -> tf.Tensor:
    """Gumbel noise of one step for all tokens, (B, V)."""
    seed, rows, step = (tf.cast(x, tf.uint32) for x in (seed, rows, step))
    tokens = tf.cast(tf.range(size), tf.uint32)
    bits, _ = threefry(seed, rows[:, None], step, tokens)
    uniform = tf.cast(tf.bitwise.right_shift(bits, 1) | 1, tf.float32) * 2.0**-31
    return -tf.math.log(-tf.math.log1p(-tf.minimum(uniform, LARGEST_UNIFORM)))
