"""What is shipped: the version, and the model inside."""

from __future__ import annotations

from pathlib import Path

__version__ = "0.1.0.dev0"

PRODUCER = f"gptcore {__version__}"
"""What files say that they were written by."""

DEFAULT_MODEL = str(Path(__file__).parent / "data" / "default")
"""The folder of a small model and its tokenizer that ship inside, for ``from_pretrained``; see its ``README.md``."""
