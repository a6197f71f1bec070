"""Files, corpora, batches and task formats."""

import gzip
import json
import lzma
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from text_data import VOCABULARY, books

from gptcore.errors import ConfigError, DataError, warn_once
from gptcore.spec.config import OpenAIGPTConfig
from gptcore.spec.tasks import add_task_tokens
from gptcore.storage import files
from gptcore.training import Batches, Blocks, TokenFile, micro_batches, once, shares, tokenize_corpus
from gptcore.training.batches import permutation
from gptcore.training.examples import TaskExamples, label_settings, places
from tokenization import OpenAIGPTTokenizerFast, train

CONFIG = OpenAIGPTConfig(vocab_size=800, n_positions=20, n_embd=6, n_head=2, n_layer=1)


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    folder = tmp_path_factory.mktemp("vocabulary")
    (folder / "a.txt").write_text("the cat sat on the mat, and the dog saw the cat. " * 9)
    words = train(folder / "a.txt", 700, pre_tokenizer="basic", show_progress=False)
    add_task_tokens(words)
    return words


def test_a_corpus_of_many_kinds_of_files(tokenizer, tmp_path):
    (tmp_path / "1.txt").write_text("the cat\nsat\n")
    (tmp_path / "2.txt.gz").write_bytes(gzip.compress(b"on the mat"))
    (tmp_path / "3.txt.xz").write_bytes(lzma.compress(b"and the"))
    (tmp_path / "4.jsonl").write_text('{"text": "dog saw"}\n\n{"text": "the", "more": 1}\n')
    (tmp_path / "5.csv").write_text('text,n\n"cat, ""dog""\n saw",1\n')
    (tmp_path / "6.tsv").write_text('n\ttext\n1\tsat "on\n')
    ids = tokenize_corpus(tmp_path, tokenizer, tmp_path / "out").ids
    text = 'the cat sat on the mat and the dog saw the cat, "dog" saw sat "on'
    assert np.array(ids).tolist() == tokenizer(text).input_ids


def test_a_corpus_is_kept_until_something_changes(tokenizer, tmp_path):
    (tmp_path / "a.txt").write_text("the cat")
    told = []

    def read():
        tokenize_corpus(tmp_path / "a.txt", tokenizer, tmp_path / "out", progress=lambda *seen: told.append(seen))
        return len(told)

    assert [read(), read()] == [1, 1]
    (tmp_path / "a.txt").write_text("the cat sat")
    assert [read(), read()] == [2, 2]
    assert told == [(7, 7), (11, 11)]


def test_original_text_in_parts_has_the_ids_of_the_whole(tmp_path, monkeypatch):
    """Line breaks between the parts are tokens of the original text path."""
    words = OpenAIGPTTokenizerFast.from_pretrained(VOCABULARY, pre_tokenizer="original")
    text = books("heldout")[0][:30_000].rsplit("\n", 1)[0] + "\n"
    (tmp_path / "a.txt").write_text(text, encoding="utf-8")
    monkeypatch.setattr(files, "READ_LENGTH", 5000)
    ids = tokenize_corpus(tmp_path / "a.txt", words, tmp_path / "out").ids
    assert np.array(ids).tolist() == words(text, verbose=False).input_ids


BAD = {
    "no file or folder named": lambda d, t: tokenize_corpus(d / "x", t, d / "out"),
    "no files of the kinds .txt, .jsonl": lambda d, t: tokenize_corpus(d, t, d / "out"),
    "at least one token; got none in 1 files": lambda d, t: tokenize_corpus(put(d, " \n"), t, d / "out"),
    "line 2: not JSON": lambda d, t: tokenize_corpus(put(d, '{"text": "a"}\n{', "a.jsonl"), t, d / "out"),
    "line 1: must be a JSON object; got list": lambda d, t: tokenize_corpus(put(d, "[1]", "a.jsonl"), t, d / "out"),
    "line 1: missing column 'text'; got 'txt'": lambda d, t: tokenize_corpus(
        put(d, '{"txt": 1}', "a.jsonl"), t, d / "out"
    ),
    "must hold a text; got 1": lambda d, t: tokenize_corpus(put(d, '{"text": 1}', "a.jsonl"), t, d / "out"),
    "line 3: must have 2 cells": lambda d, t: tokenize_corpus(put(d, "text,b\n1,2\n1,2,3", "a.csv"), t, d / "out"),
    "cannot read .*a.txt.gz": lambda d, t: tokenize_corpus(put(d, "text", "a.txt.gz"), t, d / "out"),
    "cannot read a corpus from": lambda d, t: TokenFile(d),
    "a corpus must have at least 2 tokens, .*; got 1": lambda d, t: Blocks(np.array([1]), 8),
    "a block must have at least 2 tokens": lambda d, t: Blocks(np.arange(9), 1),
    "stride must be 1 to 8, the length of a block; got 9": lambda d, t: Blocks(np.arange(9), 8, stride=9),
    "must have at least one example": lambda d, t: Batches([], 2, seed=0),
    "one entry per example, 3 in all; got 2": lambda d, t: Batches([{}] * 3, 2, seed=0, lengths=[4, 5]),
    ".jsonl, line 1: two columns are named 'text'": lambda d, t: tokenize_corpus(
        put(d, '{"text": "a", "text": "b"}', "a.jsonl"), t, d / "out"
    ),
    ".csv, line 1: two columns are named 'text'": lambda d, t: tokenize_corpus(
        put(d, "text,,,text\na,b,c,d\n", "a.csv"), t, d / "out"
    ),
    "two columns are named 'a'": lambda d, t: [*files.rows(put(d, "1,2\n", "a.csv"), "a", ["a", "a"])],
    "line 1: the cells seem to be separated by ';'. Use": lambda d, t: tokenize_corpus(
        put(d, "text;label\na, b;1\n", "a.csv"), t, d / "out"
    ),
    r"line 1: the cells seem to be separated by '\\t'": lambda d, t: tokenize_corpus(
        put(d, "text\tlabel\na, b\t1\n", "a.csv"), t, d / "out"
    ),
    "line 1: the cells seem to be separated by ','": lambda d, t: tokenize_corpus(
        put(d, "text,label\n", "a.tsv"), t, d / "out"
    ),
    "line 2: the cells seem to be separated by ';'": lambda d, t: [
        *files.rows(put(d, "a,b\na;b\n", "a.csv"), "a", ["a", "b"])
    ],
    "is not a table. Use .jsonl, .csv, .tsv, .json,": lambda d, t: [*files.rows(put(d, ""), "a")],
    "row 2: must be a JSON object; got int": lambda d, t: [*files.rows(put(d, '[{"a": 1}, 2]', "a.json"), "a")],
    "row 1: missing column 'b'; got 'a'": lambda d, t: [*files.rows(put(d, '[{"a": 1}]', "a.json"), "b")],
    "a.json: not JSON: Expecting ',' delimiter: line 2": lambda d, t: [*files.rows(put(d, "[1\n2]", "a.json"), "a")],
    "a.json, line 1: not JSON": lambda d, t: [*files.rows(put(d, '{\n"a": 1}', "a.json"), "a")],
    "a.txt is UTF-16, not UTF-8. Save the file as UTF-8": lambda d, t: tokenize_corpus(
        put(d, "the cat", encoding="utf-16"), t, d / "out"
    ),
    "b.csv is UTF-16": lambda d, t: [*files.rows(put(d, "a,b", "b.csv", encoding="utf-16-le"), "a")],
    "c.json is UTF-16": lambda d, t: [*files.rows(put(d, "[{}]", "c.json", encoding="utf-16-be"), "a")],
    "after line 0: not UTF-8: .* Save the file as UTF-8": lambda d, t: tokenize_corpus(
        put(d, "caf\u00e9", encoding="latin-1"), t, d / "out"
    ),
}


def put(folder, content, name="a.txt", encoding="utf-8"):
    (folder / name).write_bytes(content.encode(encoding))
    return folder / name


@pytest.mark.parametrize("message", BAD)
def test_bad_data(message, tokenizer, tmp_path):
    with pytest.raises(DataError, match=message):
        BAD[message](tmp_path, tokenizer)
    assert not (tmp_path / "out" / "tokens.json").exists()


CELL = "a\u2028b\x85c\x0cd\x1ce"  # str.splitlines would cut it at each of them
TABLES = {
    "rows.csv": f"text,label\n{CELL},1\n",
    "rows.tsv": f"text\tlabel\n{CELL}\t1\n",
    "rows.jsonl": json.dumps({"text": CELL, "label": "1"}, ensure_ascii=False),
    "lines.json": json.dumps({"text": CELL, "label": "1"}, ensure_ascii=False),
    "list.json": " \n" + json.dumps([{"text": CELL, "label": "1"}], ensure_ascii=False),
    "blank.csv": f"\r\ntext,label\r\n\r\n{CELL},1\r\n",
}


@pytest.mark.parametrize("mark", ["", "\ufeff"], ids=["plain", "byte order mark"])
@pytest.mark.parametrize("name", TABLES)
@pytest.mark.parametrize("pack", ["", ".gz", ".xz"])
def test_tables_as_people_have_them(name, pack, mark, tmp_path):
    content = (mark + TABLES[name]).encode()
    (tmp_path / (name + pack)).write_bytes({"": bytes, ".gz": gzip.compress, ".xz": lzma.compress}[pack](content))
    ((_, row),) = files.rows(tmp_path / (name + pack), ("text", "label"))
    assert row == {"text": CELL, "label": "1"}


def test_texts_as_people_have_them(tokenizer, tmp_path):
    """A byte order mark is no text, and only a named ``.json`` is a table."""
    (tmp_path / "settings.json").write_text("{}")
    ids = tokenize_corpus(put(tmp_path, f"\ufeffthe cat {CELL}").parent, tokenizer, tmp_path / "out").ids
    assert np.array(ids).tolist() == tokenizer(f"the cat {CELL}").input_ids
    assert "".join(files.parts(tmp_path / "a.txt")) == f"the cat {CELL}"
    listed = tokenize_corpus(put(tmp_path, '[{"text": "the cat"}]', "b.json"), tokenizer, tmp_path / "out").ids
    assert np.array(listed).tolist() == tokenizer("the cat").input_ids


def test_a_long_cell(tmp_path):
    long = "word " * 30_000  # csv's own limit is 131,072 characters
    ((_, row),) = files.rows(put(tmp_path, f"text\n{long}\n", "a.csv"), ["text"])
    assert row["text"] == long


def test_a_lone_surrogate(tokenizer, tmp_path):
    corpus = tokenize_corpus(put(tmp_path, '{"text": "the \\ud83d cat"}', "a.jsonl"), tokenizer, tmp_path / "out")
    assert np.array(corpus.ids).tolist() == tokenizer("the \ud83d cat").input_ids
    assert corpus.bytes_per_token * len(corpus) == len("the \ufffd cat".encode())


def test_a_damaged_corpus(tokenizer, tmp_path):
    tokenize_corpus(put(tmp_path, "the cat sat"), tokenizer, tmp_path / "out")
    (ids,) = (tmp_path / "out").glob("tokens-*.bin")
    data = ids.read_bytes()
    ids.write_bytes(data[:-2])
    with pytest.raises(DataError, match="Run tokenize_corpus again"):
        TokenFile(tmp_path / "out")


@given(st.integers(1, 60), st.integers(1, 9), st.integers(0, 2**32 - 1), st.integers(0, 3), st.booleans())
def test_each_epoch_has_each_example_once(count, size, seed, epoch, by_length):
    lengths = [i % 7 for i in range(count)] if by_length else None
    batches = Batches([{"x": np.array(i)} for i in range(count)], size, seed=seed, lengths=lengths)
    steps = -(-count * (epoch + 1) // size)
    drawn = np.concatenate([batches[step]["x"] for step in range(steps)])
    assert sorted(drawn[count * epoch : count * (epoch + 1)]) == list(range(count))
    assert batches[steps - 1]["x"].tolist() == drawn[-size:].tolist()  # at any step, in any order


def test_orders_differ():
    orders = {tuple(permutation(seed, epoch, 30)) for seed in range(3) for epoch in range(3)}
    assert len(orders) == 9
    assert np.mean([permutation(0, epoch, 30)[0] for epoch in range(400)]) == pytest.approx(14.5, abs=2)


@given(st.integers(0, 2**32 - 1), st.integers(0, 3))
def test_batches_by_length(seed, epoch):
    """Sizes at which no epoch but the first begins with a batch; more than one window."""
    lengths = np.random.default_rng(seed).integers(1, 60, 411)
    batches = Batches([{"index": np.array(i)} for i in range(411)], 4, seed=seed, lengths=lengths)

    def of(epoch):
        return [batches[step]["index"] for step in range(-(-411 * epoch // 4), 411 * (epoch + 1) // 4)]

    whole = [lengths[indices] for indices in of(epoch)]
    spread = [np.ptp(batch) for batch in whole]
    assert np.mean(spread) < 3  # 35 at random
    assert sorted(spread)[-3] < 6
    means = np.array([batch.mean() for batch in whole])
    assert abs(np.corrcoef(means, np.arange(len(means)))[0, 1]) < 0.5  # long and short ones in turns
    groups, others = ({frozenset(indices.tolist()) for indices in of(e)} for e in (epoch, epoch + 1))
    assert len(groups & others) < 10  # of 102: the next epoch brings others together


def test_examples_by_length(tokenizer):
    """What a batch pads is what ``lengths`` sees: the longest sequence of an example."""
    rows = [{"context": "the", "choice1": "cat", "choice2": "dog " * (i % 5), "label": i % 2} for i in range(20)]
    found = examples("choice", rows, tokenizer)
    padded = [found.collate([example])["extract_positions"].max() + 1 for example in found]
    assert found.lengths == padded
    assert len(set(found.lengths)) == 4  # the first choice is one token


def test_blocks_lose_no_token():
    blocks = Blocks(np.arange(1, 24), 5)
    batches = once(blocks, 2)
    ids, labels = (np.concatenate([batch[name].ravel() for batch in batches]) for name in ("input_ids", "labels"))
    assert ids[labels != -100].tolist() == list(range(1, 24))
    assert len(Blocks(np.arange(11), 5)) == 2  # a last single token predicts nothing


@given(st.integers(2, 60), st.integers(2, 9), st.data())
def test_overlapping_blocks_ask_for_every_token_once(count, length, data):
    stride = data.draw(st.integers(1, length - 1))
    blocks = Blocks(np.arange(count), length, stride)
    asked = np.concatenate([blocks[i]["labels"][1:] for i in range(len(blocks))])
    assert asked[asked != -100].tolist() == list(range(1, count))
    for i in range(1, len(blocks)):
        first = np.flatnonzero(blocks[i]["labels"] != -100)[0]
        assert first == length - stride  # what it is read behind


def test_shares_add_up():
    whole = {"labels": np.where(np.tri(6, 9, 2) > 0, 1, -100), "targets": np.arange(6)}
    parts = [shares(part, whole) for part in micro_batches(whole, 2)]
    for name in ("lm_loss", "task_loss"):
        assert sum(part[name] for part in parts) == pytest.approx(1)
    assert parts[0]["lm_loss"] < parts[2]["lm_loss"]


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
def test_bad_rows(message, tokenizer):
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
def test_spellings_of_one_class(case, tokenizer):
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
def test_the_order_of_classes(case):
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


def test_a_label_that_is_no_text_or_number():
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
        return [row for _, row in files.rows(path, ("text", "label"))]

    with pytest.raises(DataError, match=message):
        label_settings("classify", [row["label"] for row in rows()], places(rows()))
    with pytest.raises(DataError, match=message):
        TaskExamples("classify", rows(), tokenizer, CONFIG.replace(id2label={0: "1", 1: "2"}))


def test_labels_that_teach_nothing():
    with pytest.raises(DataError, match="at least two different labels; all 3 have 'a'"):
        label_settings("classify", ["a"] * 3)


def test_a_context_without_room(tokenizer):
    with pytest.raises(ConfigError, match=r"n_positions must leave room .*; got 5"):
        examples("entail", [{"premise": "a", "hypothesis": "b", "label": i} for i in "ab"], tokenizer, n_positions=5)
