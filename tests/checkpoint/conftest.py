"""A folder with a small checkpoint."""

import pytest
from fresh_checkpoint import save

from gptcore.spec.parameters import Head


@pytest.fixture
def folder(tmp_path):
    save(tmp_path, Head.LM)
    return tmp_path
