"""The entry points of backends: list the available ones and import one."""

from __future__ import annotations

from importlib.metadata import EntryPoint, entry_points
from typing import Any

from gptcore.errors import ConfigError, GPTError
from gptcore.installation import install_command

INFERENCE, TENSORS, TRAINING = "gptcore.backends", "gptcore.tensors", "gptcore.trainers"
OWN = {"torch": ("torch",), "tf": ("tensorflow", "keras"), "flax": ("jax", "flax")}
"""The backends of this distribution, in the order used by all lists, and the modules that they need."""


def available(group: str = INFERENCE) -> dict[str, EntryPoint]:
    """The entry points of all backends by name, our own first; nothing is imported."""
    points = {point.name: point for point in sorted(entry_points(group=group))}
    return {name: points[name] for name in dict.fromkeys((*OWN, *points)) if name in points}


def load(group: str, name: str) -> Any:
    """Import the object that a backend registers in an entry-point group.

    Raises:
        ConfigError: The group has no such backend.
        GPTError: Its framework is not installed (with the install command), or its import fails.
    """
    points = available(group)
    if name not in points:
        where = "" if group == INFERENCE else f" (entry points of {group})"
        raise ConfigError(f"backend must be one of {', '.join(points) or 'none'}{where}; got {name!r}.")
    try:
        return points[name].load()
    except ModuleNotFoundError as cause:
        raise GPTError(f"cannot import backend {name!r}: {cause}") from cause
    except Exception as cause:  # whatever a broken framework raises
        raise GPTError(f"cannot import backend {name!r}: {type(cause).__name__}: {cause}") from cause


def installed() -> list[str]:
    """The names of the backends whose framework is installed.

    Raises:
        GPTError: No framework is installed, or the import of an installed one fails.
    """
    names = []
    for name in available():
        try:
            load(INFERENCE, name)
        except GPTError as error:
            cause = error.__cause__
            if not isinstance(cause, ModuleNotFoundError) or cause.name not in OWN.get(name, ()):
                raise
        else:
            names.append(name)
    if not names:
        raise GPTError(f"no backend is installed. Install one: {install_command('torch')} (or tf, flax)")
    return names
