"""Text to ids: text path -> byte-pair encoding -> vocabulary, with added tokens in between."""

from __future__ import annotations

from collections.abc import Iterable

from tokenizers import Tokenizer as LibraryTokenizer

from gptcore.errors import InputError
from tokenization.bpe import Engine, FastBPE
from tokenization.chunks import ChunkEncoder
from tokenization.matching import Segment
from tokenization.text_paths.alignment import Aligned, Span
from tokenization.text_paths.characters import lower
from tokenization.text_paths.pretokenizer import PreTokenizer
from tokenization.tokenizer_json import library_tokenizer
from tokenization.tokens import TokenSet
from tokenization.vocabulary import END_OF_WORD, Unknown


class Tokenizer:
    """Turns a text into ids, in three steps.

    1. ``TokenSet.matcher`` lower-cases the text and cuts it at added tokens.
    2. The text path splits the text between added tokens into words.
    3. The byte-pair encoding splits the words into pieces, and looks up their ids in the vocabulary.

    Args:
        path: The text path.
        tokens: The vocabulary and the added tokens. The tokenizer follows later changes of them.
        engine: The class of the byte-pair encoding. With ``FastBPE``, the ids of chunks are cached.
    """

    def __init__(self, path: PreTokenizer, tokens: TokenSet, engine: type[Engine]) -> None:
        self.path, self.tokens, self._engine = path, tokens, engine
        self._start()

    def __getstate__(self) -> dict[str, object]:
        return {name: vars(self)[name] for name in ("path", "tokens", "_engine")}

    def __setstate__(self, state: dict[str, object]) -> None:
        vars(self).update(state)
        self._start()

    def _start(self) -> None:
        self._start_engine(self.tokens.unknown)
        self._matcher = self.tokens.matcher
        self._backend: LibraryTokenizer | None = None

    def _start_engine(self, unknown: Unknown) -> None:
        """Create the engine. Of all special and added tokens, it depends on the unknown token only."""
        bpe = self._engine(self.tokens.vocabulary, unknown)
        self._bpe, self.chunks = bpe, ChunkEncoder(self.path, bpe) if isinstance(bpe, FastBPE) else None
        self._unknown = unknown

    def _refresh(self) -> None:
        """Rebuild what depends on the tokens, if they have changed.

        The matcher is recorded last: until then, other threads rebuild the engine themselves.
        """
        matcher = self.tokens.matcher
        if self._matcher is not matcher:
            if self._unknown != self.tokens.unknown:
                self._start_engine(self.tokens.unknown)
            self._backend = None
            self._matcher = matcher

    @property
    def bpe(self) -> Engine:
        """The byte-pair encoding."""
        self._refresh()
        return self._bpe

    # Text to ids.

    def segments(self, text: str, *, split_special_tokens: bool = False) -> list[Segment]:
        """Lower-case a text and cut it at added tokens.

        Args:
            text: The text.
            split_special_tokens: Whether added tokens in the text are plain text. Default: false.

        Raises:
            InputError: The text is not a str.
        """
        if not isinstance(text, str):
            raise InputError(f"text must be a str; got {text!r:.80}")
        lowered = self.tokens.matcher.lower(text)
        if split_special_tokens:
            return [Segment(lowered, 0)] if lowered else []
        return self.tokens.matcher.segments(lowered)

    def part_ids(self, text: str) -> list[int]:
        """The ids of lower-cased text without added tokens."""
        self._refresh()
        return self._bpe.ids(self.path.words(text)) if self.chunks is None else self.chunks.ids(text)

    def part_pieces(self, text: str) -> list[str]:
        """The pieces of lower-cased text without added tokens."""
        return self.bpe.pieces(self.path.words(text))

    def ids(self, text: str, *, split_special_tokens: bool = False) -> list[int]:
        """The ids of a text."""
        ids: list[int] = []
        for segment in self.segments(text, split_special_tokens=split_special_tokens):
            if segment.token_id is not None:
                ids.append(segment.token_id)
            elif ids:
                ids += self.part_ids(segment.text)
            else:
                ids = self.part_ids(segment.text)
        return ids

    def batch_ids(self, texts: Iterable[str], *, split_special_tokens: bool = False) -> list[list[int]]:
        """The ids of each text, with a shortcut for ordinary texts."""
        self._refresh()
        if self.chunks is None:
            return [self.ids(text, split_special_tokens=split_special_tokens) for text in texts]
        occur_in, line_ids = self.tokens.matcher.occur_in, self.chunks.line_ids
        rows = []
        for text in texts:
            lowered = lower(text)
            ids = None if occur_in(text) or occur_in(lowered) else line_ids(lowered)
            rows.append(self.ids(text, split_special_tokens=split_special_tokens) if ids is None else ids)
        return rows

    def ids_and_offsets(self, text: str, *, split_special_tokens: bool = False) -> tuple[list[int], list[Span]]:
        """The ids of a text, and the span of the text that each comes from."""
        segments = self.segments(text, split_special_tokens=split_special_tokens)
        lowered = self.tokens.matcher.lower(text)
        aligned = Aligned.identity(text).map(lower) if len(lowered) != len(text) else Aligned.identity(text)
        bpe = self.bpe
        ids: list[int] = []
        offsets: list[Span] = []
        for segment in segments:
            end = segment.start + len(segment.text)
            if segment.token_id is not None:
                ids.append(segment.token_id)
                offsets.append(aligned.span(segment.start, end))
                continue
            part = aligned.cut(segment.start, end)._replace(text=segment.text)
            for word in self.path.aligned_words(part):
                ids += bpe.ids([word.text])
                at = 0
                for piece in bpe.pieces([word.text]):
                    length = len(piece.removesuffix(END_OF_WORD))
                    offsets.append(word.span(at, at + length))
                    at += length
        return ids, offsets

    @property
    def backend(self) -> LibraryTokenizer | None:
        """The tokenizer as an object of the ``tokenizers`` library; ``None`` if the engine is not the library's."""
        self._refresh()
        if self._backend is None and isinstance(self._bpe, FastBPE):
            self._backend = library_tokenizer(self._bpe.model, self.tokens.added, self.tokens.marks())
        return self._backend
