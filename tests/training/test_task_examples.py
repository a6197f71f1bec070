"""Rows of a task as examples for the model, and their labels."""

import math

import numpy as np
import pytest
from text_data import put

from gptcore.errors import ConfigError, DataError, warn_once
from gptcore.spec.config import OpenAIGPTConfig
from gptcore.storage import tables
from gptcore.training.examples import TaskExamples, label_settings, places

CONFIG = OpenAIGPTConfig(vocab_size=800, n_positions=20, n_embd=6, n_head=2, n_layer=1)


def test_examples_by_length(tokenizer):
    """What a batch pads is what ``lengths`` sees: the longest sequence of an example."""
    rows = [{"context": "the", "choice1": "cat", "choice2": "dog " * (i % 5), "label": i % 2} for i in range(20)]
    found = examples("choice", rows, tokenizer)
    padded = [found.collate([example])["extract_positions"].max() + 1 for example in found]
    assert found.lengths == padded
    assert len(set(found.lengths)) == 4  # the first choice is one token


def tokens(tokenizer, sequence):
    return " ".join(tokenizer.convert_ids_to_tokens(sequence)).replace("</w>", "")


def examples(task, rows, tokenizer, **changes):
    config = CONFIG.replace(**label_settings(task, [row["label"] for row in rows]), **changes)
    return TaskExamples(task, rows, tokenizer, config)


def test_formats_of_the_paper(tokenizer):
    """Radford et al. 2018, figure 1."""
    found = {
        "classify": [{"text": "the cat", "label": "b"}, {"text": "", "label": "a"}],
        "entail": [{"premise": "the cat", "hypothesis": "the dog", "label": i} for i in "xy"],
        "similarity": [{"sentence1": "the cat", "sentence2": "the dog", "label": "2.5"}],
        "choice": [{"context": "the", "choice1": "cat", "choice2": "dog", "label": "1"}],
    }
    shown = {
        task: [tokens(tokenizer, s) for s in examples(task, rows, tokenizer)[0]["sequences"]]
        for task, rows in found.items()
    }
    assert shown == {
        "classify": ["_start_ the cat _classify_"],
        "entail": ["_start_ the cat _delimiter_ the dog _classify_"],
        "similarity": [
            "_start_ the cat _delimiter_ the dog _classify_",
            "_start_ the dog _delimiter_ the cat _classify_",
        ],
        "choice": ["_start_ the _delimiter_ cat _classify_", "_start_ the _delimiter_ dog _classify_"],
    }
    targets = {task: examples(task, rows, tokenizer)[0]["target"] for task, rows in found.items()}
    assert targets == {"classify": 1, "entail": 0, "similarity": 2.5, "choice": 1}


def test_texts_are_cut_as_in_the_authors_code(tokenizer):
    long = "cat " * 50
    alone = examples("classify", [{"text": long, "label": i} for i in "ab"], tokenizer)
    pair = examples("entail", [{"premise": long, "hypothesis": "dog", "label": i} for i in "ab"], tokenizer)
    assert len(alone[0]["sequences"][0]) == 20  # n_positions - 2 tokens, and two around
    assert tokens(tokenizer, pair[0]["sequences"][0]).split().count("cat") == 20 // 2 - 2
    assert alone.truncated == 2
    batch = alone.collate([alone[0], alone[1]])
    assert batch["input_ids"].shape == (2, 20)  # never beyond n_positions


def test_a_batch_of_choices(tokenizer):
    rows = [{"context": "the", "choice1": "cat", "choice2": "dog saw the mat", "label": i} for i in (0, 1)]
    found = examples("choice", rows, tokenizer)
    batch = found.collate([found[0], found[1]])
    assert batch["input_ids"].shape == batch["labels"].shape == (2, 2, 20)
    assert batch["targets"].tolist() == [0, 1]
    for ids, labels, place in zip(
        *(batch[n].reshape(4, -1) for n in ("input_ids", "labels", "extract_positions")), strict=True
    ):
        assert tokens(tokenizer, [ids[place[0]]]) == "_classify_"
        assert (labels != -100).sum() == place[0] + 1


BAD_ROWS = {
    "row 2: text must be a string; got None": ("classify", [{"text": "a", "label": 0}, {"text": None, "label": 1}], {}),
    "row 1: label must be one of 'a', 'b'; got 'c'": (
        "classify",
        [{"text": "a", "label": "c"}],
        {"label2id": {"a": 0, "b": 1}},
    ),
    "row 1: label must be a finite number; got 'x'": (
        "similarity",
        [{"sentence1": "", "sentence2": "", "label": "x"}],
        {"regression": 1},
    ),
    "row 1: label must be the index of a choice, 0 to 1; got 2": (
        "choice",
        [{"context": "", "choice1": "", "choice2": "", "label": 2}],
        {},
    ),
    "the dataset must have at least one row": ("classify", [], {}),
    "row 1: missing column 'text'; got 'txt', 'label'": ("classify", [{"txt": "a", "label": 0}], {}),
    "row 1: hypothesis must be a string; got None": ("entail", [{"premise": "a", "hypothesis": None, "label": 0}], {}),
    "row 1: label is missing": ("choice", [{"context": "", "choice1": "", "choice2": "", "label": " "}], {}),
    r"row 1: label is missing \('nan'\)": (
        "similarity",
        [{"sentence1": "", "sentence2": "", "label": "nan"}],
        {"regression": 1},
    ),
}


@pytest.mark.parametrize("message", BAD_ROWS)
def test_a_bad_row_is_a_clear_error(message, tokenizer):
    task, rows, how = BAD_ROWS[message]
    config = CONFIG
    if "label2id" in how:
        config = CONFIG.replace(id2label={0: "a", 1: "b"}, label2id=how["label2id"])
    if "regression" in how:
        config = CONFIG.replace(num_labels=1, problem_type="regression")
    with pytest.raises(DataError, match=message):
        TaskExamples(task, rows, tokenizer, config)


ONE_CLASS = {
    "numbers": [1, "1", 1.0, "1.0", np.int64(1), np.float32(1), " 1"],
    "white space": ["pos", "pos ", "\tpos\n", "\u00a0pos"],
}


@pytest.mark.parametrize("case", ONE_CLASS)
def test_all_spellings_of_a_class_are_one_class(case, tokenizer):
    spellings = ONE_CLASS[case]
    settings = label_settings("classify", [*spellings, "x"])
    assert settings["num_labels"] == 2
    rows = [{"text": "", "label": label} for label in spellings]
    found = TaskExamples("classify", rows, tokenizer, CONFIG.replace(**settings))
    assert {example["target"] for example in found.examples} == {0}


ORDERS = {
    "from 0: their own ids": ([str(i) for i in range(12)], [str(i) for i in range(12)]),
    "numbers with gaps": ([10, 9, -1, 100], ["-1", "9", "10", "100"]),
    "names": (["b", "10", "9", "a"], ["10", "9", "a", "b"]),
    "not in their shortest form": (["010", "9"], ["010", "9"]),
}


@pytest.mark.parametrize("case", ORDERS)
def test_classes_are_numbered_in_order(case):
    labels, names = ORDERS[case]
    assert label_settings("classify", labels[::-1])["id2label"] == dict(enumerate(names))


def test_numbers_beside_names_warn(caplog):
    warn_once.cache_clear()
    label_settings("classify", ["0", "1", "2", "other"])
    assert not caplog.messages
    label_settings("classify", [0, 1, "neg", "pos"])
    assert caplog.messages == [
        "Some labels are numbers and others are names, such as '0' and 'neg'. Each is a class of its own."
    ]


@pytest.mark.parametrize("missing", [None, "", "  ", "-", "nan", "NaN", "None", "null", math.nan, np.float64("nan")])
@pytest.mark.parametrize("task", ["classify", "similarity"])
def test_a_missing_label_is_no_class(task, missing):
    with pytest.raises(DataError, match="row 3: label is missing"):
        label_settings(task, ["4.5", "3", missing, "1"])


def test_scores_do_not_become_classes():
    with pytest.raises(DataError, match="row 2: label must be a finite number; got 'high'"):
        label_settings("similarity", ["4.5", "high", "1"])
    assert label_settings("similarity", ["same", "other"])["num_labels"] == 2


def test_a_label_that_is_no_text_or_number_is_refused():
    with pytest.raises(DataError, match=r"row 2: label must be a string or a number; got \[1\]"):
        label_settings("classify", ["a", [1]])


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("r.jsonl", '{"text": "a", "label": 1}\n\n{"text": "b", "label": ""}\n', "r.jsonl, line 3: label is missing"),
        ("r.jsonl", '{"text": "a", "label": null}\n', r"r.jsonl, line 1: label is missing \(null\)"),
        ("r.jsonl", '{"text": null, "label": 1}\n', r"r.jsonl, line 1: text is missing \(null\)"),
        ("r.csv", 'text,label\n"a\nb",1\nc,-\n', r"r.csv, line 4: label is missing \('-'\)"),
    ],
)
def test_errors_name_the_line_of_a_file(name, content, message, tokenizer, tmp_path):
    path = put(tmp_path, content, name)

    def rows():
        return [row for _, row in tables.rows(path, ("text", "label"))]

    with pytest.raises(DataError, match=message):
        label_settings("classify", [row["label"] for row in rows()], places(rows()))
    with pytest.raises(DataError, match=message):
        TaskExamples("classify", rows(), tokenizer, CONFIG.replace(id2label={0: "1", 1: "2"}))


def test_labels_that_teach_nothing_are_refused():
    with pytest.raises(DataError, match="at least two different labels; all 3 have 'a'"):
        label_settings("classify", ["a"] * 3)


def test_a_context_without_room_for_text_is_refused(tokenizer):
    with pytest.raises(ConfigError, match=r"n_positions must leave room .*; got 5"):
        examples("entail", [{"premise": "a", "hypothesis": "b", "label": i} for i in "ab"], tokenizer, n_positions=5)
