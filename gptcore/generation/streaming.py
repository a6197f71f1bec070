"""Text as it is generated, in pieces that never split a character or a word."""

from __future__ import annotations

import atexit
import queue
import threading
from collections.abc import Callable, Iterator
from typing import Any, Unpack

import numpy as np

from gptcore.generation.config import GenerationConfig, GenerationSettings
from gptcore.settings import passes_on


class TextStreamer:
    """A ``streamer`` for ``generate`` that passes text to a function as soon as a word is complete.

    Args:
        tokenizer: The tokenizer that decodes the ids.
        on_text: A function that is called with each piece of text. The pieces together are the whole text.
        skip_prompt: Whether to omit the prompt. Default: true.
        readable: Whether to remove the spaces that the model puts around punctuation; pieces then arrive later, when
            the following words determine their spaces. Default: false.

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

    def __init__(
        self, tokenizer: Any, on_text: Callable[[str], Any], *, skip_prompt: bool = True, readable: bool = False
    ) -> None:
        self._tokenizer, self._on_text, self._skip_prompt = tokenizer, on_text, skip_prompt
        self._options = {"readable": True} if readable else {}
        self._ids: list[int] = []
        self._text = ""  # of all ids
        self._given = 0  # characters passed on, without white space, which following words may change
        self._at_prompt = True

    def put(self, ids: Any) -> None:
        """Receive the prompt, (1, T), in the first call, then each new token, (1,)."""
        is_prompt, self._at_prompt = self._at_prompt, False
        if is_prompt and self._skip_prompt:
            return
        self._ids += np.asarray(ids).reshape(-1).tolist()
        text, before = self._tokenizer.decode(self._ids, **self._options), self._text
        changes = (i for i, (new, old) in enumerate(zip(text, before, strict=False)) if new != old)
        settled = next(changes, min(len(text), len(before))) if self._options else len(text)
        self._text = text
        self._give(text.rfind(" ", 0, settled))  # what follows the last space may still grow

    def end(self) -> None:
        """Pass on the remaining text."""
        self._give(len(self._text))

    def _give(self, end: int) -> None:
        start = self._given_end()
        if end > start:
            piece = self._text[start:end]
            self._given += sum(not character.isspace() for character in piece)
            self._on_text(piece)

    def _given_end(self) -> int:
        """The end, in the text, of the characters that were passed on."""
        position, left = 0, self._given
        while left:
            left -= not self._text[position].isspace()
            position += 1
        return position


@passes_on(GenerationConfig)
def stream_text(
    model: Any,
    tokenizer: Any,
    input_ids: Any,
    *,
    readable: bool = False,
    generation_config: GenerationConfig | None = None,
    **settings: Unpack[GenerationSettings],
) -> Iterator[str]:
    """Yield pieces of the continuation of one prompt while a thread generates it.

    The thread stops at the next token after the iterator is closed or garbage-collected, or the program ends.

    Args:
        model: A model of any framework with ``generate``.
        tokenizer: The tokenizer that decodes the ids, also for ``stop_strings``.
        input_ids: The prompt, (1, T), as for ``generate``.
        readable: Whether to remove the spaces that the model puts around punctuation. Default: false.
        generation_config: Base settings, overridden by ``settings``. Default: the model's.
        settings: Settings of ``GenerationConfig``.
    """
    options: dict[str, Any] = {"tokenizer": tokenizer, **settings}
    if generation_config is not None:
        options["generation_config"] = generation_config
    pieces: queue.Queue[str | BaseException | None] = queue.Queue()
    unwanted = threading.Event()

    class Streamer(TextStreamer):
        def put(self, ids: Any) -> None:
            if unwanted.is_set():
                raise _UnwantedError
            super().put(ids)

    def run() -> None:
        try:
            streamer = Streamer(tokenizer, pieces.put, readable=readable)
            model.generate(input_ids, streamer=streamer, **options)
            pieces.put(None)
        except _UnwantedError:
            pass
        except BaseException as error:  # raised again in the thread that reads
            pieces.put(error)
        finally:
            atexit.unregister(end)

    def end() -> None:
        """Stop the thread: the interpreter aborts if it exits while a thread is inside a framework."""
        unwanted.set()
        thread.join()

    thread = threading.Thread(target=run, daemon=True)
    atexit.register(end)  # registered last, so that it runs before the framework's own exit functions
    thread.start()
    try:
        while (piece := pieces.get()) is not None:
            if isinstance(piece, BaseException):
                raise piece
            yield piece
    finally:
        unwanted.set()


class _UnwantedError(Exception):
    """The stream is no longer read."""
