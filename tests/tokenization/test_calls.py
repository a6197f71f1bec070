"""Calling a tokenizer: texts, pairs, words and batches; padding, truncation, arrays and overflow."""

from collections import deque
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizer_kinds import load

from gptcore.errors import InputError
from tokenization import TokenizerError
from tokenization.truncation import truncate_pair


def test_calls(kind):
    tokenizer = load(kind, pad_token="<unk>")
    assert tokenizer("the dog") == {"input_ids": [481, 2585], "attention_mask": [1, 1]}
    assert tokenizer("") == {"input_ids": [], "attention_mask": []}
    assert tokenizer([]) == {"input_ids": [], "attention_mask": []}
    assert tokenizer(["the", ""], padding=True).attention_mask == [[1], [0]]
    assert tokenizer(["the", "the dog"], padding=True, padding_side="left").input_ids == [[0, 481], [481, 2585]]
    pair = tokenizer(
        "the dog", "a cat", return_token_type_ids=True, return_special_tokens_mask=True, return_length=True
    )
    assert pair.token_type_ids == [0, 0, 1, 1]
    assert pair.special_tokens_mask == [0] * 4
    assert pair.length == 4
    assert tokenizer("the dog", "a cat", truncation=True, max_length=3).input_ids == tokenizer("the dog", "a").input_ids
    words = tokenizer([["the", "dog"], ["a"]], is_split_into_words=True, return_offsets_mapping=True)
    assert words.input_ids == [[481, 2585], [246]]
    assert words.offset_mapping == [[(0, 3), (0, 3)], [(0, 1)]]
    padded = tokenizer(["the", "the dog"], padding=True, return_offsets_mapping=True)
    assert padded.offset_mapping == [[(0, 3), (0, 0)], [(0, 3), (4, 7)]]
    assert tokenizer.encode(["the</w>", "dog</w>"]) == tokenizer.encode([481, 2585]) == [481, 2585]
    assert tokenizer(["the"], padding="max_length", max_length=3, pad_to_multiple_of=4).input_ids == [[481, 0, 0, 0]]
    assert tokenizer.batch_decode([[481], [2585, 481]]) == ["the", "dog the"]
    assert tokenizer.decode(481) == tokenizer.decode(np.array([481])) == "the"


def test_arrays(kind):
    tokenizer = load(kind, pad_token="<unk>")
    single = tokenizer("the dog", return_tensors="np")
    assert single.input_ids.tolist() == [[481, 2585]]
    assert single.input_ids.dtype == np.int64
    batch = tokenizer(["the", "the dog"], padding=True, return_tensors="np", return_offsets_mapping=True)
    assert batch.attention_mask.tolist() == [[1, 0], [1, 1]]
    assert batch.offset_mapping.shape == (2, 2, 2)
    assert tokenizer.pad({"input_ids": np.array([[1, 2]])}, return_tensors="np").input_ids.tolist() == [[1, 2]]
    assert tokenizer.pad([{"input_ids": [1]}, {"input_ids": [1, 2]}]).input_ids == [[1, 0], [1, 2]]
    assert tokenizer.pad({"input_ids": [1]}, padding="max_length", max_length=2).attention_mask == [1, 0]
    with pytest.raises(InputError, match=r"its rows have different lengths. Pass padding=True"):
        tokenizer(["the", "the dog"], return_tensors="np")
    with pytest.raises(TokenizerError, match="return_tensors must be one of 'np', 'pt', 'tf', 'jax'; got 'mx'"):
        tokenizer("the", return_tensors="mx")


def test_truncation_cuts_the_chosen_side(kind):
    for side, kept in (("right", [481]), ("left", [2585])):
        tokenizer = load(kind, truncation_side=side)
        encoded = tokenizer("the dog", truncation=True, max_length=1, return_offsets_mapping=True)
        assert encoded.input_ids == kept
        assert len(encoded.offset_mapping) == 1


def test_the_length_of_the_model_is_the_default_limit(kind, caplog):
    tokenizer = load(kind, model_max_length=3, pad_token="<unk>")
    assert len(tokenizer("a b c d", truncation=True).input_ids) == 3
    assert len(tokenizer("a", padding="max_length").input_ids) == 3
    for _ in range(2):
        assert len(tokenizer("a b c d").input_ids) == 4
    assert [record.getMessage() for record in caplog.records] == [
        "A text has 4 tokens, but the model accepts at most 3. Pass truncation=True."
    ]


@given(st.integers(0, 30), st.none() | st.integers(0, 30), st.integers(1, 30))
def test_truncating_the_longest_first(first, second, limit):
    kept, kept_second = truncate_pair(first, second, limit, "longest_first")
    assert kept + (kept_second or 0) == min(limit, first + (second or 0))
    assert 0 <= kept <= first
    assert (kept_second is None) == (second is None)
    if second is not None:
        assert 0 <= kept_second <= second
        if kept < first and kept_second < second:
            assert abs(kept - kept_second) <= 1


class Column(Sequence):
    """A sequence that is no list, as a column of a table in ``datasets``."""

    def __init__(self, texts):
        self.texts = texts

    def __len__(self):
        return len(self.texts)

    def __getitem__(self, index):
        return self.texts[index]


BATCHES = {
    "tuple": tuple,
    "objects": lambda texts: np.array(texts, dtype=object),
    "strings": np.array,
    "deque": deque,
    "sequence": Column,
    "iterator": iter,
}


@pytest.mark.parametrize("name", BATCHES)
def test_every_kind_of_sequence_is_a_batch(name, kind):
    make, tokenizer = BATCHES[name], load(kind, pad_token="<unk>")
    texts, pairs = ["the dog", "a"], ["x", "y z"]
    assert tokenizer(make(texts)) == tokenizer(texts)
    assert tokenizer(make(texts), make(pairs), padding=True) == tokenizer(texts, pairs, padding=True)
    assert tokenizer(texts, make(pairs)) == tokenizer(texts, pairs)
    words = {"is_split_into_words": True, "return_token_type_ids": True}
    assert tokenizer(make(texts), **words) == tokenizer(texts, **words)
    assert tokenizer([make(texts), make(pairs)], **words) == tokenizer([texts, pairs], **words)
    assert tokenizer.batch_decode(make([481, 2585])) == ["the", "dog"]
    assert tokenizer.decode(make([481, 2585])) == "the dog"


def test_numbers_and_texts_of_numpy(kind):
    tokenizer = load(kind)
    assert tokenizer(np.str_("the")) == tokenizer(np.array("the")) == tokenizer("the")
    assert tokenizer.encode([np.int64(481)]) == tokenizer.encode(np.array([481], np.int32)) == [481]


def test_overflowing_tokens_get_rows_of_their_own(kind):
    tokenizer = load(kind, pad_token="<unk>")
    a, b, c, d, e = tokenizer("a b c d e").input_ids
    settings = {"truncation": True, "max_length": 3, "return_overflowing_tokens": True}
    encoded = tokenizer(["a b c d e", "a"], stride=1, padding=True, **settings)
    assert encoded.input_ids == [[a, b, c], [c, d, e], [a, 0, 0]]
    assert encoded.overflow_to_sample_mapping == [0, 0, 1]
    one = tokenizer("a b c d e", return_offsets_mapping=True, **settings)
    assert one.input_ids == [[a, b, c], [d, e]]
    assert one.offset_mapping[1] == [(6, 7), (8, 9)]
    pair = tokenizer("a", "b c d", **{**settings, "truncation": "only_second"})
    assert pair.input_ids == [[a, b, c], [a, d]]
    tokenizer.truncation_side = "left"
    assert tokenizer("a b c d", **settings).input_ids == [[b, c, d], [a]]
    arrays = tokenizer(["a b c d e"], stride=1, return_tensors="np", **settings)
    assert arrays.input_ids.tolist() == [[c, d, e], [a, b, c]]
    assert arrays.overflow_to_sample_mapping.tolist() == [0, 0]
    del settings["return_overflowing_tokens"]
    assert tokenizer("a b c d e", stride=5, **settings).input_ids == [c, d, e]
    assert tokenizer.encode("a b c d e", truncation=True, max_length=3, stride=1) == [c, d, e]
