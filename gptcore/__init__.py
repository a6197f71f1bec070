"""The framework-neutral core of OpenAI GPT in PyTorch, Keras/TensorFlow and Flax/JAX."""

from pathlib import Path

from gptcore.config import OpenAIGPTConfig
from gptcore.errors import CheckpointError, ConfigError, GPTError, InputError, TokenizerError

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
]
