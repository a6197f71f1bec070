"""Each Python block of the README runs alone, where only its framework is installed, and prints what is shown."""

import re
from pathlib import Path

import pytest

README = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
(SHOWN,) = re.findall(r"```text\n(.*?)```", README, re.DOTALL)  # what the same lines print in each framework


def blocks_of(name):
    """The blocks of one framework that need no extra but its own."""
    needed = (f"from gpt_{name} import", f'backend="{name}"')
    return [block for block in BLOCKS if any(map(block.__contains__, needed)) and "Trainer" not in block]


@pytest.fixture
def printed(tmp_path, monkeypatch, capsys):
    """A function (block) -> what it prints, in an empty folder."""
    monkeypatch.chdir(tmp_path)

    def run(block):
        exec(compile(block, "README.md", "exec"), {})
        return capsys.readouterr().out

    return run


def test_blocks_of_one_framework(backend, printed):
    texts = [printed(block) for block in blocks_of(backend.name)]
    assert all(texts)
    assert texts.count(SHOWN) == 1
