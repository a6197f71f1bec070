"""Text that records which characters of the user's text it comes from."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

Span = tuple[int, int]


class Aligned(NamedTuple):
    """Characters, and for each the half-open span of the original text that it comes from."""

    text: str
    starts: Sequence[int]
    ends: Sequence[int]

    @staticmethod
    def identity(text: str, at: int = 0) -> Aligned:
        """A copy of the original, from position ``at`` on."""
        end = at + len(text)
        return Aligned(text, range(at, end), range(at + 1, end + 1))

    def cut(self, start: int, end: int) -> Aligned:
        """The characters from ``start`` to ``end``."""
        return Aligned(self.text[start:end], self.starts[start:end], self.ends[start:end])

    def span(self, start: int, end: int) -> Span:
        """The span of the original text that the characters from ``start`` to ``end`` (at least one) come from."""
        return min(self.starts[start:end]), max(self.ends[start:end])

    def map(self, change: Callable[[str], str]) -> Aligned:
        """Change each character by itself; the result keeps the span of the character."""
        new = [change(character) for character in self.text]
        if all(len(character) == 1 for character in new):
            return Aligned("".join(new), self.starts, self.ends)
        order = [i for i, characters in enumerate(new) for _ in characters]
        return Aligned("".join(new), [self.starts[i] for i in order], [self.ends[i] for i in order])

    def find(self, pattern: re.Pattern[str]) -> Iterator[Aligned]:
        """Every match of a pattern."""
        for match in pattern.finditer(self.text):
            yield self.cut(*match.span())

    def rewritten(self, new: str) -> Aligned:
        """Replace the text. If the length is the same, alignment is by character; otherwise equal ends stay aligned.

        The characters in between then all have the span of the whole replaced part.
        """
        old = self.text
        if len(old) == len(new):
            return Aligned(new, self.starts, self.ends)
        shorter = min(len(old), len(new))
        head = next((i for i in range(shorter) if old[i] != new[i]), shorter)
        tail = next((i for i in range(shorter - head) if old[-1 - i] != new[-1 - i]), shorter - head)
        if head + tail == len(new) and head:
            head -= 1  # deleted characters belong to the character before them
        start, end = self._between(head, len(old) - tail)
        middle = len(new) - head - tail
        return Aligned(
            new,
            [*self.starts[:head], *[start] * middle, *self.starts[len(old) - tail :]],
            [*self.ends[:head], *[end] * middle, *self.ends[len(old) - tail :]],
        )

    def _between(self, start: int, end: int) -> Span:
        """The span of the characters from ``start`` to ``end``, which may be empty."""
        if start < end:
            return self.span(start, end)
        at = self.ends[start - 1] if start else self.starts[0] if self.starts else 0
        return at, at


def join(parts: Sequence[Aligned]) -> Aligned:
    """Concatenate aligned texts."""
    if len(parts) == 1:
        return parts[0]
    return Aligned(
        "".join(part.text for part in parts),
        [start for part in parts for start in part.starts],
        [end for part in parts for end in part.ends],
    )
