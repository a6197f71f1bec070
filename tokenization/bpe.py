"""Byte-pair encoding: splits words into pieces, which have ids.

Two engines have the same interface: ``PlainBPE`` is the definition in plain Python, ``FastBPE`` uses the ``tokenizers``
library.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable
from functools import lru_cache
from itertools import chain
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Protocol

from tokenizers import models

from tokenization.cache import BoundedCache
from tokenization.vocabulary import END_OF_WORD, Merge, Unknown, Vocabulary, merges_bytes, vocabulary_bytes

MAX_WORD_LENGTH = 32_768
"""A longer word is split into words of this length, so that hostile text costs linear time and memory."""

CACHED_WORDS = 65_536


class Engine(Protocol):
    """Splits words into pieces. A piece at the end of a word ends with ``END_OF_WORD``."""

    def __init__(self, vocabulary: Vocabulary, unknown: Unknown) -> None: ...

    def pieces(self, words: Iterable[str]) -> list[str]:
        """The pieces of words; a character that is not in the vocabulary is a piece."""

    def ids(self, words: Iterable[str]) -> list[int]:
        """The ids of the pieces of words.

        Raises:
            TokenizerError: The tokenizer has no unknown token.
        """

    def files(self) -> tuple[bytes, bytes]:
        """The content of ``vocab.json`` and ``merges.txt``, as transformers' class with this engine writes them."""


class PlainBPE:
    """Byte-pair encoding in plain Python. Caches the pieces of frequent words in bounded memory."""

    def __init__(self, vocabulary: Vocabulary, unknown: Unknown) -> None:
        self._encoder, self._merges, self._unknown = vocabulary.encoder, vocabulary.merges, unknown
        self._split = lru_cache(CACHED_WORDS)(BytePairEncoding(vocabulary.ranks))

    def pieces(self, words: Iterable[str]) -> list[str]:
        return [piece for word in words for piece in self._split(word)]

    def ids(self, words: Iterable[str]) -> list[int]:
        encoder, unknown_id = self._encoder, self._unknown.checked_id()
        return [encoder.get(piece, unknown_id) for piece in self.pieces(words)]

    def files(self) -> tuple[bytes, bytes]:
        return vocabulary_bytes(self._encoder), merges_bytes(self._merges)


class FastBPE:
    """Byte-pair encoding by the ``tokenizers`` library. Caches the ids of frequent words in bounded memory.

    Attributes:
        model: The model of the library.
    """

    def __init__(self, vocabulary: Vocabulary, unknown: Unknown) -> None:
        token, token_id = unknown
        encoder = vocabulary.encoder if token is None or token_id is None else {**vocabulary.encoder, token: token_id}
        self.model = models.BPE(
            vocab=encoder,
            merges=list(vocabulary.merges),
            unk_token=None if token_id is None else token,
            end_of_word_suffix=END_OF_WORD,
        )
        self._unknown = unknown
        self._lengths = [len(piece.removesuffix(END_OF_WORD)) for piece in vocabulary.decoder]
        self.cache = BoundedCache(self.word_ids, CACHED_WORDS)

    def pieces(self, words: Iterable[str]) -> list[str]:
        unknown_id, lengths = self._unknown.checked_id(), self._lengths
        pieces: list[str] = []
        for word in words:
            at = 0
            for token_id in self.cache[word]:
                end = at + (1 if token_id == unknown_id else lengths[token_id])
                mark = END_OF_WORD if end == len(word) or end % MAX_WORD_LENGTH == 0 else ""
                pieces.append(word[at:end] + mark)
                at = end
        return pieces

    def ids(self, words: Iterable[str]) -> list[int]:
        return list(chain.from_iterable(map(self.cache.__getitem__, words)))

    def files(self) -> tuple[bytes, bytes]:
        with TemporaryDirectory() as folder:
            vocab_file, merges_file = self.model.save(folder)
            return Path(vocab_file).read_bytes(), Path(merges_file).read_bytes()

    def word_ids(self, word: str) -> tuple[int, ...]:
        """The ids of the pieces of one word, without caching them."""
        self._unknown.checked_id()
        parts = cut(word) if len(word) > MAX_WORD_LENGTH else (word,)
        return tuple([token.id for part in parts for token in self.model.tokenize(part)])


class BytePairEncoding:
    """The merges, applied to one word at a time.

    A word starts as its characters, the last one with the end-of-word mark. Then the adjacent pair with the lowest
    rank is joined, the leftmost first, until no pair has a rank (Sennrich et al. 2016). A heap holds the candidates,
    so a word of n characters costs n log n.

    If every merge gives a different piece, as in the published vocabulary, the result is the same as joining all
    occurrences of the best pair at once. If two merges give the same piece, the result is that of the ``tokenizers``
    library.

    Args:
        ranks: Merge -> place in the order, from 0.

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
                continue  # outdated: one of the two is part of another piece by now
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
