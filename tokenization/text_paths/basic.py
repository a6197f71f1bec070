"""The basic text path: BERT's BasicTokenizer."""

from __future__ import annotations

import re
from collections.abc import Iterator

from tokenization.text_paths.alignment import Aligned, join
from tokenization.text_paths.characters import (
    WHITE_SPACE,
    is_cjk,
    is_dropped,
    is_mark,
    is_punctuation,
    lower,
    normalize,
)
from tokenization.text_paths.pretokenizer import BLOCK_LENGTH, PreTokenizer, cut_at_white_space

_CHUNK = re.compile(f"[^{WHITE_SPACE}]+")
_UNSEEN = re.compile(r"[\x0b\x0c\x1c-\x1f\x85]+")
"""Dropped here, but white space for ``str.split``."""

_ASCII_PUNCTUATION = "".join(mark for mark in map(chr, range(0x21, 0x7F)) if not mark.isalnum())
_OVERLAY = "\u0338"
"""The only character that composes with ASCII punctuation: with an equals sign before it, it becomes one character."""

_ASCII_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]+")
_ASCII_WORD = re.compile(r"[a-z0-9]+|[!-/:-@\[-`{-~]")


class BasicPreTokenizer(PreTokenizer):
    """Drop control characters, strip accents, and split at white space, punctuation and CJK ideographs.

    >>> path = BasicPreTokenizer()
    >>> list(path.words("don't stop\\u2014it's a cafe\\u0301, n\\u00b0 5"))
    ['don', "'", 't', 'stop', '—', 'it', "'", 's', 'a', 'cafe', ',', 'n°', '5']
    """

    name = "basic"
    fingerprint = "unicode-14"

    def blocks(self, text: str) -> Iterator[list[str]]:
        if not text.isprintable():
            text = _UNSEEN.sub("", text)
        for part in cut_at_white_space(text):
            yield _apart(part).split()

    def chunks(self, text: str) -> list[str] | None:
        if len(text) > BLOCK_LENGTH or not text.isprintable():
            return None
        return _apart(text).split()

    def split(self, chunk: str) -> list[str]:
        if chunk.isascii():
            if chunk.isalnum():
                return [chunk]
            return _ASCII_WORD.findall(_ASCII_CONTROL.sub("", chunk))
        spaced = "".join(
            f" {character} " if is_cjk(character) else character for character in chunk if not is_dropped(character)
        )
        return [
            word
            for part in normalize("NFC", spaced).split()
            for word in _split_at_punctuation(_without_accents(lower(part)))
        ]

    def split_line(self, chunks: list[str]) -> list[str]:
        return [word for chunk in chunks for word in self.split(chunk)]

    def aligned_words(self, text: Aligned) -> Iterator[Aligned]:
        for chunk in text.find(_CHUNK):
            if chunk.text.isascii() and not _ASCII_CONTROL.search(chunk.text):
                yield from chunk.find(_ASCII_WORD)
            else:
                yield from self._aligned(chunk)

    def _aligned(self, chunk: Aligned) -> Iterator[Aligned]:
        visible = chunk.map(lambda character: "" if is_dropped(character) else character)
        for part in _between_ideographs(visible):
            plain = _aligned_plain(part)
            start = 0
            for word in _split_at_punctuation(plain.text):
                yield plain.cut(start, start + len(word))
                start += len(word)


def _apart(text: str) -> str:
    """Put spaces around ASCII punctuation, so that fewer different chunks have to be cached."""
    if _OVERLAY not in text:
        for mark in _ASCII_PUNCTUATION:
            if mark in text:
                text = text.replace(mark, f" {mark} ")
    return text


def _without_accents(text: str) -> str:
    return "".join(character for character in normalize("NFD", text) if not is_mark(character))


def _split_at_punctuation(text: str) -> list[str]:
    words: list[str] = []
    start = 0
    for i, character in enumerate(text):
        if is_punctuation(character):
            if start < i:
                words.append(text[start:i])
            words.append(character)
            start = i + 1
    if start < len(text):
        words.append(text[start:])
    return words


def _between_ideographs(text: Aligned) -> Iterator[Aligned]:
    start = 0
    for i, character in enumerate(text.text):
        if is_cjk(character):
            if start < i:
                yield text.cut(start, i)
            yield text.cut(i, i + 1)
            start = i + 1
    if start < len(text.text):
        yield text.cut(start, len(text.text))


def _plain(text: str) -> str:
    return _without_accents(lower(normalize("NFC", text)))


def _aligned_plain(text: Aligned) -> Aligned:
    """Remove accents; aligned by character if that gives the same text, else by letter with its marks."""
    whole = _plain(text.text)
    by_character = text.map(_plain)
    if by_character.text == whole:
        return by_character
    starters = [i for i, character in enumerate(text.text) if i == 0 or not is_mark(character)]
    ends = [*starters[1:], len(text.text)]
    letters = [text.cut(start, end) for start, end in zip(starters, ends, strict=True)]
    by_letter = join([_standing_for(letter, _plain(letter.text)) for letter in letters])
    return by_letter if by_letter.text == whole else _standing_for(text, whole)


def _standing_for(old: Aligned, new: str) -> Aligned:
    start, end = old.span(0, len(old.text))
    return Aligned(new, [start] * len(new), [end] * len(new))
