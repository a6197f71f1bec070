"""What a call returns: a dict with attributes, rows and words."""

import pickle

import pytest
from tokenizer_kinds import load

from gptcore.errors import InputError
from tokenization import BatchEncoding


def test_an_encoding_is_a_dict_with_attributes():
    encoding = BatchEncoding(input_ids=[1])
    assert encoding.input_ids == encoding["input_ids"] == [1]
    assert encoding.data == {"input_ids": [1]}
    with pytest.raises(AttributeError, match="has no key 'labels'; it has input_ids"):
        _ = encoding.labels

    class Tensor:
        def to(self, device, non_blocking):
            return device, non_blocking

    for non_blocking in (False, True):
        moved = BatchEncoding(input_ids=Tensor(), length=3).to("gpu", non_blocking=non_blocking)
        assert moved == {"input_ids": ("gpu", non_blocking), "length": 3}


def test_an_encoding_knows_the_word_of_each_token(kind):
    tokenizer = load(kind, pad_token="<unk>")
    settings = {"is_split_into_words": True, "padding": True}
    encoded = tokenizer([["the", "dogcatzz", "a"], ["", "b"]], return_tensors="np", **settings)
    words = encoded.word_ids()
    assert (words[0], words[-1], set(words)) == (0, 2, {0, 1, 2})
    assert encoded.word_ids(1) == [1, *[None] * (len(words) - 1)]
    assert "word_ids" not in encoded
    assert pickle.loads(pickle.dumps(encoded)).word_ids() == words
    pair = tokenizer(["a", "b"], ["c", "d", "e"], truncation=True, max_length=4, **settings)
    assert pair.word_ids() == [0, 1, 0, 1]
    overflow = tokenizer(["a", "b", "c"], truncation=True, max_length=2, return_overflowing_tokens=True, **settings)
    assert [overflow.word_ids(i) for i in range(2)] == [[0, 1], [2, None]]
    with pytest.raises(InputError, match="needs a tokenizer call with is_split_into_words=True"):
        tokenizer("a b").word_ids()


def test_an_index_selects_a_row_of_an_encoding(kind):
    tokenizer = load(kind)
    for tensors in (None, "np"):
        encoded = tokenizer(["the dog", "a cat"], return_tensors=tensors)
        assert list(encoded[1].input_ids) == tokenizer("a cat").input_ids
        assert list(encoded[-1].attention_mask) == [1, 1]
    with pytest.raises(KeyError, match="a single text, not a batch"):
        tokenizer("the dog")[0]
    with pytest.raises(KeyError, match="labels"):
        encoded["labels"]
