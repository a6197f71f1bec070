"""What the two text paths have in common: text -> chunks -> words."""

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
    """A text path: from lower-cased text to the words that byte-pair encoding takes apart.

    Text falls into chunks at white space. What a chunk becomes depends on the chunk alone, but for a few chunks of the
    original path; so chunk -> ids can be remembered.
    """

    name: ClassVar[str]
    fingerprint: str
    """Names the rules; two paths with the same fingerprint give the same words for every text."""

    @abstractmethod
    def blocks(self, text: str) -> Iterator[list[str]]:
        """Yield the chunks of a text in blocks, so that the chunks of a long text need not fit in memory."""

    @abstractmethod
    def chunks(self, text: str) -> list[str] | None:
        """The chunks of an ordinary text of one line, at once; ``None`` for any other, which goes by ``blocks``."""

    @abstractmethod
    def split(self, chunk: str) -> list[str] | None:
        """The words of a chunk; ``None`` where they depend on its neighbours in the line."""

    @abstractmethod
    def split_line(self, chunks: list[str]) -> list[str]:
        """The words of all chunks of one line."""

    @abstractmethod
    def aligned_words(self, text: Aligned) -> Iterator[Aligned]:
        """The words of a text, with what each character was made from."""

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
    """A text in parts of about ``length`` characters; no word is cut.

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
