"""Examples of a task from the rows of a labelled dataset: encoded texts, and targets."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from numbers import Number
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gptcore.errors import ConfigError, DataError, warn_once
from gptcore.spec.config import OpenAIGPTConfig
from gptcore.spec.inputs import IGNORED_LABEL
from gptcore.spec.parameters import Head
from gptcore.spec.tasks import TASK_TOKENS, TASKS, Task, part_length
from gptcore.storage.tables import check_columns

LABEL = "label"
MISSING = ("", "-", "nan", "NaN", "None", "null", "<NA>", "NaT")
"""Spellings of a missing label."""

LENGTH_STEP = 32  # lengths are rounded up to a multiple of this, so that few programs are compiled

_WHOLE = re.compile(r"(-?(?:0|[1-9][0-9]*))(?:\.0+)?")


class TaskExamples:
    """The rows of a dataset, encoded: a random-access source for ``Batches``.

    Args:
        task: A name in ``TASKS``.
        rows: Mappings with the columns of the task and ``label``.
        tokenizer: A tokenizer with the tokens of ``add_task_tokens``.
        config: The config of the model: ``n_positions`` limits the length, ``label2id`` names the labels.
        columns: Names of the columns, in the task's order. Default: the task's names.
        labelled: Whether the rows have labels; if not, batches have no ``targets``. Default: true.

    Raises:
        DataError: There are no rows, a text is not a string, or a label is missing or not in the config; the error
            names the row.
    """

    def __init__(
        self,
        task: str,
        rows: Sequence[Mapping[str, Any]],
        tokenizer: Any,
        config: OpenAIGPTConfig,
        columns: Sequence[str] | None = None,
        *,
        labelled: bool = True,
    ) -> None:
        self.task, self.columns = TASKS[task], tuple(columns or TASKS[task].columns)
        if not rows:
            raise DataError("the dataset must have at least one row; got none.")
        self.special = [tokenizer.convert_tokens_to_ids(token) for token in TASK_TOKENS]
        self.limit = config.n_positions
        if part_length(self.limit, len(self.task.sequences(self.columns)[0])) < 1:
            raise ConfigError(f"n_positions must leave room for the texts of {task} and its tokens; got {self.limit}.")
        self.truncated = 0
        where = places(rows)
        texts = [self.texts(place, row) for place, row in zip(where, rows, strict=True)]
        targets = [
            target_of(place, row.get(LABEL), self.task, config, len(self.columns) - 1) if labelled else None
            for place, row in zip(where, rows, strict=True)
        ]
        flat = [text for row in texts for text in row]
        ids = iter(tokenizer(flat, add_special_tokens=False, verbose=False).input_ids)
        self.examples: list[dict[str, Any]] = [
            {
                "sequences": [self.sequence(parts) for parts in self.task.sequences([next(ids) for _ in row])],
                "target": target,
            }
            for row, target in zip(texts, targets, strict=True)
        ]

    def __len__(self) -> int:
        return len(self.examples)

    @property
    def lengths(self) -> list[int]:
        """The number of tokens of each example's longest sequence, which determines the padding."""
        return [max(map(len, example["sequences"])) for example in self.examples]

    def __getitem__(self, index: int) -> Mapping[str, Any]:
        return self.examples[index]

    def texts(self, place: str, row: Mapping[str, Any]) -> list[str]:
        """The texts of a row."""
        check_columns(place, row, self.columns)
        for name in self.columns:
            if not isinstance(row[name], str):
                raise DataError(f"{place}: {name} must be a string; got {row[name]!r:.80}")
        return [row[name] for name in self.columns]

    def sequence(self, parts: Sequence[Sequence[int]]) -> list[int]:
        """``start part [delimiter part] extract``, each part cut to its share of the context."""
        start, delimiter, extract = self.special
        room = part_length(self.limit, len(parts))
        self.truncated += any(len(part) > room for part in parts)
        first, *others = (list(part[:room]) for part in parts)
        return [start, *first, *(i for part in others for i in (delimiter, *part)), extract]

    def collate(self, examples: Sequence[Mapping[str, Any]]) -> dict[str, NDArray[Any]]:
        """Collate examples to a batch, padded on the right. Causal attention needs no mask for this padding.

        Returns:
            ``input_ids`` and ``labels`` int32 (B, T), (B, N, T) for N sequences per example; T a multiple of 32, or
            ``n_positions``; ``extract_positions`` int32 (B,) or (B, N); ``targets`` (B,), int32 or float32, if the rows
            have labels.
        """
        rows = [sequence for example in examples for sequence in example["sequences"]]
        width = min(-(-max(map(len, rows)) // LENGTH_STEP) * LENGTH_STEP, self.limit)
        ids = np.zeros((len(rows), width), np.int32)
        labels = np.full((len(rows), width), IGNORED_LABEL, np.int32)
        for i, row in enumerate(rows):
            ids[i, : len(row)] = labels[i, : len(row)] = row
        count = len(examples[0]["sequences"])
        shape = (len(examples),) if count == 1 else (len(examples), count)
        batch = {
            "input_ids": ids.reshape(*shape, width),
            "labels": labels.reshape(*shape, width),
            "extract_positions": np.array([len(row) - 1 for row in rows], np.int32).reshape(shape),
        }
        if examples[0]["target"] is not None:
            targets = np.array([example["target"] for example in examples])
            batch["targets"] = targets.astype(np.int32 if targets.dtype.kind == "i" else np.float32)
        return batch


def places(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Where each row is from, for errors: the file and line of a row of ``gptcore.storage.tables``, else its number.

    >>> places([{"text": "a"}, {"text": "b"}])
    ['row 1', 'row 2']
    """
    return [getattr(row, "place", f"row {number}") for number, row in enumerate(rows, 1)]


def class_name(label: Any, place: str) -> str:
    """The class that a label names: white space around it and ``.0`` after a whole number are removed.

    So ``1``, ``"1"``, ``1.0`` and ``"1 "`` are the same class.

    Args:
        label: A string or a number.
        place: Where the label is from, such as ``row 3``.

    Raises:
        DataError: The label is missing (``None``, NaN, white space or one of ``MISSING``), or neither a string nor a
            number; the error names the place.

    >>> [class_name(label, "row 1") for label in ("pos ", 1, "1", 1.0, "2.0", 2.5, True)]
    ['pos', '1', '1', '1', '2', '2.5', 'True']
    """
    name = str(label).strip()
    if name in MISSING:
        shown = "" if label is None or not name else f" ({label!r})"
        raise DataError(f"{place}: label is missing{shown}. Delete the row, or give it a label.")
    if not isinstance(label, (str, Number, np.generic)):
        raise DataError(f"{place}: label must be a string or a number; got {label!r:.80}")
    whole = _WHOLE.fullmatch(name)
    return str(int(whole[1])) if whole else name


def score(label: Any, place: str) -> float:
    """A label as a number.

    Raises:
        DataError: The label is missing or not a finite number; the error names the place.
    """
    name = class_name(label, place)
    if not is_number(label):
        raise DataError(f"{place}: label must be a finite number; got {name!r}.")
    return float(label)


def target_of(place: str, label: Any, task: Task, config: OpenAIGPTConfig, choices: int) -> float | int:
    """The target of a label: the index of a choice, a score, or the index of a class.

    Raises:
        DataError: The label is none of these; the error names the ``place``.
    """
    if task.head is not Head.DOUBLE_HEADS and config.problem_type == "regression":
        return score(label, place)
    name = class_name(label, place)
    if task.head is Head.DOUBLE_HEADS:
        if name not in map(str, range(choices)):
            raise DataError(f"{place}: label must be the index of a choice, 0 to {choices - 1}; got {label!r}.")
        return int(name)
    known = next((spelled for spelled in (str(label), name) if spelled in config.label2id), None)
    if known is None:
        raise DataError(f"{place}: label must be one of {', '.join(map(repr, config.label2id))}; got {label!r}.")
    return int(config.label2id[known])


def label_settings(task: str, labels: Sequence[Any], where: Sequence[str] | None = None) -> dict[str, Any]:
    """The config settings for the labels of a training set: the names of classes, or the settings of a regression.

    If any label of a similarity task is a number, all must be numbers: they are scores. Otherwise labels are classes,
    named by ``class_name``. If all classes are whole numbers, they are sorted numerically (so 0 to K-1 are their own
    ids), otherwise by name. Multiple choice needs no settings.

    Args:
        task: A name in ``TASKS``.
        labels: The labels of all rows.
        where: The ``places`` of the rows, for errors. Default: row numbers.

    Raises:
        DataError: A label is missing, a score is not a number, or there is only one class; the error names
            the row.

    >>> label_settings("classify", ["pos", "neg", "pos"])["label2id"]
    {'neg': 0, 'pos': 1}
    >>> label_settings("classify", [10, "2", 1.0])["label2id"]
    {'1': 0, '2': 1, '10': 2}
    >>> label_settings("similarity", ["4.5", 2])
    {'num_labels': 1, 'problem_type': 'regression'}
    """
    if task == "choice":
        return {}
    placed = list(zip(labels, where or [f"row {number}" for number in range(1, len(labels) + 1)], strict=True))
    class_names = {class_name(label, place) for label, place in placed}
    if task == "similarity" and any(map(is_number, labels)):
        for label, place in placed:
            score(label, place)
        return {"num_labels": 1, "problem_type": "regression"}
    numbers = {name for name in class_names if _WHOLE.fullmatch(name)}
    names = sorted(class_names, key=int) if numbers == class_names else sorted(class_names)
    if len(names) < 2:
        raise DataError(f"the rows must have at least two different labels; all {len(labels)} have {names[0]!r}.")
    if numbers and len(class_names - numbers) > 1:
        mixed = f"{min(numbers)!r} and {min(class_names - numbers)!r}"
        warn_once(f"Some labels are numbers and others are names, such as {mixed}. Each is a class of its own.")
    return {
        "num_labels": len(names),
        "id2label": dict(enumerate(names)),
        "label2id": {name: i for i, name in enumerate(names)},
        "problem_type": "single_label_classification",
    }


def class_names(task: str, config: OpenAIGPTConfig, columns: Sequence[str]) -> list[str]:
    """The names of the classes of a task, by number; empty if the model predicts scores.

    Args:
        task: A name in ``TASKS``.
        config: The config of the model; its ``id2label`` names the labels.
        columns: The text columns; for ``choice``, the context and the choices.

    >>> class_names("choice", OpenAIGPTConfig(), ("context", "choice1", "choice2", "choice3"))
    ['0', '1', '2']
    """
    if task == "choice":
        return [str(i) for i in range(len(columns) - 1)]
    return [] if config.problem_type == "regression" else [config.id2label[i] for i in range(config.num_labels)]


def is_number(label: Any) -> bool:
    """Whether a label is a finite number, or the text of one."""
    try:
        return math.isfinite(float(label))
    except (TypeError, ValueError):
        return False


def reject_unread_choices(task: str, rows: Sequence[Mapping[str, Any]], names: Sequence[str]) -> None:
    """Raise a ``DataError`` if rows of a multiple-choice task have more choices than ``names`` includes."""
    unread = f"choice{len(names)}"
    if task != "choice":
        return
    for place, row in zip(places(rows), rows, strict=True):
        if row.get(unread) is not None:
            advice = f"Pass the names of all columns, or --choices {len(names)}."
            raise DataError(f"{place}: column {unread!r} would not be read. {advice}")
