"""What a call does: texts to ids, ids to rows, rows to a result; for one text or many."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, cast

from gptcore.errors import InputError
from tokenization.batch_encoding import BatchEncoding
from tokenization.call_settings import WORDS, CallSettings
from tokenization.inputs import PlainText, plain_items, plain_text
from tokenization.padding import pad_rows
from tokenization.task_tokens import Part, Row
from tokenization.tokenizer import Tokenizer
from tokenization.truncation import rows_of

Warn = Callable[[int], None]
"""A function that is called with the length of a text that is too long for the model."""


def encode_texts(tokenizer: Tokenizer, texts: Sequence[PlainText], call: CallSettings, warn: Warn) -> BatchEncoding:
    """Encode one text or pair."""
    rows = rows_of(_parts(tokenizer, texts, call), call)
    return _to_encoding(rows, call, warn, batch=call.overflow)


def encode_batch(tokenizer: Tokenizer, items: Sequence[Any], call: CallSettings, warn: Warn) -> BatchEncoding:
    """Encode several texts or pairs.

    Args:
        tokenizer: The tokenizer.
        items: A str for each text, or a list or tuple of one or two texts: what ``batch_items`` and ``paired`` return.
        call: The settings.
        warn: Function that is called if a text is too long for the model.
    """
    if call.offsets or call.words or not all(isinstance(item, str) for item in items):
        batch = [_parts(tokenizer, texts, call) for texts in plain_items(items)]
    else:
        all_ids = tokenizer.batch_ids(cast("Sequence[str]", items), split_special_tokens=call.split_special_tokens)
        if call.is_plain:  # rows would cost more time than the ids of a frequent text
            _check_lengths(all_ids, call, warn)
            masks = {"attention_mask": [[1] * len(ids) for ids in all_ids]} if call.attention_mask else {}
            return BatchEncoding(input_ids=all_ids, **masks).convert_to_tensors(call.tensors)
        batch = [[Part(ids, [], [])] for ids in all_ids]
    rows = [row for i, parts in enumerate(batch) for row in rows_of(parts, call, i)]
    return _to_encoding(rows, call, warn, batch=True)


def _parts(tokenizer: Tokenizer, texts: Sequence[PlainText], call: CallSettings) -> list[Part]:
    """A text or pair as ids; with ``is_split_into_words``, each text is a list of words, or one word."""
    if not call.words:
        return [_part(tokenizer, text, call) for text in texts]
    return [
        _join_words([_part(tokenizer, plain_text(word, "a word"), call) for word in words])
        for words in ([text] if isinstance(text, str) else text for text in texts)
    ]


def _part(tokenizer: Tokenizer, text: PlainText, call: CallSettings) -> Part:
    """A text, or tokens or ids, as ids and, on request, their offsets."""
    if isinstance(text, str):
        if call.offsets:
            return Part(*tokenizer.ids_and_offsets(text, split_special_tokens=call.split_special_tokens), [])
        return Part(tokenizer.ids(text, split_special_tokens=call.split_special_tokens), [], [])
    if call.offsets:
        raise InputError("cannot return offsets of tokens or ids. Pass a text, or omit return_offsets_mapping.")
    if all(isinstance(item, int) for item in text):
        return Part(cast("list[int]", text), [], [])
    if not all(isinstance(item, str) for item in text):
        raise InputError(f"a list must hold only tokens or only ids; got {text!r:.80}")
    ids = [tokenizer.tokens.id_or_unknown(token) for token in cast("list[str]", text)]
    return Part(cast("list[int]", ids), [], [])


def _join_words(parts: Sequence[Part]) -> Part:
    """Words as one part, in which each id has the number of its word."""
    return Part(
        [token_id for part in parts for token_id in part.ids],
        [span for part in parts for span in part.offsets],
        [i for i, part in enumerate(parts) for _ in part.ids],
    )


def _check_lengths(all_ids: Iterable[list[int]], call: CallSettings, warn: Warn) -> None:
    """Warn of the first text that is too long for the model, unless truncation or ``verbose=False`` is set."""
    if call.limit is None and call.verbose:
        for ids in all_ids:
            if len(ids) > call.model_max_length:
                warn(len(ids))
                break


def _to_encoding(rows: list[Row], call: CallSettings, warn: Warn, *, batch: bool) -> BatchEncoding:
    """Pad rows and convert them to tensors, as requested; without ``batch``, the result is the only row."""
    _check_lengths((row["input_ids"] for row in rows), call, warn)
    if call.length:
        for row in rows:
            row["length"] = len(row["input_ids"])
    pad_rows(rows, call)
    words = [row.pop(WORDS) for row in rows] if call.words else None
    if batch:
        keys = rows[0] if rows else dict.fromkeys(["input_ids", *["attention_mask"] * call.attention_mask])
        encoding = BatchEncoding({key: [row[key] for row in rows] for key in keys})
    else:
        encoding = BatchEncoding(rows[0])
    encoding._words = words
    return encoding.convert_to_tensors(call.tensors, prepend_batch_axis=not batch)
