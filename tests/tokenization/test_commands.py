"""``gptcore tokenize`` and ``gptcore tokenizer train``."""

import io
import json
import sys

import pytest
from text_data import VOCABULARY
from typer.testing import CliRunner

from gptcore import __version__
from gptcore.cli.app import app, application
from gptcore.errors import GPTError
from tokenization import OpenAIGPTTokenizerFast


@pytest.fixture
def run():
    runner = CliRunner()

    def invoke(*arguments, **options):
        return runner.invoke(application, [str(argument) for argument in arguments], **options)

    return invoke


def test_json_from_an_option_a_file_and_standard_input(run, tmp_path):
    file = tmp_path / "text.txt"
    file.write_bytes("Don't.\r\n\u00e9 [x]".encode())
    settings = ("--tokenizer", VOCABULARY, "--pre-tokenizer", "original", "--format", "json")
    results = [
        run("tokenize", *settings, "--text", "Don't.\r\n\u00e9 [x]"),
        run("tokenize", *settings, file),
        run("tokenize", *settings, input="Don't.\r\n\u00e9 [x]".encode()),
    ]
    for result in results:
        assert result.exit_code == 0, result.output
        shown = json.loads(result.stdout)
        assert shown["pre_tokenizer"] == "original"
        assert shown["pieces"] == ["do</w>", "n't</w>", ".</w>", "\n</w>", "\u00e9</w>", "[</w>", "x</w>", "]</w>"]
        assert shown["offsets"] == [[0, 2], [2, 5], [5, 6], [7, 8], [8, 9], [10, 11], [11, 12], [12, 13]]
        assert len(shown["ids"]) == 8


def test_ids_table_and_colour(run):
    settings = ("--tokenizer", VOCABULARY, "--pre-tokenizer", "basic", "--text", "The [red] dog\x1b[0m\n")
    assert run("tokenize", *settings, "--format", "ids").stdout.split()[0] == "481"
    table = run("tokenize", *settings).stdout
    assert "the</w>" in table
    assert "481" in table
    assert run("tokenize", *settings[:-2], "--format", "ids", input=b"\xef\xbb\xbfThe").stdout == "481\n"
    coloured = run(
        "tokenize", *settings, "--format", "colour", env={"FORCE_COLOR": "1", "TERM": "xterm-256color"}
    ).stdout
    assert "[red]" in coloured.replace("\x1b", "").replace("[0m", "") or "red" in coloured
    assert "\\x1b" in coloured
    assert "\x1b[4" in coloured or "\x1b[3" in coloured


def test_bad_input(run, tmp_path):
    settings = ("--tokenizer", VOCABULARY, "--pre-tokenizer", "basic")
    for arguments, options, message in (
        ((tmp_path / "none",), {}, "cannot read"),
        ((), {"input": b"a\n\xff"}, "standard input, line 2: byte 0xff is not UTF-8"),
        ((), {"input": "a".encode("utf-16")}, "standard input is UTF-16, not UTF-8"),
    ):
        result = run("tokenize", *settings, *arguments, **options)
        assert isinstance(result.exception, GPTError)
        assert message in str(result.exception)


def test_training(run, tmp_path):
    (tmp_path / "c.txt").write_text("low lower lowest " * 20)
    result = run(
        "tokenizer",
        "train",
        tmp_path,
        "--output",
        tmp_path / "out",
        "--vocab-size",
        700,
        "--pre-tokenizer",
        "basic",
        "--quiet",
    )
    assert result.exit_code == 0, result.output
    assert {"vocab.json", "merges.txt", "tokenizer.json"} <= {path.name for path in (tmp_path / "out").iterdir()}
    assert OpenAIGPTTokenizerFast.from_pretrained(tmp_path / "out").tokenize("lowest") == ["lowest</w>"]


@pytest.mark.parametrize("show", ["table", "colour"])
def test_text_that_the_encoding_of_the_output_lacks(monkeypatch, show):
    output = io.TextIOWrapper(io.BytesIO(), encoding="cp1252")
    monkeypatch.setattr(sys, "stdout", output)
    settings = ("--tokenizer", str(VOCABULARY), "--pre-tokenizer", "basic", "--text", "\u732b\udcff")
    monkeypatch.setattr(sys, "argv", ["gptcore", "tokenize", *settings, "--format", show])
    with pytest.raises(SystemExit) as caught:
        app()
    output.flush()
    assert caught.value.code == 0
    assert "732b" in output.buffer.getvalue().decode("cp1252")


@pytest.mark.parametrize("arguments", [("-h",), ("--help",), ("train", "-h"), ("train", "lm", "-h")])
def test_help(run, arguments):
    result = run(*arguments)
    assert (result.exit_code, "Usage" in result.stdout) == (0, True)


def test_version(run):
    assert run("--version").stdout == f"gptcore {__version__}\n"


ADVICE = "Add --force to write into it and replace files of the same names, or choose another folder."


@pytest.mark.parametrize(
    ("output", "message"),
    [
        ("file", "cannot create the folder {}: "),
        ("file/below", "cannot create the folder {}: "),
        ("full", f"{{}} already holds files. {ADVICE}"),
    ],
)
def test_an_output_that_cannot_be_used(capsys, monkeypatch, tmp_path, output, message):
    (tmp_path / "file").write_text("the cat sat on the mat")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "vocab.json").write_text("mine")
    arguments = (tmp_path / "file", "--output", tmp_path / output, "--pre-tokenizer", "basic", "--quiet")
    monkeypatch.setattr(sys, "argv", ["gptcore", "tokenizer", "train", *map(str, arguments), "--vocab-size", "600"])
    with pytest.raises(SystemExit) as caught:
        app()
    assert caught.value.code == 2
    assert f"error: {message.format(tmp_path / output)}" in capsys.readouterr().err
    assert (tmp_path / "full" / "vocab.json").read_text() == "mine"


def test_progress_needs_a_terminal(run, tmp_path, capfd):
    (tmp_path / "text.txt").write_text("the cat sat on the mat")
    arguments = (tmp_path / "text.txt", "--output", tmp_path / "words", "--vocab-size", 600, "--pre-tokenizer", "basic")
    result = run("tokenizer", "train", *arguments)
    assert (result.exit_code, result.stdout, capfd.readouterr().out) == (0, "", "")
