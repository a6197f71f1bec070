"""Token selection on the device, as ``gptcore.generation`` defines it in NumPy."""

import torch

from gptcore.generation.device import Method, Numbers
from gptcore.generation.host.search import NOTHING
from gptcore.spec.random_numbers import LARGEST_UNIFORM, PARITY, ROTATIONS


def choose(logits: torch.Tensor, method: Method, numbers: Numbers, rows: torch.Tensor, step: int) -> torch.Tensor:
    """The next token of each row.

    Args:
        logits: (B, V) floats.
        method, numbers: The two parts of the settings, from ``gptcore.generation.device.program``.
        rows: (B,) integers, the index of each row among the continuations of its prompt.
        step: Index of the token in the continuation.

    Returns:
        (B,) token ids; -1 where the highest score is not finite.
    """
    scores = logits.float()
    if numbers.eos_token_ids and step < numbers.min_new_tokens:
        scores = scores.index_fill(-1, torch.tensor(numbers.eos_token_ids, device=scores.device), -torch.inf)
    if not method.do_sample:
        return highest(scores)
    scores = scores / float(numbers.temperature)
    if method.top_k:
        scores = top_k(scores, method.top_k)
    if method.top_p:
        scores = top_p(scores, float(numbers.tail))
    if method.min_p:
        scores = min_p(scores, float(numbers.min_p))
    return highest(scores + gumbel(int(numbers.seed), rows, step, scores.size(-1)))


def highest(scores: torch.Tensor) -> torch.Tensor:
    """The token with the highest score in each row; -1 where that score is infinite or not a number."""
    tokens = scores.argmax(-1)
    return tokens.where(scores.gather(-1, tokens[:, None])[:, 0].isfinite(), NOTHING)


def top_k(scores: torch.Tensor, k: int) -> torch.Tensor:
    """Keep the k highest scores and all that tie with the last of them; set the others to minus infinity."""
    kth = scores.topk(min(k, scores.size(-1))).values[:, -1:]
    return scores.masked_fill(scores < kth, -torch.inf)


def top_p(scores: torch.Tensor, tail: float) -> torch.Tensor:
    """Set the lowest scores, whose probabilities add up to ``tail`` at most, to minus infinity."""
    ascending, order = scores.sort(dim=-1, stable=True)
    removed = ascending.softmax(-1).cumsum(-1) <= tail
    removed[:, -1] = False
    return scores.masked_fill(removed.scatter(-1, order, removed), -torch.inf)


def min_p(scores: torch.Tensor, p: float) -> torch.Tensor:
    """Keep tokens at least ``p`` times as likely as the likeliest; set the other scores to minus infinity."""
    probabilities = scores.softmax(-1)
    return scores.masked_fill(probabilities < p * probabilities.amax(-1, keepdim=True), -torch.inf)


def threefry(key0: int, key1: torch.Tensor, x0: torch.Tensor, x1: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Threefry-2x32, 20 rounds.

    On int32, which wraps as uint32 does, and in place, to save memory.

    Args:
        key0: The first word of the key, an integer in [0, 2**32).
        key1: The second word of the key, a tensor of the shape of ``x0``.
        x0, x1: The counters, which are overwritten with the random bits.
    """
    keys = (signed(key0), key1, key1 ^ signed(key0 ^ PARITY))
    x0 += keys[0]
    x1 += keys[1]
    for group in range(5):
        for rotation in ROTATIONS[group % 2]:
            x0 += x1
            low = (x1 >> 32 - rotation).bitwise_and_((1 << rotation) - 1)  # a shift of signed numbers copies the sign
            x1 <<= rotation
            x1 |= low
            x1 ^= x0
        x0 += keys[(group + 1) % 3]
        x1 += keys[(group + 2) % 3]
        x1 += group + 1
    return x0, x1


def signed(word: int) -> int:
    """The int32 that has the bits of an unsigned word.

    >>> signed(5), signed(2**32 - 5)
    (5, -5)
    """
    return (word & 0xFFFFFFFF ^ 1 << 31) - (1 << 31)


def gumbel(seed: int, rows: torch.Tensor, step: int, size: int) -> torch.Tensor:
    """Gumbel noise of one step for all tokens, (B, V)."""
    tokens = torch.arange(size, dtype=torch.int32, device=rows.device).repeat(len(rows), 1)
    bits, _ = threefry(seed, rows[:, None].int(), torch.full_like(tokens, step), tokens)
    bits = (bits >> 1).bitwise_and_(0x7FFFFFFF).bitwise_or_(1)
    uniform = bits.float().mul_(2.0**-31).clamp_(max=LARGEST_UNIFORM)
    return uniform.neg_().log1p_().neg_().log_().neg_()
