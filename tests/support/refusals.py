"""What a test of hostile files expects."""

import time

import pytest

from gptcore import CheckpointError
from gptcore.checkpoint.folder import read_tensors


def refused(path, match, **options):
    """One ``CheckpointError`` that names the file, at once."""
    start = time.monotonic()
    with pytest.raises(CheckpointError, match=match) as caught:
        read_tensors(path, **options)
    assert str(path) in str(caught.value)
    assert time.monotonic() - start < 5
