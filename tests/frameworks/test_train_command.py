"""``gptcore train`` and ``gptcore eval`` as a user runs them, and a process that is killed at any moment."""

import json
import math
import os
import random
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from training_data import ROWS, TEXT, tokenizer

from gptcore import pipeline
from gptcore.errors import GPTError
from gptcore.training import read_log
from tokenization import OpenAIGPTTokenizerFast

SIZES = [f"--config={size}" for size in ("n_layer=1", "n_embd=30", "n_head=3", "n_positions=31")]
SETTINGS = [f"--set={setting}" for setting in ("max_steps=12", "batch_size=4", "warmup_steps=2", "learning_rate=0.003")]
# How many times each framework is killed; a session of nox does it 20 times.
KILLS = int(os.environ.get("GPTCORE_KILLS", "1"))


@pytest.fixture(scope="module")
def vocabulary(tmp_path_factory):
    return tokenizer().save_pretrained(folder := tmp_path_factory.mktemp("vocabulary")) and folder


def lm(vocabulary, output, backend, *more):
    settings = ["--tokenizer", vocabulary, "--backend", backend.name, "--output", output, *SIZES, *SETTINGS, "--quiet"]
    return ["train", "lm", TEXT, *settings, *more]


def losses(folder):
    return [record["loss"] for record in read_log(folder / "log.jsonl")]


def test_the_two_stages(backend, run, vocabulary, tmp_path):
    status, out, _ = run(*lm(vocabulary, tmp_path / "lm", backend, "--validation", TEXT, "--evaluate-every", 4))
    assert (status, out) == (0, f"{tmp_path / 'lm' / 'last'}\n")
    records = read_log(tmp_path / "lm" / "log.jsonl")
    assert [record["step"] for record in records if "eval_perplexity" in record] == [3, 7, 11]
    assert OpenAIGPTTokenizerFast.from_pretrained(tmp_path / "lm" / "last").model_max_length == 31
    assert (tmp_path / "lm" / "curve.png").read_bytes().startswith(b"\x89PNG")
    status, out, _ = run("eval", "lm", TEXT, "--model", tmp_path / "lm" / "best", "--backend", backend.name, "--json")
    found = json.loads(out)
    assert found["loss"] == pytest.approx(min(r["eval_loss"] for r in records if "eval_loss" in r), rel=1e-6)
    tokens = len(tokenizer()(TEXT.read_text()).input_ids)
    bits = tokens * found["loss"] / math.log(2)
    assert found["bits_per_byte"] == pytest.approx(bits / TEXT.stat().st_size, rel=1e-6)
    status, out, _ = run(
        "eval", "lm", TEXT, "--model", tmp_path / "lm" / "best", "--backend", backend.name, "--stride=7", "--json"
    )
    assert json.loads(out)["loss"] != found["loss"]
    for task in ("choice", "classify"):
        rows = tmp_path / f"{task}.jsonl"
        rows.write_text("".join(json.dumps(row) + "\n" for row in ROWS[task]))
        options = ["--backend", backend.name, "--output", tmp_path / task, "--validation", rows, "--quiet"]
        command = ["train", task, rows, "--model", tmp_path / "lm" / "last", "--set", "max_steps=3", *options]
        assert run(*command)[0] == 0
        status, out, _ = run(
            "eval", task, rows, "--model", tmp_path / task / "last", "--backend", backend.name, "--json"
        )
        last = read_log(tmp_path / task / "log.jsonl")[-1]
        for name in ("task_loss", "lm_loss", "accuracy", "f1", "matthews"):
            assert json.loads(out)[name] == pytest.approx(last[f"eval_{name}"], rel=1e-6)
    predict = pipeline("text-classification", str(tmp_path / "classify" / "last"), backend=backend.name)
    words = OpenAIGPTTokenizerFast.from_pretrained(tmp_path / "classify" / "last")
    logits = predict.model.forward(dict(words("a fine film", return_tensors="np")))["logits"][0]
    probabilities = np.exp(logits) / np.exp(logits).sum()
    answers = {answer["label"]: answer["score"] for answer in predict("a fine film", top_k=None)}
    assert answers == pytest.approx(dict(zip("ab", probabilities, strict=True)), rel=1e-5)


@pytest.mark.parametrize("value", ["true", "false"])
def test_examples_of_a_task_by_length(value, run, tmp_path, monkeypatch):
    started = []
    monkeypatch.setattr("gptcore.cli.train.start", lambda job, **_: started.append(job.run.batches))
    rows = tmp_path / "rows.jsonl"
    rows.write_text("".join(json.dumps({"text": "the cat " * i, "label": i % 2}) + "\n" for i in (1, 9, 2, 8)))
    settings = ["--output", tmp_path / "out", "--set", "batch_size=2", "--set", f"group_by_length={value}"]
    assert run("train", "classify", rows, *settings)[0] == 0
    spread = [np.ptp((started[0][step]["labels"] != -100).sum(1)) for step in range(20)]
    assert (max(spread) == 2) == (value == "true")


def test_what_a_run_will_do_is_said_before_it_starts(run, vocabulary, tmp_path, monkeypatch):
    def begin(self, **_):
        raise GPTError("the run begins")

    monkeypatch.setattr("gptcore.training.run.Run.__call__", begin)
    command = ["train", "lm", TEXT, "--tokenizer", vocabulary, "--output", tmp_path / "out", *SIZES]
    _, _, error = run(*command, "--set", "epochs=1", "--set", "batch_size=2")
    warning, plan, begins = map(error.find, ("Warning: The warm-up", "updates of 62 tokens", "the run begins"))
    assert -1 < warning < plan < begins
    _, _, error = run(*command, "--set", "warmup_steps=1")
    assert "Warning" not in error


def test_killed_at_any_moment(backend, run, vocabulary, tmp_path):
    """The losses of a run that was killed and resumed are those of one that was not, bit for bit."""
    code = "from gptcore.cli import main; main()"
    command = [sys.executable, "-W", "ignore", "-c", code]

    def arguments(name):
        return lm(vocabulary, tmp_path / name, backend, "--save-every", 1)

    assert run(*arguments("whole"))[0] == 0
    moments = random.Random(backend.name)
    for number in map(str, range(KILLS)):
        folder = tmp_path / str(number)
        wanted = moments.randrange(12)
        killed = [*command, *map(str, arguments(number))]
        process = subprocess.Popen(killed, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        log = folder / "log.jsonl"
        while process.poll() is None and not (log.exists() and log.read_bytes().count(b"\n") > wanted):
            time.sleep(0.001)
        time.sleep(moments.random() * 0.03)
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert run(*arguments(number), "--resume")[0] == 0
        assert losses(folder) == losses(tmp_path / "whole"), f"killed after step {wanted}"
        assert not list(folder.glob("*.partial"))


BAD = [
    (("train", "lm", "none.txt", "--output", "OUT", "--tokenizer", "VOCAB"), "no file or folder named none.txt"),
    (("train", "lm", "TEXT", "--output", "OUT"), "Training from scratch needs --tokenizer"),
    (("train", "lm", "TEXT", "--output", "OUT", "--tokenizer", "VOCAB", "--set", "epoch=1"), "did you mean 'epochs'"),
    (("train", "lm", "TEXT", "--output", "OUT", "--tokenizer", "VOCAB", "--backend", "mlx"), "flax; got 'mlx'"),
    (
        ("train", "choice", "TEXT", "--output", "OUT", "--model", "VOCAB", "--columns", "a"),
        "--columns must name the text columns of choice",
    ),
    (("eval", "lm", "TEXT", "--model", "none/such/model"), "not a repository id such as"),
]


@pytest.mark.parametrize(("arguments", "message"), BAD)
def test_mistakes(arguments, message, run, vocabulary, tmp_path):
    places = {"TEXT": TEXT, "VOCAB": vocabulary, "OUT": tmp_path / "out"}
    status, _, error = run(*(places.get(argument, argument) for argument in arguments))
    assert status == 2
    assert message in " ".join(error.split())


def test_a_diverging_run_says_so(backend, run, vocabulary, tmp_path):
    more = ("--set", "learning_rate=1e30", "--set", "max_grad_norm=null", "--save-every", "1")
    status, _, error = run(*lm(vocabulary, tmp_path / "run", backend, *more))
    assert status == 2
    assert "the last good checkpoint is" in " ".join(error.split())
    assert (tmp_path / "run" / "last" / "model.safetensors").exists()
