"""The framework-neutral core of OpenAI GPT in PyTorch, Keras/TensorFlow and Flax/JAX."""

from gptcore.config import OpenAIGPTConfig
from gptcore.errors import CheckpointError, ConfigError, GPTError, InputError, TokenizerError

__version__ = "0.1.0.dev0"

__all__ = [
    "CheckpointError",
    "ConfigError",
    "GPTError",
    "InputError",
    "OpenAIGPTConfig",
    "TokenizerError",
    "__version__",
]
