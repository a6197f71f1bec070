"""Training: the layout of the vocabulary, determinism, held-out books, and bad corpora."""

import json
import lzma
from collections import Counter
from itertools import pairwise

import pytest
from text_data import DATA, books

from gptcore.errors import DataError
from gptcore.storage import tables
from tokenization import OpenAIGPTTokenizer, OpenAIGPTTokenizerFast, TokenizerError, train, training
from tokenization.bpe import BytePairEncoding

MODES = ("basic", "original")


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    """A book and a half, plain and compressed."""
    folder = tmp_path_factory.mktemp("corpus")
    first, second, *_ = books("train")
    (folder / "a.txt").write_text(first, encoding="utf-8")
    with lzma.open(folder / "b.xz", "wt", encoding="utf-8") as file:
        file.write(second[: len(second) // 2])
    return folder


@pytest.mark.parametrize("mode", MODES)
def test_layout_files_and_both_classes(mode, corpus, tmp_path):
    trained = train(corpus, 3000, tmp_path, pre_tokenizer=mode, show_progress=False)
    vocab = json.loads((tmp_path / "vocab.json").read_text())
    assert {"vocab.json", "merges.txt", "tokenizer.json"} <= {path.name for path in tmp_path.iterdir()}
    assert len(trained) == trained.vocab_size == len(vocab) == 3000
    pieces = sorted(vocab, key=vocab.get)
    assert pieces[0] == "<unk>"
    count = next(i for i, piece in enumerate(pieces) if piece.endswith("</w>")) - 1
    assert pieces[count + 1 : 2 * count + 1] == [f"{character}</w>" for character in pieces[1 : count + 1]]
    assert all(len(piece.removesuffix("</w>")) > 1 for piece in pieces[2 * count + 1 : -1])
    assert (pieces[-1] == "\n</w>") == (mode == "original")
    plain, fast = (kind.from_pretrained(tmp_path) for kind in (OpenAIGPTTokenizer, OpenAIGPTTokenizerFast))
    assert plain.pre_tokenizer == fast.pre_tokenizer == mode
    for text in books("heldout"):
        sample = text[:40_000]
        ids = fast(sample).input_ids
        assert 0 not in ids
        assert plain(sample).input_ids == ids == trained(sample).input_ids


def test_the_same_files_give_the_same_vocabulary(corpus, tmp_path):
    for name in ("one", "two"):
        train(corpus, 2000, tmp_path / name, pre_tokenizer="basic", show_progress=False)
    for file in ("vocab.json", "merges.txt", "tokenizer.json"):
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "two" / file).read_bytes()


def test_reading_in_parts_changes_nothing(corpus, monkeypatch):
    whole = train(corpus, 1500, pre_tokenizer="basic", show_progress=False).get_vocab()
    monkeypatch.setattr(tables, "READ_LENGTH", 5000)
    monkeypatch.setattr(training, "COUNTED_CHUNKS", 300)
    monkeypatch.setattr(training, "REPEATED", 7)
    assert train(corpus, 1500, pre_tokenizer="basic", show_progress=False).get_vocab() == whole


def test_merges_are_those_of_the_definition(tmp_path):
    """Count pairs, join the most frequent, again and again."""
    file = tmp_path / "corpus.txt"
    file.write_text("low low low low low lower lower newest newest newest newest newest newest widest widest widest\n")
    trained = train(file, 10_000, pre_tokenizer="basic", characters="lowernstid", show_progress=False)
    counts = Counter(file.read_text().split())
    words = {word: [*word[:-1], word[-1] + "</w>"] for word in counts}
    merges = []
    while True:
        pairs = Counter()
        for word, pieces in words.items():
            for pair in pairwise(pieces):
                pairs[pair] += counts[word]
        best = max(pairs.values(), default=0)
        if best < 2:
            break
        merges.append((trained._tokens.vocabulary.merges[len(merges)], pairs, best))
        ranks = {merge: rank for rank, (merge, _, _) in enumerate(merges)}
        words = {word: BytePairEncoding(ranks)(word) for word in words}
    assert len(merges) == len(trained._tokens.vocabulary.merges)
    assert all(pairs[merge] == best for merge, pairs, best in merges)


def test_progress_and_rare_pairs(corpus):
    told = []
    tokenizer = train(
        corpus,
        50_000,
        pre_tokenizer="basic",
        min_frequency=200,
        show_progress=False,
        progress=lambda *state: told.append(state),
    )
    assert len(tokenizer) < 5000
    assert told[-1][0] == told[-1][1] == sum(path.stat().st_size for path in corpus.iterdir())


def test_named_characters(corpus):
    tokenizer = train(corpus, 600, pre_tokenizer="basic", characters="abcdefghijklmnopqrst", show_progress=False)
    assert len(tokenizer.get_vocab()) == 600
    assert tokenizer("that") != tokenizer("thaz")
    assert 0 in tokenizer("z").input_ids


BAD = {
    "no files": (lambda folder: train([], 100), "no files of the kinds .txt in an empty list"),
    "no such file": (lambda folder: train(folder / "x.txt", 100), "no file or folder named .*x.txt"),
    "empty folder": (lambda folder: train(folder, 100), "no files of the kinds .txt in"),
    "too small": (
        lambda folder: train(written(folder, b"abc"), 10, pre_tokenizer="basic"),
        "vocab_size must be at least .*: the alphabet has .* characters, each with two pieces; got 10",
    ),
    "no size": (lambda folder: train(written(folder, b"abc"), 0), "must be an integer, 1 to 10,000,000; got 0"),
    "not UTF-8": (lambda folder: train(written(folder, b"a\nb\xff"), 999, pre_tokenizer="basic"), "c.txt, .*not UTF-8"),
    "not xz": (lambda folder: train(written(folder, b"abc", "c.xz"), 999, pre_tokenizer="basic"), "cannot read .*c.xz"),
}


def written(folder, content, name="c.txt"):
    (folder / name).write_bytes(content)
    return folder / name


@pytest.mark.parametrize("case", BAD)
def test_bad_corpora(case, tmp_path):
    call, message = BAD[case]
    with pytest.raises((DataError, TokenizerError), match=message):
        call(tmp_path)


def test_a_folder_of_books(tmp_path):
    """Held-out books have no unknown token, whatever the size of the corpus."""
    train(DATA / "books" / "train", 4096, tmp_path, pre_tokenizer="basic", show_progress=False)
    plain, fast = (kind.from_pretrained(tmp_path) for kind in (OpenAIGPTTokenizer, OpenAIGPTTokenizerFast))
    assert len(fast) == 4096
    for text in books("heldout"):
        ids = fast(text).input_ids
        assert 0 not in ids
        assert plain(text).input_ids == ids
