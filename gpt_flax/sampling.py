"""Token selection on the device, as ``gptcore.generation`` defines it in NumPy."""

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from gptcore.generation.device import Method, Numbers
from gptcore.generation.host.search import NOTHING
from gptcore.spec.random_numbers import LARGEST_UNIFORM, PARITY, ROTATIONS


def choose(logits: jax.Array, method: Method, numbers: Numbers, rows: jax.Array, step: int | jax.Array) -> jax.Array:
    """The next token of each row.

    Args:
        logits: (B, V) floats.
        method, numbers: The two parts of the settings, from ``gptcore.generation.device.program``.
        rows: (B,) integers, the index of each row among the continuations of its prompt.
        step: Index of the token in the continuation.

    Returns:
        (B,) token ids; -1 where the highest score is not finite.
    """
    scores = logits.astype(jnp.float32)
    if len(numbers.eos_token_ids):
        early = jnp.where(step < numbers.min_new_tokens, -jnp.inf, 0)
        scores = scores.at[:, jnp.asarray(numbers.eos_token_ids)].add(early)
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


def highest(scores: jax.Array) -> jax.Array:
    """The token with the highest score in each row; -1 where that score is infinite or not a number."""
    tokens = scores.argmax(-1)
    return jnp.where(jnp.isfinite(jnp.take_along_axis(scores, tokens[:, None], -1)[:, 0]), tokens, NOTHING)


def top_k(scores: jax.Array, k: int) -> jax.Array:
    """Keep the k highest scores and all that tie with the last of them; set the others to minus infinity."""
    kth = jax.lax.top_k(scores, min(k, scores.shape[-1]))[0][:, -1:]
    return jnp.where(scores < kth, -jnp.inf, scores)


def top_p(scores: jax.Array, tail: ArrayLike) -> jax.Array:
    """Set the lowest scores, whose probabilities add up to ``tail`` at most, to minus infinity."""
    order = jnp.argsort(scores, axis=-1, stable=True)  # ascending
    removed = jnp.cumsum(jnp.take_along_axis(jax.nn.softmax(scores), order, -1), -1) <= tail
    removed = removed.at[:, -1].set(False)
    removed = jnp.take_along_axis(removed, jnp.argsort(order, axis=-1), -1)
    return jnp.where(removed, -jnp.inf, scores)


def min_p(scores: jax.Array, p: ArrayLike) -> jax.Array:
    """Keep tokens at least ``p`` times as likely as the likeliest; set the other scores to minus infinity."""
    probabilities = jax.nn.softmax(scores)
    return jnp.where(probabilities < p * probabilities.max(-1, keepdims=True), -jnp.inf, scores)


def threefry(key0: jax.Array, key1: jax.Array, x0: jax.Array, x1: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Threefry-2x32, 20 rounds."""
    keys = (key0, key1, key0 ^ key1 ^ PARITY)
    x0, x1 = x0 + keys[0], x1 + keys[1]
    for group in range(5):
        for rotation in ROTATIONS[group % 2]:
            x0 = x0 + x1
            x1 = ((x1 << rotation) | (x1 >> (32 - rotation))) ^ x0
        x0 = x0 + keys[(group + 1) % 3]
        x1 = x1 + keys[(group + 2) % 3] + (group + 1)
    return x0, x1


def gumbel(seed: ArrayLike, rows: jax.Array, step: ArrayLike, size: int) -> jax.Array:
    """Gumbel noise of one step for all tokens, (B, V)."""
    seed, rows, step = (jnp.asarray(x).astype(jnp.uint32) for x in (seed, rows, step))
    bits, _ = threefry(seed, rows[:, None], step, jnp.arange(size, dtype=jnp.uint32)[None])
    uniform = ((bits >> 1) | 1).astype(jnp.float32) * jnp.float32(2.0**-31)
    return -jnp.log(-jnp.log1p(-jnp.minimum(uniform, jnp.float32(LARGEST_UNIFORM))))
