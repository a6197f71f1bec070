"""The scripts and notebooks of ``examples/`` run as a user runs them, and learn."""

import json
import os
import random
import re
import subprocess
import sys
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from training_data import TEXT, tokenizer

EXAMPLES = Path(__file__).parent.parent / "examples"
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "TF_CPP_MIN_LOG_LEVEL": "3"}
SUBJECTS, GOOD, BAD = ("film", "book", "song", "play"), ("fine", "great", "lovely"), ("dull", "bad", "awful")


def run(*arguments):
    """What a script prints."""
    command = [sys.executable, "-W", "ignore", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, env=ENVIRONMENT, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def numbers(name, text):
    return [float(value) for value in re.findall(rf"\b{name}:? (\d+\.\d+)", text)]


def write(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_from_text_to_tasks(backend, tmp_path):
    draw = random.Random(0)
    folder = EXAMPLES / backend.name
    tokenizer().save_pretrained(tmp_path / "words")
    arguments = ("--tokenizer", tmp_path / "words", "--output", tmp_path / "lm", "--steps", 30, "--length", 32)
    losses = numbers("loss", run(folder / "run_clm.py", TEXT, *arguments))
    assert losses[-1] < losses[0] - 0.5

    reviews = [{"text": f"a {draw.choice(words)} {draw.choice(SUBJECTS)}", "label": label}
               for _ in range(120) for label, words in (("good", GOOD), ("bad", BAD))]  # fmt: skip
    training = ("--epochs", 6, "--learning_rate", 2e-3)
    rows = write(tmp_path / "reviews.jsonl", reviews)
    printed = run(
        folder / "run_text_classification.py",
        rows,
        "--model",
        tmp_path / "lm",
        *training,
        "--output",
        tmp_path / "reviews",
    )
    assert numbers("accuracy", printed)[-1] > 0.9

    choices = []
    for number in range(96):
        words = (draw.choice(GOOD), draw.choice(BAD))[:: 1 if number % 2 else -1]
        texts = {f"choice{i}": word for i, word in enumerate(words, 1)}
        choices.append({"context": f"a {draw.choice(SUBJECTS)} to see", **texts, "label": 1 - number % 2})
    rows = write(tmp_path / "choices.jsonl", choices)
    arguments = ("--epochs", 4, "--learning_rate", 3e-4, "--output", tmp_path / "choices")  # from what ships inside
    printed = run(folder / "run_multiple_choice.py", rows, *arguments)
    assert numbers("accuracy", printed)[-1] > 0.9
    for name in ("lm", "reviews", "choices"):
        assert (tmp_path / name / "model.safetensors").is_file()
        assert (tmp_path / name / "vocab.json").is_file()


def test_notebook(backend, tmp_path, monkeypatch):
    """Top to bottom; and what it draws from its model is mostly of the grammar that it made up."""
    for name in ("OMP_NUM_THREADS", "TF_CPP_MIN_LOG_LEVEL"):
        monkeypatch.setenv(name, ENVIRONMENT[name])
    notebook = nbformat.read(EXAMPLES / backend.name / "tour.ipynb", as_version=4)
    assert not any(cell.get("outputs") for cell in notebook.cells), "clear the outputs before committing"
    NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(tmp_path)}}).execute()
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    shown = " ".join(output["data"].get("text/plain", "") for output in outputs if "data" in output)
    right, written = map(int, re.search(r"(\d+) of (\d+) sentences", shown).groups())
    assert right > written / 2
    assert float(re.search(r"'accuracy': ([\d.]+)", shown)[1]) > 0.9
