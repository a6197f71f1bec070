"""Truncate texts to the length of a row and, on request, return rows with the overflowing tokens."""

from __future__ import annotations

from collections.abc import Sequence

from gptcore.errors import InputError
from gptcore.spec.tasks import check_texts, part_length
from tokenization.call_settings import CallSettings
from tokenization.task_tokens import Part, Row, row_of_parts


def rows_of(parts: Sequence[Part], call: CallSettings, sample: int = 0) -> list[Row]:
    """Truncate a text or pair to one row and, on request, more rows with the overflowing tokens.

    Args:
        parts: One or two texts.
        call: The settings.
        sample: The number of the text in its batch.

    Raises:
        InputError: The texts do not fit the task, or cannot be truncated as requested.
    """
    if call.task is not None:
        check_texts(call.task, len(parts))
    if call.limit is None:
        return [row_of_parts(parts, call, sample)]
    first = parts[0]
    second = parts[1] if len(parts) > 1 else None
    if call.overflow and second is not None and call.truncation == "longest_first":
        raise InputError(
            "truncation must be 'only_first' or 'only_second' for pairs with return_overflowing_tokens; "
            "got 'longest_first'."
        )
    length, pair_length = _lengths(len(first.ids), None if second is None else len(second.ids), call)
    firsts = _windows(first, length, call)
    if second is None or pair_length is None:
        return [row_of_parts((window,), call, sample) for window in firsts]
    seconds = _windows(second, pair_length, call)
    return [row_of_parts((window, pair), call, sample) for window in firsts for pair in seconds]


def _lengths(length: int, pair_length: int | None, call: CallSettings) -> tuple[int, int | None]:
    """The number of tokens to keep of a text, or of each text of a pair, so that the row has at most ``limit``.

    Raises:
        InputError: The task's tokens leave no room, or the text that the strategy truncates is too short.
    """
    assert call.limit is not None
    parts = 1 if pair_length is None else 2
    added = 0 if call.task is None else parts + 1
    room = part_length(call.limit, parts) if call.as_in_training else call.limit - added
    if added and room < 1:
        raise InputError(f"max_length must leave room for text beside the tokens of {call.task}; got {call.limit}.")
    if call.as_in_training:
        return min(length, room), None if pair_length is None else min(pair_length, room)
    return truncate_pair(length, pair_length, room, call.truncation)


def truncate_pair(first: int, second: int | None, limit: int, strategy: str) -> tuple[int, int | None]:
    """The number of tokens to keep of each text, so that together they have at most ``limit``.

    Raises:
        InputError: The text that the strategy truncates is too short.
    """
    excess = first + (second or 0) - limit
    if strategy == "do_not_truncate" or excess <= 0:
        return first, second
    if second is None or strategy == "only_first":
        if first <= excess and limit > 0:
            raise InputError(
                f"cannot truncate: truncation={strategy!r} must remove {excess} tokens from the first text, which has "
                f"{first}. Use 'longest_first' or 'only_second', or raise max_length."
            )
        return max(0, first - excess), second
    if strategy == "only_second":
        if second <= excess:
            raise InputError(
                f"cannot truncate: truncation='only_second' must remove {excess} tokens from the second text, which "
                f"has {second}. Use 'longest_first' or 'only_first', or raise max_length."
            )
        return first, second - excess
    # First shorten the longer text to the length of the other, then shorten both.
    level = min(abs(first - second), excess)
    rest = excess - level
    if first > second:
        return first - level - rest // 2, second - (rest - rest // 2)
    return first - rest // 2, second - level - (rest - rest // 2)


def _windows(part: Part, length: int, call: CallSettings) -> list[Part]:
    """Cut a part to ``length`` and, on request, into more windows of this length that share ``stride`` tokens."""
    total, step = len(part.ids), length - call.stride
    if length >= total:
        return [part]
    if call.overflow and step < 1:
        raise InputError(
            f"stride must be less than {length}, the number of tokens that truncation keeps; got {call.stride}. "
            "Lower stride, or raise max_length."
        )
    count = 1 - (length - total) // step if call.overflow else 1
    if call.truncation_side == "right":
        cuts = [slice(i * step, i * step + length) for i in range(count)]
    else:
        cuts = [slice(max(0, total - i * step - length), total - i * step) for i in range(count)]
    return [Part(part.ids[cut], part.offsets[cut], part.words[cut]) for cut in cuts]
