"""A cache of bounded size."""

from __future__ import annotations

from collections.abc import Callable

MAX_KEY_LENGTH = 64


class BoundedCache(dict[str, tuple[int, ...]]):
    """A dict that caches the results of a function of a text.

    A full cache is cleared; frequent texts soon return to it. Long texts, which are rarely repeated, are not cached.
    Threads may share a cache.

    Args:
        compute: The function.
        size: Maximum number of cached results.

    >>> lengths = BoundedCache(lambda text: (len(text),), size=2)
    >>> lengths["ab"], lengths["abc"], lengths["abcd"], len(lengths)
    ((2,), (3,), (4,), 1)
    """

    def __init__(self, compute: Callable[[str], tuple[int, ...]], size: int) -> None:
        super().__init__()
        self._compute = compute
        self._size = size

    def __missing__(self, text: str) -> tuple[int, ...]:
        result = self._compute(text)
        if len(text) <= MAX_KEY_LENGTH:
            if len(self) >= self._size:
                self.clear()
            self[text] = result
        return result
