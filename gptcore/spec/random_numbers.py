"""The random numbers of sampling: one counter-based stream, the same in every framework.

Threefry-2x32 with 20 rounds (Salmon et al. 2011) needs only 32-bit integer operations, so NumPy, PyTorch, TensorFlow
and JAX compute the same bits. The key is (seed, row), the counter (step, token). ``row`` counts the continuations of
one prompt, so a row samples the same tokens in a batch as by itself.

The sampled token has the largest ``logit + gumbel``. Two frameworks whose logits differ by 5e-6 disagree if the two
largest sums are that close, about once in 10^5 tokens. Inverting the cumulative distribution would be more sensitive:
each of the 40,478 tokens has a boundary that a random number can hit.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

ROTATIONS = ((13, 15, 26, 6), (17, 29, 16, 24))
PARITY = 0x1BD11BDA
LARGEST_UNIFORM = 1 - 2.0**-24

Bits = NDArray[np.uint32]


def threefry(key: tuple[int, int], x0: Bits, x1: Bits) -> tuple[Bits, Bits]:
    """Threefry-2x32, 20 rounds: two words of bits for each counter ``(x0, x1)``.

    >>> [f"{int(word):08x}" for word in threefry((0, 0), np.uint32(0), np.uint32(0))]
    ['6b200159', '99ba4efe']
    """
    keys = (np.uint32(key[0]), np.uint32(key[1]), np.uint32(key[0] ^ key[1] ^ PARITY))
    x0, x1 = np.add(x0, keys[0], dtype=np.uint32), np.add(x1, keys[1], dtype=np.uint32)
    with np.errstate(over="ignore"):
        for group in range(5):
            for rotation in ROTATIONS[group % 2]:
                x0 = x0 + x1
                x1 = (x1 << np.uint32(rotation)) | (x1 >> np.uint32(32 - rotation))
                x1 = x1 ^ x0
            x0 = x0 + keys[(group + 1) % 3]
            x1 = x1 + (keys[(group + 2) % 3] + np.uint32(group + 1))
    return x0, x1


def gumbel(seed: int, row: int, step: int, tokens: NDArray[np.integer]) -> NDArray[np.float32]:
    """Gumbel noise for some tokens of one step.

    Args:
        seed: Random seed, in [0, 2**32).
        row: Number of the continuation of a prompt, from 0.
        step: Number of the token in the continuation, from 0.
        tokens: Token ids.

    >>> gumbel(0, 0, 0, np.array([0, 1])).tolist() == gumbel(0, 0, 0, np.array([5, 0, 1]))[1:].tolist()
    True
    """
    counters = np.asarray(tokens).astype(np.uint32)
    bits, _ = threefry((seed, row), np.full_like(counters, step), counters)
    uniform = ((bits >> np.uint32(1)) | np.uint32(1)).astype(np.float32) * np.float32(2.0**-31)  # in (0, 1]
    uniform = np.minimum(uniform, np.float32(LARGEST_UNIFORM))
    noise: NDArray[np.float32] = -np.log(-np.log1p(-uniform))
    return noise
