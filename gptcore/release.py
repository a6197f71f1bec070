"""The version and the bundled model."""

from __future__ import annotations

from pathlib import Path

__version__ = "0.1.0.dev0"
"""The version of gptcore."""

PRODUCER = f"gptcore {__version__}"
"""The name of this program in the files that it writes."""

DEFAULT_MODEL = str(Path(__file__).parent / "data" / "default")
"""The folder of the bundled model and its tokenizer, for ``from_pretrained``; see its ``README.md``."""
