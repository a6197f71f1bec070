"""Fingerprints of the inputs of a run, to detect changed content independent of where the files are."""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

LENGTH = 16  # hexadecimal digits: two contents collide with a probability of 2**-64


def fingerprint(parts: Iterable[Any]) -> str:
    """The first digits of a SHA-256 over arrays and JSON values, in their order.

    >>> fingerprint([np.arange(3), {"label": "b"}]) == fingerprint([np.arange(3), {"label": "a"}])
    False
    """
    digest = hashlib.sha256()
    for part in parts:
        if isinstance(part, np.ndarray):
            digest.update(f"{part.dtype} {part.shape} ".encode())
            digest.update(np.ascontiguousarray(part).data)
        else:
            digest.update(json.dumps(part).encode() + b"\n")
    return digest.hexdigest()[:LENGTH]


def tokenizer_fingerprint(tokenizer: Any) -> str:
    """A fingerprint of all that determines token ids: the text path, the pieces with their ids, and the merges."""
    with tempfile.TemporaryDirectory() as folder:
        _, merges = tokenizer.save_vocabulary(folder)
        merges = Path(merges).read_text(encoding="utf-8")
    return fingerprint([tokenizer.pre_tokenizer, sorted(tokenizer.get_vocab().items()), merges])
