"""Byte-pair encoding: the heap against the definition, and against the ``tokenizers`` library."""

from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import models

from tokenization import bpe
from tokenization.bpe import BytePairEncoding, cut
from tokenization.vocabulary import END_OF_WORD


def by_definition(ranks, word):
    """Join all occurrences of the best pair, again and again."""
    pieces = [*word[:-1], word[-1] + END_OF_WORD]
    while True:
        pairs = {pair for pair in pairwise(pieces) if pair in ranks}
        if not pairs:
            return pieces
        best = min(pairs, key=ranks.__getitem__)
        joined, i = [], 0
        while i < len(pieces):
            step = 2 if tuple(pieces[i : i + 2]) == best else 1
            joined.append("".join(pieces[i : i + step]))
            i += step
        pieces = joined


@st.composite
def merge_lists(draw, unique_results):
    """Merges in an order in which they could have been learnt."""
    pieces = ["a", "b", "c", "a</w>", "b</w>", "c</w>"]
    merges = []
    for _ in range(draw(st.integers(0, 12))):
        first = draw(st.sampled_from([piece for piece in pieces if not piece.endswith(END_OF_WORD)]))
        second = draw(st.sampled_from(pieces))
        if (first, second) in merges or (unique_results and first + second in pieces):
            continue
        merges.append((first, second))
        if first + second not in pieces:
            pieces.append(first + second)
    return pieces, merges


WORDS = st.text("abc", min_size=1, max_size=20)


@settings(deadline=None)
@given(merge_lists(unique_results=True), WORDS)
def test_equals_the_definition(learnt, word):
    ranks = {merge: rank for rank, merge in enumerate(learnt[1])}
    assert BytePairEncoding(ranks)(word) == by_definition(ranks, word)


@settings(deadline=None)
@given(merge_lists(unique_results=False), WORDS)
def test_equals_the_library(learnt, word):
    pieces, merges = learnt
    library = models.BPE(
        vocab={piece: i for i, piece in enumerate(pieces)}, merges=merges, end_of_word_suffix=END_OF_WORD
    )
    ranks = {merge: rank for rank, merge in enumerate(merges)}
    assert BytePairEncoding(ranks)(word) == [token.value for token in library.tokenize(word)]


def test_a_long_word_is_cut(monkeypatch):
    monkeypatch.setattr(bpe, "MAX_WORD_LENGTH", 3)
    assert cut("") == []
    assert cut("abc") == ["abc"]
    assert cut("abcdefg") == ["abc", "def", "g"]
    assert BytePairEncoding({})("abcd") == ["a", "b", "c</w>", "d</w>"]


class CountingRanks(dict):
    """Counts how often a rank is asked for."""

    asked = 0

    def get(self, pair, default=None):
        self.asked += 1
        return super().get(pair, default)


def test_the_work_is_linear_in_the_word():
    ranks = {("a", "a"): 0, ("aa", "aa"): 1, ("aaaa", "aaaa"): 2, ("aaaaaaaa", "aaaaaaaa"): 3}
    work = []
    for length in (1000, 2000, 4000):
        counting = CountingRanks(ranks)
        BytePairEncoding(counting)("a" * length)
        work.append(counting.asked)
    assert work[2] < 4 * 4000
    assert work[2] <= 2.1 * work[1] <= 4.41 * work[0]
