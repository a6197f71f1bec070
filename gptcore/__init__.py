"""The framework-neutral core of OpenAI GPT in PyTorch, Keras/TensorFlow and Flax/JAX."""

from __future__ import annotations

import importlib
from typing import Any

from gptcore.errors import CheckpointError, ConfigError, GPTError, InputError, TokenizerError
from gptcore.release import DEFAULT_MODEL, __version__
from gptcore.spec.config import OpenAIGPTConfig

__all__ = [
    "DEFAULT_MODEL",
    "CheckpointError",
    "ConfigError",
    "GPTError",
    "InputError",
    "OpenAIGPTConfig",
    "TokenizerError",
    "__version__",
    "pipeline",
]


def __getattr__(name: str) -> Any:
    """Import ``pipeline`` on first use, because it needs the tokenizers and the backends."""
    if name == "pipeline":
        return importlib.import_module("gptcore.pipelines").pipeline
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
