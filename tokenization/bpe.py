"""Byte-pair encoding: splits a word into pieces."""

from __future__ import annotations

import heapq

from tokenization.vocabulary import END_OF_WORD, Merge

MAX_WORD_LENGTH = 32_768
"""A longer word is split into words of this length, so that hostile text costs linear time and memory."""


class BytePairEncoding:
    """The merges, applied to one word at a time.

    A word starts as its characters, the last one with the end-of-word mark. Then the adjacent pair with the lowest
    rank is joined, the leftmost first, until no pair has a rank (Sennrich et al. 2016). A heap holds the candidates,
    so a word of n characters costs n log n.

    Where every merge makes a piece of its own, as in the published vocabulary, this equals joining all occurrences of
    the best pair at once. Where two merges make the same piece, it is what the ``tokenizers`` library does.

    Args:
        ranks: merge -> place in the order, from 0.

    >>> BytePairEncoding({("l", "o"): 0, ("lo", "w</w>"): 1})("low")
    ['low</w>']
    >>> BytePairEncoding({("l", "o"): 0, ("lo", "w</w>"): 1})("lower")
    ['lo', 'w', 'e', 'r</w>']
    """

    def __init__(self, ranks: dict[Merge, int]) -> None:
        self._ranks = ranks

    def __call__(self, word: str) -> list[str]:
        pieces: list[str] = []
        for part in cut(word):
            pieces += self._merge([*part[:-1], part[-1] + END_OF_WORD])
        return pieces

    def _merge(self, pieces: list[str]) -> list[str]:
        ranks = self._ranks
        previous, following = list(range(-1, len(pieces) - 1)), list(range(1, len(pieces) + 1))
        heap: list[tuple[int, int, str]] = []

        def propose(left: int, right: int) -> None:
            if left >= 0 and right < len(pieces):
                rank = ranks.get((pieces[left], pieces[right]))
                if rank is not None:
                    heapq.heappush(heap, (rank, left, pieces[left] + pieces[right]))

        for i in range(len(pieces) - 1):
            propose(i, i + 1)
        while heap:
            _, left, joined = heapq.heappop(heap)
            right = following[left]
            if not pieces[left] or right == len(pieces) or pieces[left] + pieces[right] != joined:
                continue  # one of the two has been joined to something else since
            if (pieces[left], pieces[right]) not in ranks:
                continue
            pieces[left], pieces[right] = joined, ""
            following[left] = following[right]
            if following[right] < len(pieces):
                previous[following[right]] = left
            propose(previous[left], left)
            propose(left, following[left])
        return [piece for piece in pieces if piece]


def cut(word: str) -> list[str]:
    """Split a word into parts of at most ``MAX_WORD_LENGTH`` characters."""
    if len(word) <= MAX_WORD_LENGTH:
        return [word] if word else []
    return [word[i : i + MAX_WORD_LENGTH] for i in range(0, len(word), MAX_WORD_LENGTH)]
