"""The framework-neutral core of OpenAI GPT in PyTorch, Keras/TensorFlow and Flax/JAX."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

from gptcore.errors import CheckpointError, ConfigError, GPTError, InputError, TokenizerError
from gptcore.spec.config import OpenAIGPTConfig

__version__ = "0.1.0.dev0"

DEFAULT_MODEL = str(Path(__file__).parent / "data" / "default")
"""The folder of a small model and its tokenizer that ship inside, for ``from_pretrained``; see its ``README.md``."""

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
    """``pipeline`` is imported when it is asked for: nobody else needs the tokenizers and the backends."""
    if name == "pipeline":
        return importlib.import_module("gptcore.pipelines").pipeline
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
