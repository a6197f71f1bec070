"""What all commands share: the examples in their help, the list of settings, and how they stop."""

import dataclasses
import os
import re
import shlex
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import typer
from checkpoint_data import save

from gptcore import DEFAULT_MODEL, OpenAIGPTConfig
from gptcore.backends import CAPABILITIES
from gptcore.cli.app import application
from gptcore.spec.parameters import Head
from gptcore.spec.recipe import Recipe, described


def commands(command, path=()):
    """Every command and group, by the words that name it."""
    yield path, command
    for name, inner in getattr(command, "commands", {}).items():
        yield from commands(inner, (*path, name))


ROOT = typer.main.get_command(application)
COMMANDS = dict(commands(ROOT))
EXAMPLES = [(path, line) for path, command in COMMANDS.items() for line in (command.epilog or "").split("\n\n")[1:]]
LINES = list(dict.fromkeys(line for _, line in EXAMPLES))
CHEAP = re.compile("gptcore (tokenize|inspect|convert|train --list)\\b")  # runs in no time


@pytest.fixture
def files(tmp_path, monkeypatch):
    """What the examples name."""
    monkeypatch.chdir(tmp_path)
    save(tmp_path / "runs" / "reviews" / "last", Head.SEQUENCE_CLASSIFICATION)
    (tmp_path / "story.txt").write_text("the dog")


def test_every_help_has_an_example():
    assert len(COMMANDS) >= 20
    assert {path for path, _ in EXAMPLES} == set(COMMANDS)
    for path, line in EXAMPLES:
        assert line.startswith(" ".join(("gptcore", *path))), line


def test_an_example_is_a_command(files, monkeypatch):
    invoked = []
    monkeypatch.setattr(typer.core.TyperCommand, "invoke", lambda command, context: invoked.append(command.name))
    lines = [line for line in LINES if "--help" not in line and "--list-settings" not in line]
    for line in lines:
        ROOT.main(shlex.split(line.partition(">")[0])[1:], standalone_mode=False)
    assert len(invoked) == len(lines) >= 20


@pytest.mark.parametrize("line", list(filter(CHEAP.match, LINES)))
def test_an_example_runs(files, run, line):
    assert run(*shlex.split(line)[1:])[0] == 0


@pytest.mark.parametrize("width", [80, 120])
def test_the_list_of_settings(run, monkeypatch, width):
    monkeypatch.setenv("COLUMNS", str(width))
    status, out, _ = run("train", "--list-settings")
    assert (status, max(map(len, out.splitlines()[:-1]))) == (0, width)
    rows = {line.split()[0]: line for line in out.splitlines() if line[:1].strip()}
    assert {setting.name: setting.type.split()[0] for setting in described()} == {
        name: row.split()[1].rstrip(",") for name, row in rows.items() if name not in ("setting", "Pass")
    }
    assert rows["learning_rate"].split()[1:4] == ["number", "0.00025", "6.25e-05"]
    assert [setting.name for setting in described()] == [spec.name for spec in dataclasses.fields(Recipe)]
    assert all(len(setting.text) > 20 for setting in described())


class Streaming:
    """A model that Ctrl-C stops after some tokens."""

    config = OpenAIGPTConfig.from_pretrained(DEFAULT_MODEL)

    def generate(self, ids, mask=None, streamer=None, **settings):
        if streamer:
            streamer.put(ids[0])
            streamer.put(ids[0, :1])
        elif 1184 in ids:  # a dog
            return np.concatenate([ids, ids], 1)
        raise KeyboardInterrupt


@pytest.mark.parametrize(
    ("arguments", "shown"),
    [
        (("generate", "a dog ran"), "a dog ran a\n"),
        (("generate", "--file", "prompts.txt", "--batch-size", 1), 1),
        (("predict", "classify", "--text", "a dog", "--model", "m"), ""),
        (("eval", "lm", "prompts.txt"), ""),
    ],
    ids=lambda value: value[0] if isinstance(value, tuple) else "",
)
def test_ctrl_c_leaves_what_there_is_and_one_line(run, monkeypatch, tmp_path, arguments, shown):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "prompts.txt").write_text("a dog\na cat\n")

    def stopped(*_, **__):
        raise KeyboardInterrupt

    for place in ("predict.use_backend", "predict.pipeline", "train.use_trainers"):
        monkeypatch.setattr(f"gptcore.cli.{place}", stopped)
    streaming = SimpleNamespace(capabilities=CAPABILITIES, load=lambda *_, **__: Streaming())
    monkeypatch.setattr("gptcore.cli.generate.use_backend", lambda *_: streaming)
    status, out, error = run(*arguments)
    assert (status, error) == (130, "Interrupted.\n")
    assert (out if isinstance(shown, str) else out.count("\n")) == shown


def test_a_reader_that_leaves_hears_nothing():
    """As in ``gptcore ... | head``."""
    reader, writer = os.pipe()
    os.close(reader)
    code = "from gptcore.cli import main; main()"
    command = [sys.executable, "-c", code, "tokenize", "--text", "a dog", "--format", "ids"]
    with os.fdopen(writer, "wb") as closed:
        done = subprocess.run(command, stdout=closed, stderr=subprocess.PIPE, text=True, check=False)
    assert (done.returncode, done.stderr) == (1, "")
