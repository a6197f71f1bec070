"""Padding, for the rows of a call and for inputs that are already encoded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from gptcore.errors import InputError
from tokenization.batch_encoding import BatchEncoding
from tokenization.call_settings import CallSettings
from tokenization.inputs import as_list, to_list
from tokenization.task_tokens import Row


def pad_rows(rows: Sequence[Row], call: CallSettings) -> None:
    """Pad the lists of rows, in place."""
    if call.padding == "do_not_pad" or not rows:
        return
    longest = max(len(row["input_ids"]) for row in rows)
    length = call.max_length if call.padding == "max_length" and call.max_length is not None else longest
    if call.multiple:
        length = -(-length // call.multiple) * call.multiple
    for row in rows:
        for name, value in call.fill.items():
            if name in row:
                padding = [value] * (length - len(row[name]))
                row[name] = [*row[name], *padding] if call.padding_side == "right" else [*padding, *row[name]]


def columns_of(encoded_inputs: Mapping[str, Any] | Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Encoded inputs by key: one row, a dict of lists of rows, or a list of rows.

    Raises:
        InputError: ``input_ids`` are missing.
    """
    if not isinstance(encoded_inputs, Mapping):
        examples = as_list(encoded_inputs)
        keys = examples[0] if examples else {}
        encoded_inputs = {key: [example[key] for example in examples] for key in keys}
    columns = {key: to_list(value) for key, value in encoded_inputs.items()}
    if "input_ids" not in columns:
        raise InputError(f"encoded_inputs must have input_ids; got {', '.join(columns) or 'no keys'}.")
    return columns


def pad_columns(columns: Mapping[str, Any], call: CallSettings) -> BatchEncoding:
    """Pad encoded inputs, given by key as ``columns_of`` returns them."""
    batch = bool(columns["input_ids"]) and isinstance(columns["input_ids"][0], list)
    count = len(columns["input_ids"]) if batch else 1
    rows: list[Row] = [{key: value[i] if batch else value for key, value in columns.items()} for i in range(count)]
    for row in rows:
        if call.attention_mask and "attention_mask" not in row:
            row["attention_mask"] = [1] * len(row["input_ids"])
    pad_rows(rows, call)
    if batch:
        return BatchEncoding({key: [row[key] for row in rows] for key in rows[0]}).convert_to_tensors(call.tensors)
    return BatchEncoding(rows[0]).convert_to_tensors(call.tensors)
