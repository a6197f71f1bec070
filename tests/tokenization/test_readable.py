"""Decoded text for people."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from text_data import VOCABULARY, paragraphs
from tokenizer_kinds import KINDS, MODES

from tokenization import OpenAIGPTTokenizerFast
from tokenization.readable import readable_text

SAME = [
    "i don't know, he's late; we'll see: they've gone.",
    "the u.s. is large, e.g. the west.",
    '"well," he said, "stop (now)!"',
    "he said, 'what?' and left.",
    "it costs $3.50 or 1,000 (50%).",
    "well-known and/or not",
    "wait... what?!",
    "[a] {b} (c)",
    "",
]
OTHERWISE = {
    "He said\u2026 \u201cno\u201d": 'he said... "no"',
    "five o'clock": "five o'clock",
    "cannot": "cannot",
}


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("kind", KINDS)
def test_spacing_is_undone(kind, mode):
    tokenizer = kind.from_pretrained(VOCABULARY, pre_tokenizer=mode)
    for text in SAME:
        assert tokenizer.decode(tokenizer.encode(text), readable=True) == text
    if mode == "original":
        for text, shown in OTHERWISE.items():
            assert tokenizer.decode(tokenizer.encode(text), readable=True) == shown
        assert tokenizer.decode(tokenizer.encode("one\n\n  two"), readable=True) == "one\ntwo"
    assert tokenizer.batch_decode([[481], [0]], readable=True) == ["the", "<unk>"]


@pytest.mark.parametrize("mode", MODES)
def test_most_paragraphs_of_a_book_come_back(mode):
    """All but dashes, whose spaces nobody knows, and single quotes that could be either."""
    tokenizer = OpenAIGPTTokenizerFast.from_pretrained(VOCABULARY, pre_tokenizer=mode)
    texts = [" ".join(text.lower().split()) for text in paragraphs("heldout", 1000)]
    texts = [text for text in texts if text.isascii() and " - " not in text]
    same = [tokenizer.decode(tokenizer.encode(text), readable=True) == text for text in texts]
    assert len(texts) > 500
    assert sum(same) / len(same) > 0.85


@given(st.text())
def test_only_spaces_change(text):
    assert readable_text(text).replace(" ", "").replace("\n", "") == "".join(
        character for character in text if not character.isspace()
    )
