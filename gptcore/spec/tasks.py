"""The paper's input transformations (Radford et al. 2018, section 3.3): from a row of texts to token ids.

Every input becomes one or more sequences ``start part [delimiter part] extract``; a linear layer reads the hidden state
at the extract token. As in the authors' code, a single text is truncated to n_positions - 2 tokens, and each of two
texts to n_positions // 2 - 2.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from gptcore.errors import InputError
from gptcore.spec.parameters import Head

TASK_TOKENS = START, DELIMITER, EXTRACT = "_start_", "_delimiter_", "_classify_"
Parts = Sequence[Any]
"""The texts of a sequence, or their token ids."""


@dataclass(frozen=True)
class Task:
    """One of the four kinds of task.

    Attributes:
        columns: Names of the text columns.
        sequences: The texts of a row -> the parts of each sequence.
        head: The head of the model for this task.
    """

    columns: tuple[str, ...]
    sequences: Callable[[Parts], list[Parts]]
    head: Head = Head.SEQUENCE_CLASSIFICATION


TASKS = {
    "classify": Task(("text",), lambda texts: [texts]),
    "entail": Task(("premise", "hypothesis"), lambda texts: [texts]),
    "similarity": Task(("sentence1", "sentence2"), lambda texts: [texts, texts[::-1]]),  # both orders are read
    "choice": Task(
        ("context", "choice1", "choice2"),
        lambda texts: [(texts[0], choice) for choice in texts[1:]],
        Head.DOUBLE_HEADS,
    ),
}
"""The paper's four tasks: name -> columns, how an example becomes sequences, and head."""


def choice_columns(count: int) -> tuple[str, ...]:
    """The columns of a multiple-choice task with ``count`` choices.

    >>> choice_columns(3)
    ('context', 'choice1', 'choice2', 'choice3')
    """
    return ("context", *(f"choice{i}" for i in range(1, count + 1)))


def part_length(length: int, parts: int) -> int:
    """How many tokens of each text a sequence of at most ``length`` tokens keeps, as in the authors' code."""
    return length // parts - 2


def add_task_tokens(tokenizer: Any, task: str | None = None) -> int:
    """Add the start, delimiter and extract tokens to a tokenizer that lacks them.

    Args:
        tokenizer: A tokenizer of ``tokenization``.
        task: A name in ``TASKS``: calls of the tokenizer then add the tokens to a text or a pair, as
            ``TaskExamples`` does. Default: calls are unchanged.

    Returns:
        The new length of the tokenizer.
    """
    tokenizer.add_tokens(list(TASK_TOKENS), special_tokens=True)
    if task is not None:
        tokenizer.task = task
    return len(tokenizer)


def check_texts(task: str, count: int) -> None:
    """Raise an ``InputError`` unless ``count`` texts are an input of the task and fit in one row."""
    columns = TASKS[task].columns
    if len(TASKS[task].sequences(columns)) > 1:
        raise InputError(
            f"cannot encode an input of {task} as one row: the model reads several and adds or compares their scores. "
            "Use gptcore.pipeline, or add_special_tokens=False to leave out the task's tokens."
        )
    if count != len(columns):
        expected = "one text" if len(columns) == 1 else f"a pair ({', '.join(columns)})"
        raise InputError(
            f"an input of {task} must be {expected}; got {'one text' if count == 1 else 'a pair'}. "
            f"Pass {'text alone' if len(columns) == 1 else 'text and text_pair'}, or add_special_tokens=False."
        )
