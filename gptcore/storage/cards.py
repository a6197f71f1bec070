"""Whose a ``README.md`` is: a model card of ``gptcore`` carries a hash, which is right until somebody edits it."""

from __future__ import annotations

import hashlib
from pathlib import Path

CARD_NAME = "README.md"
SOURCE_CARD_NAME = "README.source.md"  # of a conversion: what somebody wrote of the model that was converted
SEAL = "<!-- written by gptcore, and unchanged since: "
LOADING = ".from_pretrained("
MAX_CARD_BYTES = 1 << 20  # a longer one is somebody's own


def is_generated(text: str) -> bool:
    """Whether a card was made by ``gptcore``, and nobody has touched it: only then may it be replaced."""
    written, _, _ = text.rpartition(SEAL)
    return text == written + seal(written)


def relocated(card: str, repo_id: str) -> str:
    """A card that was made, whose examples load from the hub, not from the folder that it lies in."""
    text = card.rpartition(SEAL)[0].replace(f'{LOADING}"."', f'{LOADING}"{repo_id}"')
    return text + seal(text)


def is_own(path: Path) -> bool:
    """Whether there is a card that somebody wrote."""
    if not path.is_file():
        return False
    return path.stat().st_size > MAX_CARD_BYTES or not is_generated(path.read_bytes().decode(errors="replace"))


def seal(text: str) -> str:
    """The last line of a card that begins with ``text``."""
    return f"{SEAL}{hashlib.sha256(text.encode()).hexdigest()[:16]} -->\n"
