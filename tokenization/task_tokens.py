"""Join one or two texts to a row, with the tokens of a task around them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, TypeVar

from tokenization.call_settings import WORDS, CallSettings
from tokenization.text_paths.alignment import Span

T = TypeVar("T")
Row = dict[str, Any]
"""One row of a result: key -> value."""


class Part(NamedTuple):
    """A text as ids and, on request, the span and the word that each of them comes from."""

    ids: list[int]
    offsets: list[Span]
    words: list[int]


def row_of_parts(parts: Sequence[Part], call: CallSettings, sample: int) -> Row:
    """A row with the ids and the requested keys."""

    def row_of(values: Sequence[list[T]], *marks: T) -> list[T]:
        return joined(values, marks if call.marks else None)

    row: Row = {"input_ids": joined([part.ids for part in parts], call.marks)}
    if call.token_type_ids:
        row["token_type_ids"] = row_of([[i] * len(part.ids) for i, part in enumerate(parts)], 0, 0, len(parts) - 1)
    if call.attention_mask:
        row["attention_mask"] = [1] * len(row["input_ids"])
    if call.special_tokens_mask:
        row["special_tokens_mask"] = row_of([[0] * len(part.ids) for part in parts], 1, 1, 1)
    if call.offsets:
        row["offset_mapping"] = row_of([part.offsets for part in parts], (0, 0), (0, 0), (0, 0))
    if call.overflow:
        row["overflow_to_sample_mapping"] = sample
    if call.words:
        words: list[list[int | None]] = [[*part.words] for part in parts]
        row[WORDS] = row_of(words, None, None, None)
    return row


def joined(parts: Sequence[list[T]], marks: Sequence[T] | None) -> list[T]:
    """Join one or two parts to a row; ``marks`` are the items for the start, delimiter and extract tokens, if any.

    >>> joined([[5, 6], [7]], (1, 2, 3)), joined([[5, 6]], (1, 2, 3)), joined([[5, 6], [7]], None)
    ([1, 5, 6, 2, 7, 3], [1, 5, 6, 3], [5, 6, 7])
    """
    if marks is not None:
        start, delimiter, extract = marks
        return [start, *parts[0], *(item for part in parts[1:] for item in (delimiter, *part)), extract]
    return parts[0] if len(parts) == 1 else parts[0] + parts[1]
