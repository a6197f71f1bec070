"""What callers pass, as plain Python objects: texts, ids and settings."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from gptcore.errors import InputError, TokenizerError

PlainText = str | list[str] | list[int]
"""A text, or its words, tokens or ids."""


def to_list(value: Any) -> Any:
    """Convert ids or texts to Python objects: an int, a str, or lists of them.

    Accepts tensors and arrays of any framework, columns of tables (pandas, datasets), other sequences, and iterators.
    """
    if isinstance(value, (str, bytes)):
        return value
    if hasattr(value, "numpy") and not hasattr(value, "tolist"):  # TensorFlow
        value = value.numpy()
    if hasattr(value, "tolist"):
        return value.tolist()
    return [to_list(item) for item in value] if isinstance(value, (Sequence, Iterator)) else value


def as_list(value: Any) -> Any:
    """``to_list``, but a list or tuple stays as it is."""
    return value if isinstance(value, (str, list, tuple)) else to_list(value)


def plain_text(text: Any, name: str) -> PlainText:
    """Check that an input is a text, or a list of words, tokens or ids, and return it.

    Args:
        text: The input.
        name: The name of the argument for errors, such as ``texts[3]``.

    Raises:
        InputError: the input is neither.
    """
    items = text if isinstance(text, str) else to_list(text)
    if isinstance(items, str) or (isinstance(items, list) and all(isinstance(item, (str, int)) for item in items)):
        return items
    raise InputError(f"{name} must be a str, or a list of words, tokens or ids; got {text!r:.80}")


def one_of(name: str, value: object, allowed: Sequence[str]) -> str:
    """Return a setting that must be one of the ``allowed`` words.

    Raises:
        TokenizerError: the value is another one.
    """
    if value not in allowed:
        raise TokenizerError(f"{name} must be one of {', '.join(map(repr, allowed))}; got {value!r}.")
    return allowed[allowed.index(value)]
