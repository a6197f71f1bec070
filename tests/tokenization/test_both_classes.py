"""Both classes give the same ids and offsets, and what they give does not depend on how they got there."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from text_data import ODD, TRICKY, edge_cases, paragraphs
from tokenizer_kinds import KINDS, MODES, load

from tokenization import OpenAIGPTTokenizer, OpenAIGPTTokenizerFast

TEXTS = st.one_of(
    st.text(max_size=40),
    st.text(st.sampled_from(ODD), max_size=20),
    st.lists(st.sampled_from([*TRICKY, "<unk>", "<pad>", "_Start_", "xyzzy"]), max_size=20).map("".join),
)


@pytest.mark.parametrize("mode", MODES)
@settings(deadline=None, max_examples=300)
@given(text=TEXTS)
def test_both_classes_agree(loaded, mode, text):
    plain, fast = (loaded[kind, mode] for kind in KINDS)
    ids = plain(text).input_ids
    assert fast(text).input_ids == ids
    offsets = plain(text, return_offsets_mapping=True)
    assert fast(text, return_offsets_mapping=True) == offsets
    assert offsets.input_ids == ids
    assert all(0 <= start <= end <= len(text) for start, end in offsets.offset_mapping)
    assert plain.convert_tokens_to_ids(plain.tokenize(text)) == ids
    assert fast.convert_tokens_to_ids(fast.tokenize(text)) == ids
    assert plain.decode(ids).split() == fast.decode(ids).replace("xyzzy", " xyzzy ").replace(
        "_Start_", " _Start_ "
    ).split() or ("<pad>" in text or "xyzzy" in text or "_start_" in text.lower())


def test_offsets_are_the_tokens(loaded):
    """The text of a token's offsets, normalised, is the token; of characters that fall apart, it holds the token."""
    for kind in KINDS:
        tokenizer = loaded[kind, "basic"]
        for text in edge_cases():
            encoded = tokenizer(text, return_offsets_mapping=True)
            for piece, (start, end) in zip(
                loaded[OpenAIGPTTokenizer, "basic"].tokenize(text), encoded.offset_mapping, strict=True
            ):
                surface = piece.removesuffix("</w>")
                normalised = "".join(
                    token.removesuffix("</w>")
                    for token in loaded[OpenAIGPTTokenizer, "basic"].tokenize(text[start:end])
                )
                assert surface == normalised or (end - start == 1 and surface in normalised), ascii(text)


def test_offsets_in_original_mode(loaded):
    tokenizer = loaded[OpenAIGPTTokenizerFast, "original"]
    text = "Don\u2019t stop\u2026 caf\u00e3\u00a9 &amp; \ufb01ne\r\n\nEND"
    encoded = tokenizer(text, return_offsets_mapping=True)
    shown = [
        (token, text[start:end])
        for token, (start, end) in zip(tokenizer.tokenize(text), encoded.offset_mapping, strict=True)
    ]
    assert shown == [
        ("do</w>", "Do"),
        ("n't</w>", "n\u2019t"),
        ("stop</w>", "stop"),
        ("...</w>", "\u2026"),
        ("caf", "caf"),
        ("\u00e3</w>", "\u00e3"),
        ("\u00a9</w>", "\u00a9"),
        ("&</w>", "&amp;"),
        ("fine</w>", "\ufb01ne"),
        ("\n</w>", "\n\n"),
        ("end</w>", "END"),
    ]


def test_offsets_follow_the_order_of_the_text(loaded):
    for mode in MODES:
        tokenizer = loaded[OpenAIGPTTokenizerFast, mode]
        for text in paragraphs("heldout", 200):
            offsets = tokenizer(text, return_offsets_mapping=True).offset_mapping
            assert offsets == sorted(offsets)
            for token, (start, end) in zip(tokenizer.tokenize(text), offsets, strict=True):
                surface = token.removesuffix("</w>")
                assert text[start:end].lower() == surface or not text[start:end].isascii()


def test_the_caches_are_bounded(monkeypatch):
    monkeypatch.setattr("tokenization.chunks.CACHED_CHUNKS", 50)
    monkeypatch.setattr("tokenization.bpe.CACHED_WORDS", 30)
    tokenizer = load(OpenAIGPTTokenizerFast)
    plain = load(OpenAIGPTTokenizer)
    text = " ".join(f"word{i}-{i % 7}" for i in range(500))
    assert tokenizer(text).input_ids == plain(text).input_ids
    chunks, words = tokenizer._tokenizer.chunks.cache, tokenizer._tokenizer.bpe.cache
    assert len(chunks) <= 50
    assert len(words) <= 30
    tokenizer("x" * 1000)
    assert max(map(len, chunks)) < 100


def test_long_texts_in_blocks_have_the_same_ids(monkeypatch, loaded):
    lines = paragraphs("heldout", 60)
    text = "\n\n".join(lines) + "\n" + " ".join("' ''a ''b" for _ in range(50))
    expected = {key: tokenizer(text).input_ids for key, tokenizer in loaded.items()}
    monkeypatch.setattr("tokenization.text_paths.pretokenizer.cut_at_white_space.__defaults__", (500,))
    for (kind, mode), tokenizer in loaded.items():
        assert (
            tokenizer("\n\n".join(lines)).input_ids
            == expected[kind, mode][: len(tokenizer("\n\n".join(lines)).input_ids)]
        )
