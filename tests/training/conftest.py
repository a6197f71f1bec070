"""A small tokenizer that knows the tokens of all tasks."""

import pytest

from gptcore.spec.tasks import add_task_tokens
from tokenization import train


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    folder = tmp_path_factory.mktemp("vocabulary")
    (folder / "a.txt").write_text("the cat sat on the mat, and the dog saw the cat. " * 9)
    words = train(folder / "a.txt", 700, pre_tokenizer="basic", show_progress=False)
    add_task_tokens(words)
    return words
