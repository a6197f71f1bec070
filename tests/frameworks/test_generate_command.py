"""``gptcore generate`` as its users run it, and text that comes in whole words."""

import io
import json
import re
import sys
from pathlib import Path

import numpy as np
import pytest
from trained_scale import trained_scale

from gptcore.backends import load_backend
from gptcore.checkpoint import save_pretrained
from gptcore.generation import stream_text
from gptcore.spec.config import OpenAIGPTConfig
from gptcore.spec.parameters import Head
from tokenization import OpenAIGPTTokenizerFast

LETTERS = "abcdefghijklmnopqrstuvwxyz.,"
PIECES = ["<unk>", *LETTERS, *(f"{letter}</w>" for letter in LETTERS), "th", "the</w>"]
CONFIG = OpenAIGPTConfig(vocab_size=len(PIECES), n_positions=40, n_embd=12, n_head=2, n_layer=1)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("model")
    save_pretrained(folder, CONFIG, Head.LM, "float32", trained_scale(CONFIG, Head.LM))
    (folder / "vocab.json").write_text(json.dumps({piece: i for i, piece in enumerate(PIECES)}))
    (folder / "merges.txt").write_text("#version: 0.2\nt h\nth e</w>\n")
    return folder


def test_a_text_goes_on(run, folder):
    command = ("generate", "the cat", "--model", folder, "--pre-tokenizer", "basic", "--max-new-tokens", 12)
    for method in (("--greedy",), ("--num-beams", 3), ("--seed", 5)):
        status, out, error = run(*command, *method)
        assert (status, error) == (0, "")
        assert out.startswith("the cat")
        assert len(out) > len("the cat\n")
        assert run(*command, *method)[1] == out
    _, out, error = run(*command)
    seed = re.fullmatch(r"\(To repeat this text, pass --seed (\d+)\.\)\n", error)[1]
    assert run(*command, "--seed", seed)[1] == out


def test_spaces_are_set_as_people_do(run, folder):
    command = ("generate", "the cat, a.", "--model", folder, "--pre-tokenizer", "basic", "--max-new-tokens", 9)
    _, out, _ = run(*command, "--greedy")
    assert out.startswith("the cat, a.")
    _, raw, _ = run(*command, "--greedy", "--raw")
    assert raw.startswith("the cat , a .")
    assert "".join(raw.split()) == "".join(out.split())


def test_a_file_gives_json_lines_that_all_frameworks_agree_on(run, folder, tmp_path):
    prompts = tmp_path / "prompts.txt"
    prompts.write_bytes("\ufeffthe cat\r\n\nsat.\u2028\x85\x0cthe\na b c d e\n".encode())
    options = ("--model", folder, "--pre-tokenizer", "basic", "--max-new-tokens", 9, "--seed", 7)
    answers = set()
    for backend in ("torch", "tf", "flax"):
        for batch_size in (1, 2):  # a row gives what it would give alone
            where = ("--batch-size", batch_size, *(("--device", "cpu") if batch_size == 2 else ()))
            status, out, _ = run("generate", "--file", prompts, "--backend", backend, *where, *options)
            assert status == 0
            answers.add(out)
    assert len(answers) == 1
    lines = [json.loads(line) for line in answers.pop().rstrip("\n").split("\n")]
    assert [line["prompt"] for line in lines] == ["the cat", "sat.\u2028\x85\x0cthe", "a b c d e"]
    assert all(len(line["ids"]) == 9 for line in lines)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "pass either a text or --file"),
        (("a", "--set", "min_p"), "--set must be NAME=VALUE"),
        (("a", "--set", "min_q=0.1"), "did you mean 'min_p'"),
        (("a", "--max-new-tokens", 99), "n_positions=40"),
        (("--file", "nowhere.txt"), "cannot read nowhere.txt"),
        (("--file", Path(__file__).parent), "cannot read"),
        (
            ("a", "--greedy", "--temperature", 0.7),
            "cannot use temperature: --greedy, --num-beams above 1",
        ),
        (("a", "--greedy", "--top-k", 7, "--top-p", 0.5), "cannot use top_k, top_p: --greedy"),
        (("a", "--num-beams", 2, "--set", "min_p=0.1"), "cannot use min_p: --greedy"),
        (("a", "--backend", "tf", "--quantization", "int8"), "quantization must be None; got 'int8'. Only gpt_torch"),
        (("a", "--device", "cuda:99"), "device must be one of cpu"),
        (("a", "--backend", "tf", "--device", "GPU:99"), "device must be one of CPU:0"),
        (("a", "--quantization", "int3"), "quantization must be None or 'int8'; got 'int3'"),
    ],
)
def test_mistakes(run, folder, arguments, message):
    status, _, err = run("generate", *arguments, "--model", folder, "--pre-tokenizer", "basic")
    assert status == 2
    assert message in err
    assert "Traceback" not in err


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("\u200b", "line 4: the prompt must have at least one token"),  # white space to no Python, and no token either
        ("a " * 38, "line 4: cannot generate 3 tokens after a prompt of 38: n_positions=40 is less than 41"),
    ],
    ids=["no token", "too long"],
)
def test_a_line_that_cannot_be_continued_is_told_first(run, folder, tmp_path, line, message):
    prompts = tmp_path / "prompts.txt"
    prompts.write_text(f"the cat\n\nsat.\n{line}\n", encoding="utf-8")
    options = ("--model", folder, "--pre-tokenizer", "basic", "--max-new-tokens", 3, "--batch-size", 1)
    status, out, err = run("generate", "--file", prompts, *options)
    assert (status, out) == (2, "")
    assert f"{prompts}, {message}" in err


def test_lines_are_those_of_line_breaks_alone(run, folder, tmp_path):
    """Other characters that Unicode breaks lines at are text; a byte order mark is none."""
    prompts = tmp_path / "prompts.txt"
    lines = ["the cat", "sat\u2028the\u2029cat\x0c\x0b\x1c\x85th", "a b"]
    prompts.write_bytes(b"\xef\xbb\xbf" + "\r\n".join([*lines[:2], ""]).encode() + f"\n{lines[2]}".encode())
    options = ("--model", folder, "--pre-tokenizer", "basic", "--max-new-tokens", 2)
    status, out, _ = run("generate", "--file", prompts, *options)
    assert status == 0
    assert [json.loads(line)["prompt"] for line in out.rstrip("\n").split("\n")] == lines


@pytest.mark.parametrize("encoding", ["cp1252", "ascii", "utf-8"])
def test_answers_in_any_encoding(run, folder, tmp_path, monkeypatch, encoding):
    prompts = tmp_path / "prompts.txt"
    prompts.write_text("the \u732b\n", encoding="utf-8")
    output = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    monkeypatch.setattr(sys, "stdout", output)
    options = ("--model", folder, "--pre-tokenizer", "basic", "--max-new-tokens", 2)
    assert run("generate", "--file", prompts, *options)[0] == 0
    assert json.loads(output.buffer.getvalue().decode(encoding))["prompt"] == "the \u732b"


def test_int8(run, folder):
    options = (
        "--model",
        folder,
        "--pre-tokenizer",
        "basic",
        "--max-new-tokens",
        12,
        "--quantization",
        "int8",
        "--greedy",
    )
    status, out, err = run("generate", "the cat", *options)
    assert (status, err, out.startswith("the cat")) == (0, "", True)


def test_the_example_samples_the_same_text_in_every_framework(script, folder):
    path = Path(__file__).parents[2] / "examples" / "run_generation.py"
    options = ("--model_name_or_path", folder, "--prompt", "the cat", "--num_return_sequences", 2, "--length", 9)
    texts = {script(path, "--backend", backend, *options) for backend in ("torch", "tf", "flax")}
    assert len(texts) == 1
    assert texts.pop().count("the cat") == 2


def test_streamed_text_comes_in_whole_words(folder):
    tokenizer = OpenAIGPTTokenizerFast.from_pretrained(folder, pre_tokenizer="basic")
    model = load_backend("torch").load(folder, Head.LM)
    ids = np.array([tokenizer("the cat").input_ids])
    settings = {"max_new_tokens": 30, "do_sample": True, "top_k": 0}
    pieces = list(stream_text(model, tokenizer, ids, **settings))
    whole = tokenizer.decode(model.generate(ids, **settings)[0, ids.shape[1] :])
    assert "".join(pieces) == whole
    assert len(pieces) > 2
    ends = np.cumsum([len(piece) for piece in pieces])[:-1]
    assert all(whole[end] == " " for end in ends)
    with pytest.raises(ValueError, match="unknown setting"):
        list(stream_text(model, tokenizer, ids, max_new_token=3))


@pytest.mark.parametrize(("kind", "module"), [("np", "numpy"), ("pt", "torch"), ("tf", "tensorflow"), ("jax", "jax")])
def test_ids_come_as_tensors_of_a_framework(folder, kind, module):
    tokenizer = OpenAIGPTTokenizerFast.from_pretrained(folder, pre_tokenizer="basic")
    encoded = tokenizer(["the cat", "the dog"], return_tensors=kind)
    assert type(encoded.input_ids).__module__.startswith(module)
    assert np.asarray(encoded.input_ids).shape == (2, 4)
