"""Find added tokens in a text."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from tokenizers import AddedToken

from tokenization.text_paths.characters import lower


class Segment(NamedTuple):
    """A part of a text: text to tokenize, or an added token."""

    text: str
    start: int
    token_id: int | None = None


class Matcher:
    """Finds the added tokens of a tokenizer in a text. Immutable: every change of the tokens creates a new matcher.

    Args:
        special: The special tokens, which are never lower-cased.
        added: The added tokens by id.
    """

    def __init__(self, special: Iterable[str], added: Mapping[int, AddedToken]) -> None:
        self._added = dict(added)
        self._ids = {token.content: token_id for token_id, token in added.items()}
        normalized = [token.content for token in added.values() if not token.special and token.normalized]
        self._protected = [*special, *normalized]
        self._contents = tuple(dict.fromkeys([*self._protected, *self._ids]))
        self._protected_pattern = re.compile(f"({'|'.join(map(re.escape, self._protected)) or '$.'})")
        longest_first = sorted(self._ids, key=len, reverse=True)
        self._added_pattern = re.compile("|".join(map(re.escape, longest_first)) or "$.")

    def occur_in(self, text: str) -> bool:
        """Whether a special or added token occurs in a text."""
        for token in self._contents:  # noqa: SIM110  # any() with a generator costs three times as much
            if token in text:
                return True
        return False

    def lower(self, text: str) -> str:
        """Lower-case a text except for special tokens."""
        if not any(token in text for token in self._protected):
            return lower(text)
        parts = self._protected_pattern.split(text)
        return "".join(part if i % 2 else lower(part) for i, part in enumerate(parts))

    def segments(self, text: str) -> list[Segment]:
        """Split lower-cased text at added tokens; the leftmost match has priority, then the longest."""
        if not any(token in text for token in self._ids):
            return [Segment(text, 0)] if text else []
        parts: list[Segment] = []
        at = 0
        for match in self._added_pattern.finditer(text):
            parts += [Segment(text[at : match.start()], at)] if at < match.start() else []
            parts.append(Segment(match.group(), match.start(), self._ids[match.group()]))
            at = match.end()
        parts += [Segment(text[at:], at)] if at < len(text) else []
        return [part for part in self._stripped(parts) if part.text]

    def _stripped(self, parts: list[Segment]) -> list[Segment]:
        """Apply the flags of added tokens: strip white space next to them, or merge them into a longer word."""
        for i, part in enumerate(parts):
            if part.token_id is None:
                continue
            token = self._added[part.token_id]
            left = parts[i - 1] if i > 0 else None
            right = parts[i + 1] if i + 1 < len(parts) else None
            if token.rstrip and right:
                stripped = right.text.lstrip()
                parts[i + 1] = right._replace(text=stripped, start=right.start + len(right.text) - len(stripped))
            if token.lstrip and left:
                parts[i - 1] = left._replace(text=left.text.rstrip())
            if token.single_word and left and left.text and left.text[-1] != " ":
                parts[i - 1] = Segment(left.text + part.text, left.start)
                parts[i] = Segment("", part.start)
            elif token.single_word and right and right.text and right.text[0] != " ":
                parts[i + 1] = Segment(part.text + parts[i + 1].text, part.start)
                parts[i] = Segment("", part.start)
        return parts
