"""Every example in a docstring or in the README runs, and shows what it says."""

import doctest
import importlib
import json
import pkgutil
import re
import shlex
import shutil
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from gptcore import DEFAULT_MODEL

ROOT = Path(__file__).parents[2]
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


PAGES = sorted((ROOT / "docs").rglob("*.md"))
PLAIN = {page: re.findall(r"```python\n(.*?)```", page.read_text(), re.DOTALL) for page in PAGES}
"""Page -> the blocks that the build of the site does not run."""


@pytest.mark.parametrize("page", [page for page in PAGES if PLAIN[page]], ids=lambda page: page.stem)
def test_pages(page, tmp_path, monkeypatch):
    """Top to bottom, as one program."""
    monkeypatch.chdir(tmp_path)
    names = {}
    for block in PLAIN[page]:
        exec(compile(block, page.name, "exec"), names)


@pytest.mark.parametrize("page", [*ROOT.glob("*.md"), *PAGES], ids=lambda page: page.name)
def test_links(page):
    """Those to files lead to one; those to other sites have the form of an address."""
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        address = urlsplit(target)
        if address.scheme:
            assert address.scheme == "https"
            assert re.fullmatch(r"[\w-]+(\.[\w-]+)+", address.netloc), target
        elif address.path:
            assert (page.parent / address.path).exists(), target


@pytest.mark.parametrize("page", ["README.md", "docs/guides/pipelines.md"])
def test_commands(page, tmp_path, monkeypatch, run):
    """Top to bottom, in a folder with the files that they name; no more than two updates each."""
    monkeypatch.chdir(tmp_path)
    for folder in ("books", "heldout"):
        Path(folder).mkdir()
        shutil.copy(ROOT / "LICENSE", Path(folder, "text.txt"))
    for name in ("reviews", "more-reviews"):
        rows = [{"text": f"a {word} film", "label": word} for word in ("good", "bad")]
        Path(f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert run("convert", DEFAULT_MODEL, "old-model", "--to", "pytorch", "--quiet")[0] == 0
    commands = [
        shlex.split(command)
        for block in re.findall(r"```sh\n(.*?)```", (ROOT / page).read_text(), re.DOTALL)
        for command in block.replace("\\\n", " ").splitlines()
    ]
    assert len(commands) >= 3
    for program, *arguments in commands:
        assert program == "gptcore"
        few = ("--quiet", "--set", "max_steps=2", "--set", "batch_size=2") if arguments[0] == "train" else ()
        status, _, error = run(*arguments, *few)
        assert status == 0, (arguments, error)


def test_the_readme_sets_up_with_two_lines():
    """A new user copies one line for the main job and one for the tests; there is no third."""
    commands = re.findall(r"```console\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    assert [len(command.splitlines()) for command in commands] == [1, 1]
    assert commands[0].rstrip().endswith("nox -s demo")
    assert commands[1].strip() in (ROOT / ".ci" / "run").read_text()
