"""Text as it is generated, in pieces that never split a character or a word."""

from __future__ import annotations

import atexit
import queue
import threading
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np


class TextStreamer:
    """A ``streamer`` of ``generate``: gives text to a function as soon as a word is whole.

    Args:
        tokenizer: decodes ids.
        on_text: called with each piece; the pieces together are the whole text.
        skip_prompt: leave the prompt out.

    >>> class Words:
    ...     def decode(self, ids):
    ...         return "".join(["lo", "w ", "lo ", "tide"][i] for i in ids).strip()
    >>> pieces = []
    >>> streamer = TextStreamer(Words(), pieces.append)
    >>> for ids in ([[0]], [1], [2], [3]):
    ...     streamer.put(np.array(ids))
    >>> streamer.end()
    >>> pieces
    ['w', ' lo', ' tide']
    """

    def __init__(self, tokenizer: Any, on_text: Callable[[str], Any], *, skip_prompt: bool = True) -> None:
        self._tokenizer, self._on_text, self._skip_prompt = tokenizer, on_text, skip_prompt
        self._ids: list[int] = []
        self._given = 0  # characters
        self._at_prompt = True

    def put(self, ids: Any) -> None:
        """Take the prompt, (1, T), then each new token, (1,)."""
        is_prompt, self._at_prompt = self._at_prompt, False
        if is_prompt and self._skip_prompt:
            return
        self._ids += np.asarray(ids).reshape(-1).tolist()
        text = self._tokenizer.decode(self._ids)
        whole = len(text) - len(text.split(" ")[-1])  # what follows the last space may still grow
        self._give(text, max(whole - 1, 0))

    def end(self) -> None:
        """Give the rest."""
        text = self._tokenizer.decode(self._ids)
        self._give(text, len(text))

    def _give(self, text: str, end: int) -> None:
        if end > self._given:
            self._on_text(text[self._given : end])
            self._given = end


def stream_text(model: Any, tokenizer: Any, input_ids: Any, **settings: Any) -> Iterator[str]:
    """Pieces of the continuation of one prompt, while a thread generates it.

    The thread ends with the next token once the iterator is closed or forgotten, or the program ends.

    Args:
        model: of any framework, with ``generate``.
        tokenizer: decodes ids, also for ``stop_strings``.
        input_ids: (1, T), as ``generate`` takes them.
        settings: of ``GenerationConfig``.
    """
    pieces: queue.Queue[str | BaseException | None] = queue.Queue()
    unwanted = threading.Event()

    class Streamer(TextStreamer):
        def put(self, ids: Any) -> None:
            if unwanted.is_set():
                raise _UnwantedError
            super().put(ids)

    def run() -> None:
        try:
            model.generate(input_ids, streamer=Streamer(tokenizer, pieces.put), tokenizer=tokenizer, **settings)
            pieces.put(None)
        except _UnwantedError:
            pass
        except BaseException as error:  # goes on in the thread that reads
            pieces.put(error)
        finally:
            atexit.unregister(end)

    def end() -> None:
        """An interpreter that ends while a thread is inside a framework aborts."""
        unwanted.set()
        thread.join()

    thread = threading.Thread(target=run, daemon=True)
    atexit.register(end)  # now: what ends later than the framework's own functions comes too late
    thread.start()
    try:
        while (piece := pieces.get()) is not None:
            if isinstance(piece, BaseException):
                raise piece
            yield piece
    finally:
        unwanted.set()


class _UnwantedError(Exception):
    """Nobody reads a stream any more."""
