"""The interface of the two text paths: text -> chunks -> words."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Iterator
from itertools import groupby
from typing import ClassVar

from tokenization.text_paths.alignment import Aligned

NEWLINE = "\n"
"""The chunk, and the word, that represents one or more line breaks."""

BLOCK_LENGTH = 1_000_000
_GAP = re.compile(r"\s")


class PreTokenizer(ABC):
    """A text path: from lower-cased text to the words that byte-pair encoding splits into pieces.

    White space separates the chunks of a text. The words of a chunk depend on the chunk alone, except for a few chunks
    of the original path, so the ids of chunks can be cached.
    """

    name: ClassVar[str]
    fingerprint: str
    """Identifies the rules: paths with the same fingerprint give the same words for every text."""

    @abstractmethod
    def blocks(self, text: str) -> Iterator[list[str]]:
        """Yield the chunks of a text in blocks, so that the chunks of a long text need not fit in memory."""

    @abstractmethod
    def chunks(self, text: str) -> list[str] | None:
        """The chunks of an ordinary text of one line; ``None`` for any other text, which needs ``blocks``."""

    @abstractmethod
    def split(self, chunk: str) -> list[str] | None:
        """The words of a chunk; ``None`` if they depend on its neighbours in the line."""

    @abstractmethod
    def split_line(self, chunks: list[str]) -> list[str]:
        """The words of all chunks of one line."""

    @abstractmethod
    def aligned_words(self, text: Aligned) -> Iterator[Aligned]:
        """The words of a text, with the span that each character comes from."""

    def words(self, text: str) -> Iterator[str]:
        """The words of a text, one by one."""
        for block in self.blocks(text):
            yield from self.words_of(block)

    def words_of(self, block: list[str]) -> Iterator[str]:
        """The words of a block of chunks."""
        for is_newline, chunks in groupby(block, NEWLINE.__eq__):
            line = list(chunks)
            yield from line if is_newline else self.split_line(line)


def cut_at_white_space(text: str, length: int = BLOCK_LENGTH) -> Iterator[str]:
    """Yield a text in parts of about ``length`` characters, without cutting a word.

    >>> list(cut_at_white_space("aa bb cccc d", 4))
    ['aa bb', ' cccc', ' d']
    """
    start = 0
    while len(text) - start > length:
        gap = _GAP.search(text, start + length)
        if gap is None:
            break
        yield text[start : gap.start()]
        start = gap.start()
    yield text[start:] if start else text
