"""The exceptions of this library: one type per kind of error, each a ``ValueError``; and its warnings.

Messages say what is wrong, the value received, what is allowed and what to do.
"""

import functools
import logging

__all__ = [
    "CheckpointError",
    "ConfigError",
    "DataError",
    "GPTError",
    "InputError",
    "StorageError",
    "TokenizerError",
    "TrainingError",
]

logger = logging.getLogger(__name__)


class GPTError(ValueError):
    """Base of every error that this library raises on purpose."""


class ConfigError(GPTError):
    """A setting or a command-line option is unknown, of the wrong type, out of range or contradicts another."""


class CheckpointError(GPTError):
    """Files of a checkpoint are missing, damaged or hostile, or do not fit the model.

    A folder or repository that does not exist is a ``StorageError``.
    """


class StorageError(GPTError):
    """A folder or file cannot be written, or a location is not found: on this machine or on the hub."""


class TokenizerError(GPTError):
    """A vocabulary, a merges file or a tokenizer setting is unusable."""


class InputError(GPTError):
    """An argument of a call of a model, a tokenizer or a pipeline has a wrong shape, dtype or value."""


class DataError(GPTError):
    """A corpus or a labelled dataset is missing, empty, or has a row that cannot be used."""


class TrainingError(GPTError):
    """A training run diverged, or cannot be resumed as asked."""


@functools.cache
def warn_once(warning: str) -> None:
    """Log a warning once per process."""
    logger.warning(warning)


def bullet_list(problems: list[str], shown: int = 50) -> str:
    """Format problems as a list with one line each.

    >>> print(bullet_list(["first", "second"]))
      - first
      - second
    """
    lines = [f"  - {problem}" for problem in problems[:shown]]
    if len(problems) > shown:
        lines.append(f"  ... and {len(problems) - shown} more")
    return "\n".join(lines)
