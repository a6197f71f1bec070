"""What ``gptcore train`` resumes, refuses and remembers, with a trainer that computes nothing."""

import json
import shutil
import signal
import sys

import numpy as np
import pytest
from training_data import tokenizer

from gptcore import DEFAULT_MODEL
from gptcore.checkpoint import fresh_values
from gptcore.errors import ConfigError, DataError, TrainingError
from gptcore.spec.config import OpenAIGPTConfig
from gptcore.training import FINE_TUNING, Evaluation, Recipe, evaluate, fit, read_log
from gptcore.training.steps import MOMENTS
from tokenization import OpenAIGPTTokenizerFast

CONFIG = OpenAIGPTConfig(vocab_size=11, n_positions=8, n_embd=6, n_layer=1, n_head=2)
LM = ("--config=n_positions=8", "--set", "max_steps=3", "--set", "warmup_steps=0", "--set", "batch_size=2")
WORDS = "the cat sat on the mat and the dog ran to the sea . " * 3


class StillTrainer:
    """Its model never changes."""

    is_main = True
    signals = {}
    """Step -> the signals that reach the process in it."""

    def __init__(self, source, head, recipe, total_steps, **changes):
        labels = {name: value for name, value in changes.items() if name != "vocab_size"}
        self.head, self.config = head, CONFIG.replace(**labels)

    def step(self, step, batch):
        for number in self.signals.get(step, ()):
            signal.raise_signal(number)
        return {"loss": float(step), "grad_norm": 1.0, "learning_rate": 0.1}

    def weights(self):
        yield from fresh_values(self.config, self.head, "float32", 0)

    def moments(self):
        for moment in MOMENTS:
            yield from ((f"{moment}.{name}", np.zeros_like(array)) for name, array in self.weights())

    def restore(self, step, weights, moments):
        assert list(weights)
        assert list(moments)


@pytest.fixture(autouse=True)
def still(monkeypatch):
    """The names of the backends that a command loaded."""
    loaded = []

    def use(context, name, device):
        loaded.append(name)
        return StillTrainer

    monkeypatch.setattr("gptcore.cli.train.use_trainers", use)
    monkeypatch.setattr("gptcore.cli.train.plot", lambda records, path: path.touch())
    monkeypatch.setattr("gptcore.cli.train.tensorboard", lambda output: lambda record: None)
    return loaded


@pytest.fixture(scope="module")
def vocabulary(tmp_path_factory):
    folder = tmp_path_factory.mktemp("vocabulary")
    tokenizer().save_pretrained(folder)
    return folder


@pytest.fixture
def lm(run, vocabulary, tmp_path):
    """A function (arguments) -> the result of ``train lm`` over ``corpus.txt``."""
    corpus = tmp_path / "corpus.txt"
    corpus.write_text(WORDS)

    def lm(*more, files=corpus, words=vocabulary, output=tmp_path / "run"):
        return run("train", "lm", files, "--tokenizer", words, "--output", output, "--quiet", *LM, *more)

    return lm


@pytest.mark.parametrize("command", ["lm", "classify"])
def test_a_run_is_not_started_over(lm, classify, still, command, tmp_path):
    train = {"lm": lm, "classify": classify}[command]
    assert train()[0] == 0
    log = (tmp_path / "run" / "log.jsonl").read_bytes()
    still.clear()
    status, _, error = train("--recipe", "no such file")
    assert (status, still) == (2, [])
    assert error == f"error: {tmp_path / 'run'} already holds a run. Add --resume, or choose another --output.\n"
    assert (tmp_path / "run" / "log.jsonl").read_bytes() == log


def test_a_finished_run_says_so(lm, tmp_path):
    assert lm("--resume")[0] == 0  # nothing to resume yet
    status, out, error = lm("--resume")
    assert (status, out) == (0, f"{tmp_path / 'run' / 'last'}\n")
    assert error == f"{tmp_path / 'run'} is finished (3 of 3 updates). Nothing was trained.\n"


def test_a_preset_sets_sizes_and_recipe(lm, monkeypatch):
    started = []

    class Recorder(StillTrainer):
        def __init__(self, source, head, recipe, total_steps):
            started.append((source, recipe))
            super().__init__(source, head, recipe, total_steps)

    monkeypatch.setattr("gptcore.cli.train.use_trainers", lambda *_: Recorder)
    assert lm("--preset", "small", "--config=n_layer=1")[0] == 0
    ((config, recipe),) = started
    assert (config.n_embd, config.n_head, config.n_layer, config.n_positions) == (128, 4, 1, 8)
    assert (recipe.learning_rate, recipe.max_steps) == (1e-3, 3)
    status, _, error = lm("--preset", "tiny", "--resume")
    assert (status, error) == (2, "error: --preset must be one of paper, small; got 'tiny'.\n")


INT, TERM = signal.SIGINT, signal.SIGTERM


@pytest.mark.parametrize(
    ("signals", "status", "message"),
    [
        ([INT], 130, "Stopped after 2 of 3 updates, saved in {run}/step-00000002. Add --resume to continue."),
        ([TERM], 143, "Stopped after 2 of 3 updates, saved in {run}/step-00000002. Add --resume to continue."),
        (
            [INT, INT],
            130,
            "Stopped immediately; there is no checkpoint yet. Add --resume to start from the beginning in this folder.",
        ),
    ],
    ids=["interrupt", "terminate", "interrupt twice"],
)
def test_a_signal(lm, monkeypatch, tmp_path, signals, status, message):
    monkeypatch.setattr(StillTrainer, "signals", {1: signals})
    assert lm()[::2] == (status, message.format(run=tmp_path / "run") + "\n")
    assert (tmp_path / "run" / "curve.png").exists() == (tmp_path / "run" / "log.jsonl").exists()
    monkeypatch.setattr(StillTrainer, "signals", {})
    assert lm("--resume")[0] == 0
    assert len(read_log(tmp_path / "run" / "log.jsonl")) == 3


def reversed_words(folder, vocabulary):
    (folder / "corpus.txt").write_text(" ".join(WORDS.split()[::-1]))
    return {}


def reversed_merges(folder, vocabulary):
    """The same pieces, put together in another order."""
    words = shutil.copytree(vocabulary, folder / "words")
    (words / "tokenizer.json").unlink(missing_ok=True)
    version, *merges = (words / "merges.txt").read_text().splitlines()
    (words / "merges.txt").write_text("\n".join([version, *merges[::-1]]) + "\n")
    return {"words": words}


@pytest.mark.parametrize(
    ("change", "named"),
    [(reversed_words, ["examples"]), (reversed_merges, ["examples", "tokenizer"])],
)
def test_other_content_under_the_same_names_is_refused(lm, vocabulary, tmp_path, change, named):
    assert lm()[0] == 0
    status, _, error = lm("--resume", **change(tmp_path, vocabulary))
    assert status == 2
    assert [line.split()[1] for line in error.splitlines()[1:]] == [f"fingerprint.{name}" for name in named]


def test_the_same_content_resumes_from_anywhere(lm, vocabulary, tmp_path, monkeypatch):
    assert lm()[0] == 0
    moved = tmp_path / "elsewhere"
    moved.mkdir()
    for name in ("corpus.txt", "run"):
        (tmp_path / name).rename(moved / name)
    words = shutil.copytree(vocabulary, moved / "words")
    for folder, prefix in ((tmp_path, moved), (moved, "."), (moved / "words", "..")):
        monkeypatch.chdir(folder)
        files, output = f"{prefix}/corpus.txt", f"{prefix}/run"
        assert lm("--resume", files=files, words=words, output=output)[0] == 0
    assert len(read_log(moved / "run" / "log.jsonl")) == 3


ROWS = [{"text": f"{word} {word}", "label": "ab"[i % 2], "other": "ba"[i % 2]} for i, word in enumerate(WORDS.split())]


def written(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.fixture
def classify(run, tmp_path):
    """A function (arguments) -> the result of ``train classify`` over ``rows.jsonl``."""
    rows = written(tmp_path / "rows.jsonl", ROWS)

    def classify(*more, model=DEFAULT_MODEL):
        settings = ("--set", "max_steps=3", "--set", "batch_size=2", "--output", tmp_path / "run", "--quiet")
        return run("train", "classify", rows, "--model", model, *settings, *more)

    return classify


@pytest.mark.parametrize("command", ["lm", "classify"])
def test_other_validation_data_is_refused(lm, classify, monkeypatch, tmp_path, command):
    for name in ("evaluate_lm", "evaluate_task"):
        monkeypatch.setattr(f"gptcore.training.jobs.{name}", lambda *_: Evaluation({}, 0.0))
    train = {"lm": lm, "classify": classify}[command]
    held_out = written(tmp_path / "held_out.jsonl", ROWS[:4])
    assert train("--validation", held_out)[0] == 0
    assert train("--validation", shutil.copy(held_out, tmp_path / "same.jsonl"), "--resume")[0] == 0
    written(held_out, ROWS[:3])
    for more in (("--validation", held_out), ()):
        status, _, error = train("--resume", *more)
        assert status == 2
        assert [line.split()[1] for line in error.splitlines()[1:]] == ["fingerprint.validation"]


@pytest.mark.parametrize(
    ("rows", "more", "named"),
    [
        ([{**row, "label": "ba"[i % 2]} for i, row in enumerate(ROWS)], (), "fingerprint.examples"),
        ([{**row, "label": "xy"[i % 2]} for i, row in enumerate(ROWS)], (), "labels.a"),
        (ROWS[::-1], (), "fingerprint.examples"),
        (ROWS, ("--label", "other"), "fingerprint.examples"),
        (ROWS, ("--columns", "other"), "fingerprint.examples"),
    ],
    ids=["swapped labels", "renamed labels", "another order", "another label", "another column"],
)
def test_other_rows_under_the_same_path_are_refused(classify, tmp_path, rows, more, named):
    assert classify()[0] == 0
    written(tmp_path / "rows.jsonl", rows)
    status, _, error = classify("--resume", *more)
    assert status == 2
    assert error.splitlines()[1].split()[1] == named


def test_another_model_under_the_same_path_is_refused(classify, tmp_path):
    model = shutil.copytree(DEFAULT_MODEL, tmp_path / "model")
    assert classify(model=model)[0] == 0
    assert classify("--resume")[0] == 0  # the same model from another folder
    config = json.loads((model / "config.json").read_text())
    (model / "config.json").write_text(json.dumps({**config, "resid_pdrop": 0.3}))
    status, _, error = classify("--resume", model=model)
    assert (status, error.splitlines()[1].split()[1]) == (2, "fingerprint.model")


METRICS = {"task_loss": 0.123456, "f1": 1.0}


@pytest.fixture
def measured(monkeypatch):
    """The number of examples of each evaluation; all have the same metrics."""
    examples = []

    def evaluate(trainer, batches, *_):
        examples.append(sum(len(batch["input_ids"]) for batch in batches))
        return Evaluation(METRICS, 1.0)

    for name in ("evaluate_task", "evaluate_lm"):
        monkeypatch.setattr(f"gptcore.training.fitting.{name}", evaluate)
    return examples


def test_one_call_does_what_the_command_does(classify, measured, monkeypatch, tmp_path):
    """From files or from rows; each can go on from the other's run."""
    monkeypatch.setattr("gptcore.training.fitting.load_trainers", lambda name: StillTrainer)
    recipe = FINE_TUNING.replace(max_steps=3, batch_size=2)
    seen = []
    record = fit("classify", ROWS, tmp_path / "rows", recipe=recipe, listeners=[seen.append])
    assert classify()[0] == 0
    logs = [read_log(tmp_path / folder / "log.jsonl") for folder in ("rows", "run")]
    assert [[each["loss"] for each in log] for log in logs] == [[each["loss"] for each in seen]] * 2
    assert record["step"] == 2
    assert fit("classify", tmp_path / "rows.jsonl", tmp_path / "run", recipe=recipe, resume=True) == {}
    assert Recipe.read(tmp_path / "rows" / "recipe.yaml") == recipe
    assert evaluate("classify", ROWS, str(tmp_path / "rows")).metrics == METRICS
    assert measured == [len(ROWS)]
    with pytest.raises(TrainingError, match=r"already holds a run. Pass resume=True"):
        fit("classify", ROWS, tmp_path / "run")
    with pytest.raises(ConfigError, match=r"task must be one of 'lm', 'classify'.*; got 'sort'"):
        fit("sort", ROWS, tmp_path / "other")
    with pytest.raises(DataError, match="row 1: missing column 'mood'; got 'text', 'label'"):
        fit("classify", ROWS, tmp_path / "other", label="mood")


def test_evaluation_remembers_the_columns(run, measured, tmp_path):
    rows = written(tmp_path / "rows.jsonl", [{"review": row["text"], "mood": row["label"]} for row in ROWS])
    others = written(tmp_path / "others.jsonl", ROWS)
    output = tmp_path / "run"
    names = ("--columns", "review", "--label", "mood")
    settings = ("--set", "max_steps=1", "--set", "batch_size=2", "--output", output, "--quiet")
    assert run("train", "classify", rows, *names, *settings)[0] == 0
    for model in (output, output / "last"):
        assert json.loads(run("eval", "classify", rows, "--model", model, "--json")[1]) == METRICS
    assert run("eval", "classify", others, "--model", output)[0] == 2
    options = ("--columns", "text", "--label", "label")
    assert run("eval", "classify", others, "--model", output, *options)[0] == 0
    assert measured == [len(ROWS)] * 3
    status, _, error = run("eval", "similarity", rows, "--model", output)  # of another task nothing is known
    assert (status, "sentence1" in error) == (2, True)


def test_the_tokenizer_of_a_run_knows_its_task(run, lm, classify, tmp_path):
    assert classify()[0] == 0
    tuned = tmp_path / "run" / "last"
    assert OpenAIGPTTokenizerFast.from_pretrained(tuned).task == "classify"
    assert lm("--model", DEFAULT_MODEL, words=tuned, output=tmp_path / "lm")[0] == 0
    assert OpenAIGPTTokenizerFast.from_pretrained(tmp_path / "lm" / "last").task is None


def test_evaluation_remembers_the_column_of_a_corpus(run, lm, measured, tmp_path):
    rows = written(tmp_path / "rows.jsonl", [{"body": WORDS}])
    assert lm("--column", "body", files=rows)[0] == 0
    assert run("eval", "lm", rows, "--model", tmp_path / "run")[0] == 0
    assert run("eval", "lm", rows, "--model", tmp_path / "run", "--column", "text")[0] == 2


@pytest.mark.parametrize("on_terminal", [False, True], ids=["pipe", "terminal"])
def test_metrics_for_programs_and_people(run, measured, monkeypatch, tmp_path, on_terminal):
    (tmp_path / "corpus.txt").write_text(WORDS)
    monkeypatch.setattr(sys.stdout, "isatty", lambda: on_terminal)
    command = ("eval", "lm", tmp_path / "corpus.txt")
    assert run(*command, "--json")[:2] == (0, json.dumps(METRICS) + "\n")
    status, out, _ = run(*command)
    assert (status, out.splitlines()[0].split(",")[0]) == (0, "lm: the bundled model")
    assert [line.split()[:3] for line in out.splitlines()[2:]] == [
        ["macro", "F1", "1.0000"],
        ["task", "loss", "0.1235"],
    ]
