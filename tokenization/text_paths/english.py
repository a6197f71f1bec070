"""The words of a line, by spaCy's English rules."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Sequence
from functools import lru_cache
from itertools import accumulate
from typing import Any

_WINDOW = 24
"""The number of characters at an end of a chunk that the affix rules see at first."""

_MARGIN = 8
"""A match this near to the inner edge of the window lets the rules see more. Only the rule for dots reaches further."""

_CACHED_WINDOWS = 4096
_MAX_ADDRESS_STEPS = 1_000_000
"""spaCy's pattern for web addresses tries every colon as the end of a user's name: quadratic in hostile text."""

_LETTERS = re.compile(r"[a-z]+")
"""No affix and no infix consists of small letters only."""


class EnglishRules:
    """spaCy's tokenizer, with the rules of ``spacy.lang.en`` and no model.

    The rules split prefixes and suffixes, such as punctuation, off the ends of a chunk. The rest is a special case, a
    web address, or is split at infixes. Finally, special cases are matched among the words of the whole line. In each
    step, spaCy scans the whole rest of a chunk, and this class only its ends, so that a long chunk of punctuation takes
    linear time.

    Raises:
        ImportError: The package spacy is not installed.
    """

    def __init__(self) -> None:
        from spacy.lang.en import English
        from spacy.symbols import ORTH
        from spacy.util import compile_infix_regex, compile_prefix_regex, compile_suffix_regex

        defaults: Any = English.Defaults
        self._prefix: re.Pattern[str] = compile_prefix_regex(defaults.prefixes)
        self._suffix: re.Pattern[str] = compile_suffix_regex(defaults.suffixes)
        self._infix: re.Pattern[str] = compile_infix_regex(defaults.infixes)
        self._url_match: Callable[[str], Any] = defaults.url_match
        self._special: dict[str, list[str]] = {
            text: [token[ORTH] for token in tokens] for text, tokens in defaults.tokenizer_exceptions.items()
        }
        self._longest_special = max(map(len, self._special))
        # Hostile text is long and repetitive, so the spans in a window are cached.
        self._prefix_span = lru_cache(_CACHED_WINDOWS)(lambda window: _span(self._prefix.match(window)))
        self._suffix_span = lru_cache(_CACHED_WINDOWS)(lambda window: _span(self._suffix.search(window)))
        self._broken = self._broken_special()
        self._broken_lengths: dict[str, set[int]] = defaultdict(set)
        for words in self._broken:
            self._broken_lengths[words[0]].add(len(words))

    def rules(self) -> list[object]:
        """The rules, for the fingerprint."""
        url = getattr(self._url_match, "__self__", self._url_match)
        patterns = [self._prefix, self._suffix, self._infix, url]
        return [[getattr(pattern, "pattern", repr(pattern)) for pattern in patterns], sorted(self._special.items())]

    def split_line(self, chunks: Sequence[str]) -> list[str]:
        """The words of the chunks of one line."""
        words: list[str] = []
        chunk_of: list[int] = []
        for i, chunk in enumerate(chunks):
            new = self.split(chunk)
            words += new
            chunk_of += [i] * len(new)
        return self._join_special(words, chunk_of)

    def split_alone(self, chunk: str) -> list[str] | None:
        """The words of a chunk; ``None`` if a neighbour in the line could change them."""
        if _LETTERS.fullmatch(chunk) and chunk not in self._special:
            return [chunk]
        words = self.split(chunk)
        joined = self._join_special(words, [0] * len(words)) if len(words) > 1 else words
        return words if words == joined else None

    def split(self, chunk: str) -> list[str]:
        """The words of a chunk, before special cases are matched across words."""
        if _LETTERS.fullmatch(chunk) and chunk not in self._special:
            return [chunk]
        return self._split(chunk, self._special)

    def _split(self, chunk: str, special: dict[str, list[str]]) -> list[str]:
        start, end = 0, len(chunk)
        prefixes: list[str] = []
        suffixes: list[str] = []

        def is_special(start: int, end: int) -> bool:
            return start < end <= start + self._longest_special and chunk[start:end] in special

        def is_plain(start: int, end: int) -> bool:
            return end - start <= _WINDOW and _LETTERS.fullmatch(chunk, start, end) is not None

        size = -1
        while start < end and end - start != size and not is_special(start, end) and not is_plain(start, end):
            size = end - start
            prefix = self._prefix_length(chunk, start, end)
            if prefix and is_special(start + prefix, end):
                prefixes.append(chunk[start : start + prefix])
                start += prefix
                break
            suffix = self._suffix_length(chunk, start + prefix, end)
            if suffix and is_special(start, end - suffix):
                suffixes.append(chunk[end - suffix : end])
                end -= suffix
                break
            if prefix:
                prefixes.append(chunk[start : start + prefix])
                start += prefix
            if suffix:
                suffixes.append(chunk[end - suffix : end])
                end -= suffix
        rest = chunk[start:end]
        if not rest:
            middle = []
        elif rest in special:
            middle = special[rest]
        elif _LETTERS.fullmatch(rest) or self._is_address(rest):
            middle = [rest]
        else:
            middle = self._split_at_infixes(rest)
        return [*prefixes, *middle, *reversed(suffixes)]

    def _is_address(self, text: str) -> bool:
        return text.count(":") * len(text) <= _MAX_ADDRESS_STEPS and bool(self._url_match(text))

    def _prefix_length(self, chunk: str, start: int, end: int) -> int:
        """The length of the prefix that a rule splits off."""
        window = _WINDOW
        while True:
            first, last = self._prefix_span(chunk[start : min(end, start + window)])
            if start + window >= end or last < window - _MARGIN:
                return last - first
            window *= 4

    def _suffix_length(self, chunk: str, start: int, end: int) -> int:
        """The length of the suffix that a rule splits off."""
        window = _WINDOW
        while True:
            edge = max(start, end - window)
            first, last = self._suffix_span(chunk[edge:end])
            if edge == start or first == last or first >= _MARGIN:
                return last - first
            window *= 4

    def _split_at_infixes(self, text: str) -> list[str]:
        words: list[str] = []
        start = 0
        for match in self._infix.finditer(text):
            if match.start() == 0:
                continue
            if match.start() != start:
                words.append(text[start : match.start()])
            if match.group():
                words.append(match.group())
            start = match.end()
        if start < len(text):
            words.append(text[start:])
        return words

    def _broken_special(self) -> dict[tuple[str, ...], list[str]]:
        """The words that the affix rules split a special case into -> the words of the special case."""
        return {
            tuple(self._split(text, {})): tokens
            for text, tokens in self._special.items()
            if self._prefix.match(text) or self._suffix.search(text) or self._infix.search(text)
        }

    def _join_special(self, words: list[str], chunk_of: list[int]) -> list[str]:
        """Replace the words that a special case was split into by the words of the special case.

        Longer sequences have priority over shorter ones, earlier ones over later ones, and overlapping ones are
        ignored. A sequence that spans chunks is not joined, but still blocks the sequences that it overlaps.
        """
        candidates: list[tuple[int, int, list[str]]] = []
        for start, word in enumerate(words):
            for length in self._broken_lengths.get(word, ()):
                end = start + length
                tokens = self._broken.get(tuple(words[start:end]))
                if tokens is not None and end <= len(words):
                    candidates.append((start, end, tokens))
        if not candidates:
            return words
        candidates.sort(key=lambda match: (match[0] - match[1], match[0]))
        seen: set[int] = set()
        replacements: dict[int, tuple[int, list[str]]] = {}
        for start, end, tokens in candidates:
            if start not in seen and end - 1 not in seen and chunk_of[start] == chunk_of[end - 1]:
                replacements[start] = end, tokens
            seen.update(range(start, end))
        result: list[str] = []
        at = 0
        while at < len(words):
            end, tokens = replacements.get(at, (at + 1, [words[at]]))
            result += tokens
            at = end
        return result


def _span(match: re.Match[str] | None) -> tuple[int, int]:
    return match.span() if match else (0, 0)


def boundaries(words: Sequence[str]) -> list[tuple[int, int]]:
    """Start and end (exclusive) of each word in the text that they form together.

    >>> boundaries(["do", "n't"])
    [(0, 2), (2, 5)]
    """
    ends = list(accumulate(map(len, words)))
    return list(zip([0, *ends], ends, strict=False))
