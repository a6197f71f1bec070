"""The framework-neutral core of OpenAI GPT in PyTorch, Keras/TensorFlow and Flax/JAX.

The public names are those in ``__all__`` of ``gptcore``, of its packages (``backends``, ``checkpoint``, ``convert``,
``generation``, ``report``, ``spec``, ``storage``, ``training``) and of ``gptcore.errors``. All other modules are
private, and may change in any release.
"""

from __future__ import annotations

import importlib
from typing import Any

from gptcore.errors import (
    CheckpointError,
    ConfigError,
    DataError,
    GPTError,
    InputError,
    StorageError,
    TokenizerError,
    TrainingError,
)
from gptcore.release import DEFAULT_MODEL, __version__
from gptcore.spec.config import OpenAIGPTConfig

__all__ = [
    "DEFAULT_MODEL",
    "CheckpointError",
    "ConfigError",
    "DataError",
    "GPTError",
    "InputError",
    "OpenAIGPTConfig",
    "StorageError",
    "TokenizerError",
    "TrainingError",
    "__version__",
    "pipeline",
]


def __getattr__(name: str) -> Any:
    """Import ``pipeline`` on first use, because it needs the tokenizers and the backends."""
    if name == "pipeline":
        return importlib.import_module("gptcore.pipelines").pipeline
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
