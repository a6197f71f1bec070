"""Helpers that several commands share."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from gptcore.errors import ConfigError, StorageError
from gptcore.release import DEFAULT_MODEL
from gptcore.settings import literal
from gptcore.spec.tasks import TASKS, choice_columns

SHIPPED = "the bundled model"
"""How ``--help`` describes the default, ``DEFAULT_MODEL``."""

PRE_TOKENIZER = (
    "How to split text into words: basic (BERT's rules), original (ftfy and spaCy, as for the published model) or auto "
    "(original if spaCy 3.8 and ftfy 6.3 are installed)."
)


def examples(*commands: str) -> str:
    """Text for the end of ``--help``: commands that a user can copy."""
    return "\n\n".join(["Examples:" if len(commands) > 1 else "Example:", *commands])


def model_named(model: str) -> str:
    """The name of a model in a heading."""
    return SHIPPED if model == DEFAULT_MODEL else model


def parse_settings(texts: Iterable[str], option: str) -> dict[str, Any]:
    """Parse ``NAME=VALUE`` texts to settings by name; see ``gptcore.settings.literal`` for the accepted values.

    Raises:
        ConfigError: A text has no ``=``.

    >>> parse_settings(["min_p=0.1", "schedule=linear"], "--set")
    {'min_p': 0.1, 'schedule': 'linear'}
    """
    settings = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise ConfigError(f"{option} must be NAME=VALUE, such as seed=1; got {text!r}.")
        settings[name] = literal(value)
    return settings


def columns_named(task: str, columns: str | None, choices: int | None) -> tuple[str, ...] | None:
    """The text columns that the options of a command name, or ``None`` without these options."""
    return None if columns is None and choices is None else text_columns(task, columns, choices or 2)


def text_columns(task: str, columns: str | None, choices: int) -> tuple[str, ...]:
    """The names of the text columns of a task."""
    default = choice_columns(choices) if task == "choice" else TASKS[task].columns
    names = tuple(columns.split(",")) if columns else default
    if len(names) < len(default) or (task != "choice" and len(names) > len(default)):
        raise ConfigError(f"--columns must name the text columns of {task} ({', '.join(default)}); got {columns}.")
    return names


def require_empty(output: Path, force: bool) -> None:
    """Raise a ``StorageError`` if the folder has files that would be replaced without ``--force``."""
    if output.is_dir() and any(output.iterdir()) and not force:
        raise StorageError(
            f"{output} already holds files. Add --force to write into it and replace files of the same names, or "
            "choose another folder."
        )
