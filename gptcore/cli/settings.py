"""What options of several commands share."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from gptcore import DEFAULT_MODEL, hub
from gptcore.config import read_json_object
from gptcore.errors import ConfigError, DataError, InputError
from gptcore.files import Row
from gptcore.settings import literal
from gptcore.tasks import TASKS, choice_columns

TASK_NAME = "task.json"
"""The file of a checkpoint that names its task and the columns of its tables."""

SHIPPED = "the bundled model"
"""What help says of the default, ``DEFAULT_MODEL``."""


def examples(*commands: str) -> str:
    """The end of a ``--help``: commands that a user can copy."""
    return "\n\n".join(["Examples:" if len(commands) > 1 else "Example:", *commands])


def model_named(model: str) -> str:
    """What a heading says of a model."""
    return SHIPPED if model == DEFAULT_MODEL else model


def parse_settings(texts: Iterable[str], option: str) -> dict[str, Any]:
    """Settings by name, from ``NAME=JSON``; other spellings of numbers, booleans and ``None`` are known, too, and
    all else is taken as a word.

    Raises:
        InputError: a text has no ``=``.

    >>> parse_settings(["min_p=0.1", "schedule=linear"], "--set")
    {'min_p': 0.1, 'schedule': 'linear'}
    """
    found = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise InputError(f"{option} {text!r} is not NAME=JSON, such as {option} seed=1")
        found[name] = literal(value)
    return found


def trained_columns(model: str, task: str) -> dict[str, Any]:
    """The names of the columns that a local model was trained on, if it was on this task."""
    if not Path(model).is_dir():
        return {}
    path = hub.resolve(model, hub.named(TASK_NAME)) / TASK_NAME
    trained = read_json_object(path) if path.is_file() else {}
    return trained if trained.get("task") == task else {}


def columns_for(model: str, task: str, columns: str | None, choices: int | None) -> tuple[str, ...]:
    """The text columns of a table for a model: those of the options, else those that it was trained on."""
    trained = trained_columns(model, task)
    if columns is None and choices is None and "columns" in trained:
        return tuple(trained["columns"])
    return text_columns(task, columns, choices or 2)


def text_columns(task: str, columns: str | None, choices: int) -> tuple[str, ...]:
    """The names of the text columns of a task."""
    default = choice_columns(choices) if task == "choice" else TASKS[task].columns
    names = tuple(columns.split(",")) if columns else default
    if len(names) < len(default) or (task != "choice" and len(names) > len(default)):
        raise ConfigError(f"--columns {columns}: {task} has the text columns {', '.join(default)}")
    return names


def reject_unread_choices(
    task: str, rows: Iterable[Row], names: Sequence[str], columns: str | None, choices: int | None
) -> None:
    """Raise a ``DataError`` if a table has more choices than are read, unless an option names how many."""
    unread = f"choice{len(names)}"
    if task != "choice" or columns is not None or choices is not None:
        return
    for row in rows:
        if row.get(unread) is not None:
            raise DataError(f"{row.place}: column {unread!r} would not be read. Pass --choices {len(names)}.")


def require_empty(output: Path, force: bool) -> None:
    """Raise an ``InputError`` if the folder has files that would be replaced without ``--force``."""
    if output.is_dir() and any(output.iterdir()) and not force:
        raise InputError(f"{output} already holds files. Add --force to replace them, or choose another folder.")
