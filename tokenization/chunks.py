"""Text to ids by chunks: each chunk between white space is split and encoded once, then cached."""

from __future__ import annotations

from itertools import chain, groupby

from tokenization.bpe import FastBPE
from tokenization.cache import BoundedCache
from tokenization.text_paths.pretokenizer import NEWLINE, PreTokenizer

CACHED_CHUNKS = 131_072


class ChunkEncoder:
    """The ids of a text, with a cache of chunks in bounded memory.

    The ids of a chunk rarely depend on other chunks, and most chunks are frequent. The few chunks that do depend on
    their neighbours are encoded with their line.

    Args:
        path: The text path.
        bpe: The byte-pair encoding.
    """

    def __init__(self, path: PreTokenizer, bpe: FastBPE) -> None:
        self._path, self._bpe = path, bpe
        self.cache = BoundedCache(self._chunk_ids, CACHED_CHUNKS)

    def ids(self, text: str) -> list[int]:
        """The ids of lower-cased text."""
        ids: list[int] = []
        for block in self._path.blocks(text):
            new = self._block_ids(block)
            ids = ids + new if ids else new
        return ids

    def line_ids(self, text: str) -> list[int] | None:
        """The ids of an ordinary text of one line; ``None`` for any other text, which needs ``ids``."""
        chunks = self._path.chunks(text)
        if chunks is None:
            return None
        try:
            return list(chain.from_iterable(map(self.cache.__getitem__, chunks)))
        except _NeighboursMatter:
            return None

    def _chunk_ids(self, chunk: str) -> tuple[int, ...]:
        words = self._path.split(chunk)
        if words is None:
            raise _NeighboursMatter
        return self._bpe.word_ids(words[0]) if len(words) == 1 else tuple(self._bpe.ids(words))

    def _block_ids(self, block: list[str]) -> list[int]:
        try:
            return list(chain.from_iterable(map(self.cache.__getitem__, block)))
        except _NeighboursMatter:
            lines = [list(chunks) for _, chunks in groupby(block, NEWLINE.__eq__)]
        ids: list[int] = []
        for line in lines:
            try:
                ids += list(chain.from_iterable(map(self.cache.__getitem__, line)))
            except _NeighboursMatter:
                ids += self._bpe.ids(self._path.split_line(line))
        return ids


class _NeighboursMatter(Exception):  # noqa: N818  # not an error: it leaves the loop without a check in each step
    """The words of a chunk depend on its neighbours."""
