"""The paper's input transformations (Radford et al. 2018, section 3.3): a row of texts to sequences of token ids.

Every task becomes one or more sequences ``start part [delimiter part] extract``; what the model says at the extract
token is read by a linear layer. A text is cut as in the authors' code: to n_positions - 2 tokens where it is alone,
n_positions // 2 - 2 where there are two.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gptcore.config import OpenAIGPTConfig
from gptcore.errors import ConfigError, DataError
from gptcore.inputs import IGNORED_LABEL
from gptcore.parameters import Head

START, DELIMITER, EXTRACT = "_start_", "_delimiter_", "_classify_"
LABEL = "label"
LENGTH_STEP = 32  # few lengths of batches, so that compiled frameworks have few programs

Parts = Sequence[Any]
"""The texts of a sequence, or their token ids."""


@dataclass(frozen=True)
class Task:
    """One of the four kinds.

    Attributes:
        columns: of a row, besides ``label``.
        sequences: the texts of a row -> the parts of each sequence.
        head: the model that does it.
    """

    columns: tuple[str, ...]
    sequences: Callable[[Parts], list[Parts]]
    head: Head = Head.SEQUENCE_CLASSIFICATION


TASKS = {
    "classify": Task(("text",), lambda texts: [texts]),
    "entail": Task(("premise", "hypothesis"), lambda texts: [texts]),
    "similarity": Task(("sentence1", "sentence2"), lambda texts: [texts, texts[::-1]]),  # no order is the natural one
    "choice": Task(
        ("context", "choice1", "choice2"),
        lambda texts: [(texts[0], choice) for choice in texts[1:]],
        Head.DOUBLE_HEADS,
    ),
}


def choice_columns(count: int) -> tuple[str, ...]:
    """The columns of a multiple-choice task with so many choices.

    >>> choice_columns(3)
    ('context', 'choice1', 'choice2', 'choice3')
    """
    return ("context", *(f"choice{i}" for i in range(1, count + 1)))


def add_task_tokens(tokenizer: Any) -> int:
    """Give a tokenizer the start, delimiter and extract tokens, if it lacks them; returns its new length."""
    tokenizer.add_tokens([START, DELIMITER, EXTRACT], special_tokens=True)
    return len(tokenizer)


class TaskExamples:
    """The rows of a dataset, encoded: a random-access source for ``Batches``.

    Args:
        task: a name in ``TASKS``.
        rows: mappings with the columns of the task and ``label``.
        tokenizer: with the tokens of ``add_task_tokens``.
        config: its ``n_positions`` limits a sequence; its ``label2id`` names the labels.
        columns: other names for the columns, in the task's order.

    Raises:
        DataError: no rows, a text that is none, or a label that the config does not know; names the row.
    """

    def __init__(
        self,
        task: str,
        rows: Sequence[Mapping[str, Any]],
        tokenizer: Any,
        config: OpenAIGPTConfig,
        columns: Sequence[str] | None = None,
    ) -> None:
        self.task, self.columns = TASKS[task], tuple(columns or TASKS[task].columns)
        if not rows:
            raise DataError("the dataset has no rows")
        self.special = [tokenizer.convert_tokens_to_ids(token) for token in (START, DELIMITER, EXTRACT)]
        self.limit = config.n_positions
        if self.limit // len(self.task.sequences(self.columns)[0]) <= 2:
            raise ConfigError(f"n_positions={self.limit} leaves no room for the texts of {task} and their three tokens")
        self.truncated = 0
        texts = [self.texts(number, row) for number, row in enumerate(rows, 1)]
        flat = [text for row in texts for text in row]
        ids = iter(tokenizer(flat, verbose=False).input_ids)
        self.examples: list[dict[str, Any]] = [
            {
                "sequences": [self.sequence(parts) for parts in self.task.sequences([next(ids) for _ in row])],
                "target": target_of(f"row {number}", label, self.task, config, len(self.columns) - 1),
            }
            for number, (row, label) in enumerate(zip(texts, (row[LABEL] for row in rows), strict=True), 1)
        ]

    def __len__(self) -> int:
        return len(self.examples)

    @property
    def lengths(self) -> list[int]:
        """The tokens of each example's longest sequence: what decides how far its batch is padded."""
        return [max(map(len, example["sequences"])) for example in self.examples]

    def __getitem__(self, index: int) -> Mapping[str, Any]:
        return self.examples[index]

    def texts(self, number: int, row: Mapping[str, Any]) -> list[str]:
        """The texts of a row."""
        found = [row.get(name) for name in (*self.columns, LABEL)]
        if None in found or not all(isinstance(text, str) for text in found[:-1]):
            raise DataError(f"row {number} needs texts in {', '.join(self.columns)} and a {LABEL}; it is {dict(row)!r}")
        return found[:-1]  # type: ignore[return-value]

    def sequence(self, parts: Sequence[Sequence[int]]) -> list[int]:
        """``start part [delimiter part] extract``, each part cut to its share of the context."""
        start, delimiter, extract = self.special
        room = self.limit // len(parts) - 2
        self.truncated += any(len(part) > room for part in parts)
        first, *others = (list(part[:room]) for part in parts)
        return [start, *first, *(i for part in others for i in (delimiter, *part)), extract]

    def collate(self, examples: Sequence[Mapping[str, Any]]) -> dict[str, NDArray[Any]]:
        """Examples as a batch, padded on the right: causal attention never looks there, so there is no mask.

        Returns:
            ``input_ids`` and ``labels`` int32 (B, T), (B, N, T) for N sequences an example; T a multiple of 32, or
            ``n_positions``; ``extract_positions`` int32 (B,) or (B, N); ``targets`` (B,), int32 or float32.
        """
        rows = [sequence for example in examples for sequence in example["sequences"]]
        width = min(-(-max(map(len, rows)) // LENGTH_STEP) * LENGTH_STEP, self.limit)
        ids = np.zeros((len(rows), width), np.int32)
        labels = np.full((len(rows), width), IGNORED_LABEL, np.int32)
        for i, row in enumerate(rows):
            ids[i, : len(row)] = labels[i, : len(row)] = row
        count = len(examples[0]["sequences"])
        shape = (len(examples),) if count == 1 else (len(examples), count)
        targets = np.array([example["target"] for example in examples])
        return {
            "input_ids": ids.reshape(*shape, width),
            "labels": labels.reshape(*shape, width),
            "extract_positions": np.array([len(row) - 1 for row in rows], np.int32).reshape(shape),
            "targets": targets.astype(np.int32 if targets.dtype.kind == "i" else np.float32),
        }


def target_of(row: str, label: Any, task: Task, config: OpenAIGPTConfig, choices: int) -> float | int:
    """The number that a label stands for: the index of a choice, a score, or the index of a class.

    Raises:
        DataError: it is none; names the ``row``.
    """
    if task.head is Head.DOUBLE_HEADS:
        if str(label) not in map(str, range(choices)):
            raise DataError(f"{row}: label {label!r} is not the index of a choice, 0 to {choices - 1}")
        return int(label)
    if config.problem_type == "regression":
        if not is_number(label):
            raise DataError(f"{row}: label {label!r} is not a finite number")
        return float(label)
    if str(label) not in config.label2id:
        raise DataError(f"{row}: label {label!r} is not one of {', '.join(map(repr, config.label2id))}")
    return int(config.label2id[str(label)])


def label_settings(task: str, labels: Sequence[Any]) -> dict[str, Any]:
    """What a config has to know of the labels of a training set: their names, or that they are scores.

    A similarity with numbers is a score; all other tasks but multiple choice have classes, in the order of their names.

    >>> label_settings("classify", ["pos", "neg", "pos"])["label2id"]
    {'neg': 0, 'pos': 1}
    >>> label_settings("similarity", ["4.5", 2])
    {'num_labels': 1, 'problem_type': 'regression'}
    """
    if task == "choice":
        return {}
    if task == "similarity" and all(is_number(label) for label in labels):
        return {"num_labels": 1, "problem_type": "regression"}
    names = sorted(set(map(str, labels)))
    if len(names) < 2:
        raise DataError(f"all {len(labels)} rows have the label {names[0]!r}; there is nothing to learn")
    return {
        "num_labels": len(names),
        "id2label": dict(enumerate(names)),
        "label2id": {name: i for i, name in enumerate(names)},
        "problem_type": "single_label_classification",
    }


def is_number(label: Any) -> bool:
    """Whether a label is a finite number, or the text of one."""
    try:
        return math.isfinite(float(label))
    except (TypeError, ValueError):
        return False
