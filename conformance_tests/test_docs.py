"""Every example in a docstring or in the README runs, and shows what it says."""

import doctest
import importlib
import pkgutil
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = ("gptcore", "tokenization", "gpt_torch", "gpt_tf", "gpt_flax")


MODULES = [
    info.name for package in PACKAGES for info in pkgutil.walk_packages([str(ROOT / package)], f"{package}.")
] + list(PACKAGES)


@pytest.mark.parametrize("name", MODULES)
def test_docstrings(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert doctest.testmod(importlib.import_module(name)).failed == 0


def test_there_are_examples():
    finder = doctest.DocTestFinder(exclude_empty=True)
    found = [test for name in MODULES for test in finder.find(importlib.import_module(name)) if test.examples]
    assert len(found) >= 25


def test_readme(tmp_path, monkeypatch):
    """The Python blocks, top to bottom, as one program."""
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    assert len(blocks) >= 3
    names = {}
    for block in blocks:
        exec(compile(block, "README.md", "exec"), names)


def test_the_readme_sets_up_with_two_lines():
    """A new user copies one line for the main job and one for the tests; there is no third."""
    commands = re.findall(r"```console\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    assert [len(command.splitlines()) for command in commands] == [1, 1]
    assert commands[0].rstrip().endswith("nox -s demo")
    assert commands[1].strip() in (ROOT / ".ci" / "run").read_text()
