"""Corpora and tables as people have them: every kind of file, and what is wrong with a file."""

import gzip
import json
import lzma

import numpy as np
import pytest
from text_data import VOCABULARY, books, put

from gptcore.errors import DataError
from gptcore.storage import tables
from gptcore.training import Batches, Blocks, TokenFile, tokenize_corpus
from tokenization import OpenAIGPTTokenizerFast


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
    monkeypatch.setattr(tables, "READ_LENGTH", 5000)
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
    "line 3: a row must have 2": lambda d, t: tokenize_corpus(put(d, "text,b\n1,2\n1,2,3", "a.csv"), t, d / "out"),
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
    "two columns are named 'a'": lambda d, t: [*tables.rows(put(d, "1,2\n", "a.csv"), "a", ["a", "a"])],
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
        *tables.rows(put(d, "a,b\na;b\n", "a.csv"), "a", ["a", "b"])
    ],
    "is not a table. Use .jsonl, .csv, .tsv, .json,": lambda d, t: [*tables.rows(put(d, ""), "a")],
    "row 2: must be a JSON object; got int": lambda d, t: [*tables.rows(put(d, '[{"a": 1}, 2]', "a.json"), "a")],
    "row 1: missing column 'b'; got 'a'": lambda d, t: [*tables.rows(put(d, '[{"a": 1}]', "a.json"), "b")],
    "a.json: not JSON: Expecting ',' delimiter: line 2": lambda d, t: [*tables.rows(put(d, "[1\n2]", "a.json"), "a")],
    "a.json, line 1: not JSON": lambda d, t: [*tables.rows(put(d, '{\n"a": 1}', "a.json"), "a")],
    "a.txt is UTF-16, not UTF-8. Save the file as UTF-8": lambda d, t: tokenize_corpus(
        put(d, "the cat", encoding="utf-16"), t, d / "out"
    ),
    "b.csv is UTF-16": lambda d, t: [*tables.rows(put(d, "a,b", "b.csv", encoding="utf-16-le"), "a")],
    "c.json is UTF-16": lambda d, t: [*tables.rows(put(d, "[{}]", "c.json", encoding="utf-16-be"), "a")],
    "after line 0: not UTF-8: .* Save the file as UTF-8": lambda d, t: tokenize_corpus(
        put(d, "caf\u00e9", encoding="latin-1"), t, d / "out"
    ),
}


@pytest.mark.parametrize("message", BAD)
def test_bad_data_are_a_clear_error(message, tokenizer, tmp_path):
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
def test_tables_of_every_kind_are_read(name, pack, mark, tmp_path):
    content = (mark + TABLES[name]).encode()
    (tmp_path / (name + pack)).write_bytes({"": bytes, ".gz": gzip.compress, ".xz": lzma.compress}[pack](content))
    ((_, row),) = tables.rows(tmp_path / (name + pack), ("text", "label"))
    assert row == {"text": CELL, "label": "1"}


def test_texts_of_every_kind_are_read(tokenizer, tmp_path):
    """A byte order mark is no text, and only a named ``.json`` is a table."""
    (tmp_path / "settings.json").write_text("{}")
    ids = tokenize_corpus(put(tmp_path, f"\ufeffthe cat {CELL}").parent, tokenizer, tmp_path / "out").ids
    assert np.array(ids).tolist() == tokenizer(f"the cat {CELL}").input_ids
    assert "".join(tables.parts(tmp_path / "a.txt")) == f"the cat {CELL}"
    listed = tokenize_corpus(put(tmp_path, '[{"text": "the cat"}]', "b.json"), tokenizer, tmp_path / "out").ids
    assert np.array(listed).tolist() == tokenizer("the cat").input_ids


def test_a_long_cell_is_read(tmp_path):
    long = "word " * 30_000  # csv's own limit is 131,072 characters
    ((_, row),) = tables.rows(put(tmp_path, f"text\n{long}\n", "a.csv"), ["text"])
    assert row["text"] == long


def test_a_lone_surrogate_is_tokenized(tokenizer, tmp_path):
    corpus = tokenize_corpus(put(tmp_path, '{"text": "the \\ud83d cat"}', "a.jsonl"), tokenizer, tmp_path / "out")
    assert np.array(corpus.ids).tolist() == tokenizer("the \ud83d cat").input_ids
    assert corpus.bytes_per_token * len(corpus) == len("the \ufffd cat".encode())


def test_a_damaged_corpus_is_refused(tokenizer, tmp_path):
    tokenize_corpus(put(tmp_path, "the cat sat"), tokenizer, tmp_path / "out")
    (ids,) = (tmp_path / "out").glob("tokens-*.bin")
    data = ids.read_bytes()
    ids.write_bytes(data[:-2])
    with pytest.raises(DataError, match="Run tokenize_corpus again"):
        TokenFile(tmp_path / "out")
