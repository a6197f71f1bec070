"""A memory with a size."""

from __future__ import annotations

from collections.abc import Callable

MAX_KEY_LENGTH = 64


class BoundedCache(dict[str, tuple[int, ...]]):
    """Remembers what a function gave for a text; looked up as a dict, at the speed of a dict.

    Forgets everything when full, which costs little: what is frequent is soon back. Long texts, which seldom come
    again, are not remembered. Threads may share one.

    Args:
        compute: the function.
        size: how many results are remembered at most.

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
