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
        InputError: The input is neither a text nor such a list.
    """
    items = text if isinstance(text, str) else to_list(text)
    if isinstance(items, str) or (isinstance(items, list) and all(isinstance(item, (str, int)) for item in items)):
        return items
    raise InputError(f"{name} must be a str, or a list of words, tokens or ids; got {text!r:.80}")


def is_batch(text: object, is_split_into_words: bool) -> bool:
    """Whether an argument is several texts rather than one text or its words."""
    return isinstance(text, (list, tuple)) and not (is_split_into_words and _are_words(text))


def _are_words(items: Sequence[object]) -> bool:
    """Whether items are the words of one text rather than several texts."""
    return not items or isinstance(items[0], (str, int))


def batch_items(batch: object, is_split_into_words: bool) -> list[Any]:
    """The items of a batch: each is a str, or a list of one or two texts.

    Raises:
        InputError: The batch is not a list, or an item is neither a text nor a pair.
    """
    listed = as_list(batch)
    if not isinstance(listed, (list, tuple)):
        raise InputError(f"a batch must be a list of texts; got {type(batch).__name__}.")
    items: list[Any] = []
    for i, item in enumerate(listed):
        parts = item if isinstance(item, str) else as_list(item)
        is_pair = is_batch(parts, is_split_into_words)
        if is_pair and len(parts) != 2:
            raise InputError(f"texts[{i}] must be a text or a pair of texts; got {len(parts)} items.")
        items.append(parts if is_pair or isinstance(item, str) else [parts])
    return items


def paired(texts: Sequence[Any], pairs: Any) -> list[Any]:
    """Combine each of several texts with its second text.

    Raises:
        InputError: The number of second texts differs from the number of texts.
    """
    is_list = isinstance(pairs, (list, tuple))
    if not is_list or len(pairs) != len(texts):
        size = f"{len(pairs)} texts" if is_list else "one text"
        raise InputError(f"text and text_pair must have the same length; got {len(texts)} texts and {size}.")
    return list(zip(texts, pairs, strict=True))


def plain_items(items: Sequence[Any]) -> list[list[PlainText]]:
    """Check the items of a batch, and return each as a list of one or two texts.

    Raises:
        InputError: A text is neither a str nor a list of words, tokens or ids.
    """
    return [
        [plain_text(text, f"{name}[{i}]") for text, name in zip(texts, ("texts", "text_pair"), strict=False)]
        for i, texts in enumerate([item] if isinstance(item, str) else item for item in items)
    ]


def one_of(name: str, value: object, allowed: Sequence[str]) -> str:
    """Return a setting that must be one of the ``allowed`` words.

    Raises:
        TokenizerError: The value is not one of them.
    """
    if value not in allowed:
        raise TokenizerError(f"{name} must be one of {', '.join(map(repr, allowed))}; got {value!r}.")
    return allowed[allowed.index(value)]
