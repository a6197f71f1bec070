"""Strings in, strings out, the same in every framework; and ``gptcore predict``."""

import json
import shutil
from types import SimpleNamespace

import numpy as np
import pytest
from training_data import ROWS, save_fine_tuned, tokenizer

from gptcore import DEFAULT_MODEL, ConfigError, DataError, InputError, pipeline
from gptcore.pipelines import Prediction
from gptcore.spec.config import OpenAIGPTConfig
from gptcore.spec.parameters import Head
from gptcore.spec.tasks import TASKS

NAMES = {
    "text-classification": "classify",
    "entailment": "entail",
    "similarity": "similarity",
    "multiple-choice": "choice",
}


@pytest.fixture(scope="module")
def fine_tuned(tmp_path_factory):
    """A function (task) -> the folder of a model with its head and tokenizer."""
    folders = {}

    def folder(task):
        if task not in folders:
            folders[task] = save_fine_tuned(tmp_path_factory.mktemp(task), task)
        return str(folders[task])

    return folder


def test_the_bundled_model_writes(backend):
    write = pipeline(backend=backend.name)
    settings = {"max_new_tokens": 4, "do_sample": True, "seed": 3}
    one = write("The Queen said:", **settings)
    assert [list(answer) for answer in one] == [["generated_text"]]
    assert one[0]["generated_text"].startswith("the queen said: ")
    many = write(["The Queen said:", "A dog"], num_return_sequences=2, **settings)
    assert [len(answers) for answers in many] == [2, 2]
    assert many[0][0] == one[0]
    (new,) = write("The Queen said:", return_full_text=False, **settings)
    assert one[0]["generated_text"].endswith(new["generated_text"])


def test_a_stream_is_the_text(backend, fine_tuned):
    write = pipeline("text-generation", fine_tuned("lm"), backend=backend.name)
    for readable in (True, False):
        pieces = list(write.stream("the work", max_new_tokens=6, readable=readable))
        (whole,) = write("the work", max_new_tokens=6, return_full_text=False, readable=readable)
        assert "".join(pieces) == whole["generated_text"]


def test_scores_are_those_of_the_loss(backend, fine_tuned):
    score = pipeline("score", fine_tuned("lm"), backend=backend.name, batch_size=2)
    texts = ["the work", "the license of the work", "a contribution to it"]
    found = score(texts)
    assert score(texts[0])["log_probability"] == pytest.approx(found[0]["log_probability"], rel=1e-5)
    model = backend.load(fine_tuned("lm"), Head.LM)
    for text, result in zip(texts, found, strict=True):
        ids = np.array([tokenizer()(text).input_ids])
        losses, _ = model.loss_and_gradients({"input_ids": ids, "labels": ids})
        assert result["tokens"] == ids.size - 1
        assert result["log_probability"] == pytest.approx(-losses["loss"] * result["tokens"], rel=1e-5)
        assert result["perplexity"] == pytest.approx(np.exp(losses["loss"]), rel=1e-5)


INPUTS = {
    "text-classification": ["a film", {"text": "a film"}],
    "entailment": [("all cats", "some"), {"premise": "all cats", "hypothesis": "some"}],
    "similarity": [("a cat", "dog"), {"sentence1": "a cat", "sentence2": "dog"}],
    "multiple-choice": [
        ("it is", ["so", "then"]),
        {"context": "it is", "choice1": "so", "choice2": "then"},
    ],
}


@pytest.mark.parametrize("name", INPUTS)
def test_each_form_of_an_input(fine_tuned, name):
    predict = pipeline(name, fine_tuned(NAMES[name]))
    plain, named = INPUTS[name]
    assert predict(plain) == predict(named)
    alone, together = predict(plain), predict([plain, named])
    if name == "similarity":  # of scores
        assert together == [{"score": pytest.approx(alone["score"], rel=1e-5)}] * 2
        return
    assert together == [[{**alone[0], "score": pytest.approx(alone[0]["score"], rel=1e-5)}]] * 2
    every = predict(plain, top_k=None)
    assert sum(answer["score"] for answer in every) == pytest.approx(1)
    assert predict(plain) == [max(every, key=lambda answer: answer["score"])]
    labels = {"0", "1"} if name == "multiple-choice" else {row["label"] for row in ROWS[NAMES[name]]}
    assert {answer["label"] for answer in every} == labels


def test_inputs_with_different_numbers_of_choices(fine_tuned):
    predict = pipeline("multiple-choice", fine_tuned("choice"))
    inputs = [("it", ["a", "b"]), {"context": "it", "choice1": "a", "choice2": "b", "choice3": "c", "label": 1}]
    together = predict([*inputs, inputs[0]], top_k=None)
    assert [len(answers) for answers in together] == [2, 3, 2]
    for one, answers in zip(inputs, together, strict=False):
        scores = {answer["label"]: answer["score"] for answer in predict(one, top_k=None)}
        assert {answer["label"]: answer["score"] for answer in answers} == pytest.approx(scores, rel=1e-5)
    assert predict([]) == []


@pytest.mark.parametrize(
    ("kind", "logits", "answer"),
    [
        ("multi_label_classification", [1.0, 0.0, 2.0], {"label": "LABEL_2", "score": 1 / (1 + np.exp(-2))}),
        (
            "single_label_classification",
            [1.0, 0.0, 2.0],
            {"label": "LABEL_2", "score": 1 / (1 + np.exp(-1) + np.exp(-2))},
        ),
        (None, [-2.0], {"label": "LABEL_0", "score": 1 / (1 + np.exp(2))}),
        ("regression", [1.0, 0.0, 2.0], {"label": "LABEL_2", "score": 2.0}),
    ],
)
def test_scores_follow_the_problem_type(monkeypatch, kind, logits, answer):
    """As in transformers' pipeline."""
    config = OpenAIGPTConfig(num_labels=len(logits), problem_type=kind)
    predict = Prediction("classify", SimpleNamespace(config=config), None)
    monkeypatch.setattr(predict, "logits", lambda rows, columns: np.array([logits]))
    assert predict("a text") == [{"label": answer["label"], "score": pytest.approx(answer["score"])}]


def test_the_order_of_two_similar_texts_does_not_count(fine_tuned):
    predict = pipeline("similarity", fine_tuned("similarity"))
    assert predict(("a cat", "a dog"))["score"] == pytest.approx(predict(("a dog", "a cat"))["score"], rel=1e-5)


MISTAKES = {
    "an unknown task": (lambda models: pipeline("text-generatoin"), ConfigError, "task must be one of text-generation"),
    "a model without the head": (
        lambda models: pipeline("text-classification", DEFAULT_MODEL),
        ConfigError,
        "gptcore train classify",
    ),
    "a model for another task": (
        lambda models: pipeline("entailment", models("classify")),
        ConfigError,
        r"model must be fine-tuned for entailment \(gptcore train entail\); got .*, fine-tuned for classify",
    ),
    "no text": (
        lambda models: pipeline("text-classification", models("classify"))(["a text", None]),
        DataError,
        r"inputs\[1\]: text",
    ),
    "a text that is too long, of a later batch": (
        lambda models: pipeline("text-generation", batch_size=1)(["a text", "a text " * 300], max_new_tokens=1),
        InputError,
        r"texts\[1\]: the prompt must have at most 256 tokens \(n_positions\); got 900",
    ),
    "a loaded model": (lambda models: pipeline(model=object()), ConfigError, "must be a string or a path; got object"),
    "no pair": (
        lambda models: pipeline("entailment", models("entail"))(["one text"]),
        InputError,
        r"inputs\[0\] must be",
    ),
    "an empty prompt": (lambda models: pipeline()(["a", " "], max_new_tokens=1), InputError, r"texts\[1\] must have"),
    "a prompt that is no text": (lambda models: pipeline()([3]), InputError, r"texts\[0\] must be a str; got int"),
    "no prompt": (lambda models: pipeline()(None), InputError, "texts must be one input or a list .*; got NoneType"),
    "a dict in the place of a text": (
        lambda models: pipeline()({"text": "a"}, max_new_tokens=1),
        InputError,
        "texts must be one input or a list .*; got dict",
    ),
    "a number in the place of a text": (lambda models: pipeline("score")(3), InputError, "texts must be .*; got int"),
    "no input": (
        lambda models: pipeline("entailment", models("entail"))(None),
        InputError,
        "inputs must be one input or a list .*; got NoneType",
    ),
    "no labels": (
        lambda models: pipeline("text-classification", models("classify"))("a", top_k=-1),
        InputError,
        "top_k must be a whole number of at least 1, or None for all labels; got -1",
    ),
    "one choice": (
        lambda models: pipeline("multiple-choice", models("choice"))([("it", ["so", "then"]), ("it", ["so"])]),
        InputError,
        r"inputs\[1\] must have at least 2 choices; got 1",
    ),
    "a text of one token": (lambda models: pipeline("score")("a"), InputError, "text must have 2 to 256 tokens; got 1"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistakes_are_one_error(fine_tuned, mistake):
    call, error, message = MISTAKES[mistake]
    with pytest.raises(error, match=message):
        call(fine_tuned)


@pytest.mark.parametrize("task", TASKS)
def test_predictions_have_the_metrics_of_eval(backend, run, fine_tuned, tmp_path, task):
    rows = tmp_path / "rows.jsonl"
    rows.write_text("".join(json.dumps(row) + "\n" for row in ROWS[task]))
    options = ["--model", fine_tuned(task), "--backend", backend.name]
    options += ["--device", "cpu"] if task == "classify" else []
    status, out, _ = run("eval", task, rows, *options, "--json")
    measured = json.loads(out)
    status, out, _ = run("predict", task, rows, *options)
    assert status == 0
    answers = [json.loads(line) for line in out.splitlines()]
    labels = [row["label"] for row in ROWS[task]]
    if task == "similarity":
        pearson = np.corrcoef([answer["score"] for answer in answers], labels)[0, 1]
        assert pearson == pytest.approx(measured["pearson"], rel=1e-5)
    else:
        right = [answer["label"] == str(label) for answer, label in zip(answers, labels, strict=True)]
        assert sum(right) / len(right) == measured["accuracy"]


def test_predict_reads_the_columns_of_training(run, fine_tuned, tmp_path):
    """Also after a conversion."""
    folder, table = tmp_path / "model", tmp_path / "rows.csv"
    shutil.copytree(fine_tuned("choice"), folder)
    names = ["context", "choice1", "choice2", "choice3"]
    (folder / "task.json").write_text(json.dumps({"task": "choice", "columns": names, "label": "label"}))
    table.write_text(",".join(names) + "\nit,so,so,so\n")
    assert run("convert", folder, tmp_path / "other", "--to", "flax")[0] == 0
    for model in (folder, tmp_path / "other"):
        _, out, _ = run("predict", "choice", table, "--model", model, "--format", "jsonl")
        assert json.loads(out)["score"] == pytest.approx(1 / 3)
    table.write_text(",".join([*names, "choice4"]) + "\nit,so,so,so,so\n")
    status, _, error = run("predict", "choice", table, "--model", folder)
    assert (status, "column 'choice4' would not be read. Pass the names of all columns, or --choices 4." in error) == (
        2,
        True,
    )


def test_predict_prints_what_is_asked_for(run, fine_tuned, tmp_path):
    model = ["--model", fine_tuned("classify")]
    status, out, _ = run("predict", "classify", "--text", "a [red]film", *model, "--format", "table")
    assert (status, "a [red]film" in out) == (0, True)
    status, out, _ = run("predict", "classify", "--text", "a film", *model, "--format", "csv")
    lines = out.splitlines()
    assert lines[0] == "label,score"
    assert len(lines) == 2
    for arguments, message in {
        ("classify",): "pass either FILES or --text",
        ("clasify", "--text", "a"): "TASK must be one of classify",
        ("entail", "--text", "a"): "--text must be passed 2 times, for premise, hypothesis; got 1",
        ("choice", "--text", "a", "--text", "b"): "--text must be passed 3 times, for context, choice1, choice2; got 2",
        ("classify", "--text", "a", "--format", "xml"): "--format must be one of table, jsonl, csv",
    }.items():
        status, _, error = run("predict", *arguments, *model)
        assert status == 2
        assert message in error
