"""What users of a tokenizer rely on, the same for both classes and, where it applies, for both text paths."""

import copy
import json
import math
import pickle
from collections import deque
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from text_data import ODD, TRICKY, VOCABULARY, edge_cases, paragraphs

import tokenization
from gptcore.errors import CheckpointError, GPTError, InputError
from tokenization import AddedToken, BatchEncoding, OpenAIGPTTokenizer, OpenAIGPTTokenizerFast, TokenizerError
from tokenization.encoding import truncate_pair

KINDS = (OpenAIGPTTokenizer, OpenAIGPTTokenizerFast)
MODES = ("basic", "original")
TEXTS = st.one_of(
    st.text(max_size=40),
    st.text(st.sampled_from(ODD), max_size=20),
    st.lists(st.sampled_from([*TRICKY, "<unk>", "<pad>", "_Start_", "xyzzy"]), max_size=20).map("".join),
)


@pytest.fixture(scope="module")
def loaded():
    """Both classes in both modes, with added tokens."""
    tokenizers = {(kind, mode): load(kind, mode) for kind in KINDS for mode in MODES}
    for tokenizer in tokenizers.values():
        tokenizer.add_special_tokens({"pad_token": "<pad>", "additional_special_tokens": ["_Start_"]})
        tokenizer.add_tokens(["xyzzy"])
    return tokenizers


@pytest.fixture(params=KINDS, ids=lambda kind: kind.__name__)
def kind(request):
    return request.param


def load(kind, mode="basic", **options):
    return kind.from_pretrained(VOCABULARY, pre_tokenizer=mode, **options)


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


def test_sizes_and_names(kind):
    tokenizer = load(kind)
    assert tokenizer.is_fast == (kind is OpenAIGPTTokenizerFast)
    assert tokenizer.vocab_size == len(tokenizer) == len(tokenizer.get_vocab()) == 40_478
    assert tokenizer.unk_token, tokenizer.unk_token_id == ("<unk>", 0)
    assert tokenizer.pad_token is tokenizer.pad_token_id is tokenizer.bos_token is None
    assert tokenizer.special_tokens_map == {"unk_token": "<unk>"}
    assert tokenizer.all_special_tokens == ["<unk>"]
    assert tokenizer.all_special_ids == [0]
    assert tokenizer.model_max_length == int(1e30)
    assert tokenizer.model_input_names == ["input_ids", "attention_mask"]
    assert tokenizer.num_special_tokens_to_add() == 0
    assert tokenizer.convert_tokens_to_ids(["the</w>", "no token"]) == [481, 0]
    assert tokenizer.convert_ids_to_tokens(481) == "the</w>"
    assert tokenizer.convert_ids_to_tokens([0, 481], skip_special_tokens=True) == ["the</w>"]
    assert repr(tokenizer).startswith(f"{kind.__name__}(vocab_size=40478, pre_tokenizer='basic'")
    assert tokenizer


def test_added_tokens(kind):
    tokenizer = load(kind)
    assert tokenizer.add_special_tokens({"pad_token": "<pad>", "additional_special_tokens": ["_delimiter_"]}) == 2
    assert tokenizer.add_tokens(["Quux", "the</w>", ""]) == 1
    assert tokenizer.add_tokens("<pad>") == 0
    assert len(tokenizer) == 40_481
    assert tokenizer.vocab_size == 40_478
    assert (tokenizer.pad_token, tokenizer.pad_token_id) == ("<pad>", 40_478)
    assert tokenizer.additional_special_tokens_ids == [40_479]
    assert tokenizer.get_added_vocab() == {
        "<unk>": 0,
        "the</w>": 481,
        "<pad>": 40478,
        "_delimiter_": 40479,
        "quux": 40480,
    }
    assert tokenizer("A _delimiter_ QUUX<pad>").input_ids == [246, 40_479, 40_480, 40_478]
    assert tokenizer.get_special_tokens_mask([40_478, 481], already_has_special_tokens=True) == [1, 0]
    assert tokenizer.get_special_tokens_mask([40_478, 481]) == [0, 0]
    assert tokenizer.decode([40_478, 246], skip_special_tokens=True) == "a"
    assert tokenizer.tokenize("<pad>", split_special_tokens=True) == ["<</w>", "pad</w>", "></w>"]


def test_naming_special_tokens(kind):
    tokenizer = load(kind, pad_token="<unk>", eos_token=AddedToken("\n</w>", special=True))
    assert tokenizer.pad_token_id == 0
    assert tokenizer.eos_token_id == 40_477
    tokenizer.pad_token_id = 481
    assert tokenizer.pad_token == "the</w>"
    tokenizer.pad_token = None
    assert tokenizer.pad_token_id is None
    tokenizer.additional_special_tokens = ["of</w>"]
    assert tokenizer.special_tokens_map["additional_special_tokens"] == ["of</w>"]
    with pytest.raises(TokenizerError, match="_token_id must be a token id, 0 to 40477; got 99999"):
        tokenizer.pad_token_id = 99_999
    with pytest.raises(TokenizerError, match="a special token must be a str or an AddedToken; got int: 5"):
        tokenizer.pad_token = 5
    with pytest.raises(TokenizerError, match=r"a special token must be one of bos_token.*; got 'end_token'"):
        tokenizer.add_special_tokens({"end_token": "x"})
    with pytest.raises(TokenizerError, match="a list of tokens; got 'x'"):
        tokenizer.add_special_tokens({"additional_special_tokens": "x"})
    with pytest.raises(TokenizerError, match="a token must be a str or an AddedToken; got int"):
        tokenizer.add_tokens([5])


def test_a_vocabulary_without_an_unknown_token(kind, tmp_path):
    (tmp_path / "vocab.json").write_text(json.dumps({"a": 0, "a</w>": 1}))
    (tmp_path / "merges.txt").write_text("#version: 0.2\n")
    tokenizer = kind.from_pretrained(tmp_path, pre_tokenizer="basic")
    assert len(tokenizer) == 3
    assert tokenizer("aa b").input_ids == [0, 1, 2]


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


def test_truncation_keeps_the_side_it_is_told_to(kind):
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
def test_batches_that_are_no_lists(name, kind):
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


def test_what_was_cut_off_comes_in_rows_of_its_own(kind):
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


BAD_CALLS = {
    "no text": (
        lambda tokenizer: tokenizer(5),
        InputError,
        "text must be a str, or a list of words, tokens or ids; got 5",
    ),
    "none in a batch": (lambda tokenizer: tokenizer(["a", None]), InputError, r"texts\[1\] must be a str.*; got None"),
    "none in a large batch": (
        lambda tokenizer: tokenizer([*["a"] * 1000, math.nan]),
        InputError,
        r"texts\[1000\] must be a str.*; got nan",
    ),
    "none in text_pair": (
        lambda tokenizer: tokenizer(["a", "b"], ["c", None]),
        InputError,
        r"text_pair\[1\] must be a str.*; got None",
    ),
    "none in a pair": (
        lambda tokenizer: tokenizer([("a", "b"), ("c", None)]),
        InputError,
        r"text_pair\[1\] must be a str.*; got None",
    ),
    "several in decode": (lambda tokenizer: tokenizer.decode([[1, 2]]), InputError, "ids of one text.*batch_decode"),
    "text in decode": (lambda tokenizer: tokenizer.decode("a"), InputError, "ids of one text; got 'a'"),
    "bytes": (lambda tokenizer: tokenizer(b"a"), InputError, "text must be a str.*; got b'a'"),
    "set": (lambda tokenizer: tokenizer({"a"}), InputError, "text must be a str.*; got {'a'}"),
    "table": (lambda tokenizer: tokenizer({"text": ["a"]}), InputError, "text must be a str.*; got {'text'"),
    "word": (
        lambda tokenizer: tokenizer(["a", 5], is_split_into_words=True),
        InputError,
        "a word must be a str.*; got 5",
    ),
    "no text to tokenize": (lambda tokenizer: tokenizer.tokenize(b"a"), InputError, "text must be a str; got b'a'"),
    "pair of another size": (
        lambda tokenizer: tokenizer(["a", "b"], ["c"]),
        InputError,
        "must have the same length; got 2 texts and 1 texts",
    ),
    "pair is a text": (lambda tokenizer: tokenizer(["a", "b"], "c"), InputError, "got 2 texts and one text"),
    "batch of triples": (
        lambda tokenizer: tokenizer([("a", "b", "c")]),
        InputError,
        r"texts\[0\] must be a text or a pair of texts; got 3 items",
    ),
    "no batch": (lambda tokenizer: tokenizer.batch_encode_plus("a"), InputError, "must be a list of texts; got str"),
    "offsets of ids": (
        lambda tokenizer: tokenizer.encode_plus([481], return_offsets_mapping=True),
        InputError,
        "cannot return offsets of tokens or ids",
    ),
    "padding without a token": (
        lambda tokenizer: tokenizer("a", padding=True),
        TokenizerError,
        r"(?s)no padding token.*tokenizer.pad_token = tokenizer.unk_token.*add_special_tokens.*resize_token_embeddings",
    ),
    "unknown padding": (
        lambda tokenizer: tokenizer("a", padding="short"),
        TokenizerError,
        "must be one of 'longest', .*; got 'short'",
    ),
    "unknown truncation": (
        lambda tokenizer: tokenizer("a", truncation="x"),
        TokenizerError,
        "must be one of 'longest_first', .*; got 'x'",
    ),
    "unknown side": (
        lambda tokenizer: tokenizer("a", padding_side="up"),
        TokenizerError,
        "must be one of 'right', 'left'; got 'up'",
    ),
    "length 0": (
        lambda tokenizer: tokenizer("a", max_length=0),
        TokenizerError,
        "max_length must be an integer of at least 1; got 0",
    ),
    "first part too short": (
        lambda tokenizer: tokenizer("a", "b c d", truncation="only_first", max_length=2),
        InputError,
        "truncation='only_first' must remove 2 tokens from the first text, which has 1",
    ),
    "second part too short": (
        lambda tokenizer: tokenizer("b c d", "a", truncation="only_second", max_length=2),
        InputError,
        "'only_second' must remove .* tokens from the second text, which has 1",
    ),
    "unknown setting": (
        lambda tokenizer: tokenizer("a", strid=1, max_len=2),
        TokenizerError,
        "unknown setting 'strid'; did you mean 'stride'.\nunknown setting 'max_len'; did you mean 'max_length'",
    ),
    "unknown setting of encode": (
        lambda tokenizer: tokenizer.encode("a", truncate=True),
        TokenizerError,
        "unknown setting 'truncate'; did you mean 'truncation'",
    ),
    "stride below 0": (lambda tokenizer: tokenizer("a", stride=-1), TokenizerError, "at least 0; got -1"),
    "stride as long as the rows": (
        lambda tokenizer: tokenizer("a b c", truncation=True, max_length=2, stride=2, return_overflowing_tokens=True),
        InputError,
        "stride must be less than 2, .*; got 2",
    ),
    "overflow of both": (
        lambda tokenizer: tokenizer("a", "b", truncation=True, max_length=9, return_overflowing_tokens=True),
        InputError,
        "needs truncation='only_first' or 'only_second'",
    ),
    "no ids to pad": (
        lambda tokenizer: tokenizer.pad({"x": [1]}),
        InputError,
        "encoded_inputs must have input_ids; got x",
    ),
}


@pytest.mark.parametrize("case", BAD_CALLS)
def test_bad_calls(case, kind):
    call, error, message = BAD_CALLS[case]
    with pytest.raises(error, match=message):
        call(load(kind))


def test_multiples_and_limits_that_contradict(kind):
    tokenizer = load(kind, pad_token="<unk>")
    with pytest.raises(TokenizerError, match=r"max_length must be a multiple of pad_to_multiple_of=4.*; got 5"):
        tokenizer("a", padding=True, truncation=True, max_length=5, pad_to_multiple_of=4)


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


def test_words_of_an_encoding(kind):
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


def test_a_row_of_an_encoding(kind):
    tokenizer = load(kind)
    for tensors in (None, "np"):
        encoded = tokenizer(["the dog", "a cat"], return_tensors=tensors)
        assert list(encoded[1].input_ids) == tokenizer("a cat").input_ids
        assert list(encoded[-1].attention_mask) == [1, 1]
    with pytest.raises(KeyError, match="a single text, not a batch"):
        tokenizer("the dog")[0]
    with pytest.raises(KeyError, match="labels"):
        encoded["labels"]


@pytest.mark.parametrize("mode", MODES)
def test_a_saved_tokenizer_comes_back(kind, mode, tmp_path, loaded):
    before = loaded[kind, mode]
    before.model_max_length = 512
    files = before.save_pretrained(tmp_path)
    names = {"vocab.json", "merges.txt", "added_tokens.json", "special_tokens_map.json", "tokenizer_config.json"}
    assert {path.name for path in tmp_path.iterdir()} == names | ({"tokenizer.json"} if before.is_fast else set())
    assert {path.rpartition("/")[2] for path in files} == {path.name for path in tmp_path.iterdir()}
    for other in KINDS:
        after = other.from_pretrained(tmp_path)
        assert after.pre_tokenizer == mode
        assert after.get_vocab() == before.get_vocab()
        assert after.special_tokens_map == before.special_tokens_map
        assert after.model_max_length == 512
        for text in ("Don\u2019t _Start_ <pad> XYZZY xyzzyx", "\n", "caf\u00e9\n\u4e2d"):
            assert after(text).input_ids == before(text).input_ids


def test_a_saved_tokenizer_records_its_rules(kind, tmp_path):
    load(kind, "original").save_pretrained(tmp_path)
    config = json.loads((tmp_path / "tokenizer_config.json").read_text())
    assert config["pre_tokenizer"] == "original"
    config["pre_tokenizer_rules"] = "feedfeedfeedfeed"
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(config))
    with pytest.raises(TokenizerError, match="needs feedfeedfeedfeed, so ids would differ"):
        kind.from_pretrained(tmp_path)
    assert kind.from_pretrained(tmp_path, pre_tokenizer="basic").pre_tokenizer == "basic"


def test_what_a_config_says_beside_is_kept(kind, tmp_path):
    load(kind).save_pretrained(tmp_path)
    file = tmp_path / "tokenizer_config.json"
    file.write_text(
        json.dumps({**json.loads(file.read_text()), "chat_template": "none", "auto_map": {"x": "os.system"}})
    )
    kind.from_pretrained(tmp_path).save_pretrained(tmp_path / "again")
    config = json.loads((tmp_path / "again" / "tokenizer_config.json").read_text())
    assert config["chat_template"] == "none"
    assert "auto_map" not in config


def test_the_older_files_of_transformers(kind, tmp_path):
    load(kind).save_vocabulary(tmp_path)
    (tmp_path / "special_tokens_map.json").write_text(json.dumps({"pad_token": {"content": "<pad>", "lstrip": True}}))
    (tmp_path / "added_tokens.json").write_text(json.dumps({"<pad>": 40_478, "xyzzy": 40_479}))
    tokenizer = kind.from_pretrained(tmp_path, pre_tokenizer="basic")
    assert tokenizer.pad_token_id == 40_478
    assert tokenizer("the<pad> xyzzy").input_ids == [481, 40_478, 40_479]


BAD_FILES = {
    "config": ("tokenizer_config.json", "[1]", "tokenizer_config.json, line 1: must be a JSON object; got list"),
    "config JSON": ("tokenizer_config.json", '{\n"a": }', "tokenizer_config.json, line 2: not JSON"),
    "token": ("tokenizer_config.json", '{"pad_token": 7}', "pad_token must be a token; got 7"),
    "added": ("tokenizer_config.json", '{"added_tokens_decoder": {"x": "y"}}', "added token: .* with the id 'x'"),
    "mode": ("tokenizer_config.json", '{"pre_tokenizer": "x"}', "pre_tokenizer must be one of .*; got 'x'"),
}


@pytest.mark.parametrize("case", BAD_FILES)
def test_bad_settings_files(case, kind, tmp_path):
    name, content, message = BAD_FILES[case]
    load(kind).save_vocabulary(tmp_path)
    (tmp_path / name).write_text(content)
    with pytest.raises(TokenizerError, match=message):
        kind.from_pretrained(tmp_path)


def test_places_that_are_not_there(kind, tmp_path):
    with pytest.raises(TokenizerError, match=r"must be an existing folder. Create it, or use save_pretrained"):
        load(kind).save_vocabulary(tmp_path / "none")
    with pytest.raises(CheckpointError, match=r"no folder named .* not a repository id"):
        kind.from_pretrained(tmp_path / "none")
    with pytest.raises(TokenizerError, match="pass vocab_file and merges_file, or tokenizer_file"):
        OpenAIGPTTokenizerFast()


def test_a_repository_on_the_hub(kind, monkeypatch):
    """Options that say where go to the hub, the others to the class; only the files of a tokenizer are asked for."""
    asked = {}

    def resolve(repo, choose, **options):
        names = ["vocab.json", "merges.txt", "tokenizer.json", "model.safetensors", "config.json"]
        asked.update(options, repo=repo, chosen=choose(names))
        return VOCABULARY

    monkeypatch.setattr("gptcore.storage.hub.resolve", resolve)
    tokenizer = kind.from_pretrained("owner/name", revision="main", pre_tokenizer="basic", pad_token="<unk>")
    assert tokenizer.name_or_path == asked["repo"] == "owner/name"
    assert asked["revision"] == "main"
    assert asked["chosen"] == ["vocab.json", "merges.txt", "tokenizer.json"]
    assert tokenizer.pad_token_id == 0


def test_copies_and_pickles(kind):
    for mode in MODES:
        tokenizer = load(kind, mode)
        tokenizer.add_tokens(["xyzzy"])
        for twin in (pickle.loads(pickle.dumps(tokenizer)), copy.deepcopy(tokenizer)):
            assert twin("Don't xyzzy\nhere").input_ids == tokenizer("Don't xyzzy\nhere").input_ids
            twin.add_tokens(["plugh"])
            assert len(twin) == len(tokenizer) + 1


CALLS = {
    "a text": lambda tokenizer: tokenizer("a b"),
    "a text that is too long": lambda tokenizer: tokenizer("a b c d"),
    "offsets": lambda tokenizer: tokenizer("a b", return_offsets_mapping=True),
    "decoding": lambda tokenizer: tokenizer.decode([481]),
    "a token": lambda tokenizer: tokenizer.convert_ids_to_tokens(481),
    "backend": lambda tokenizer: getattr(tokenizer, "backend_tokenizer", None),
}


def test_calls_do_not_change_a_pickle(kind):
    """``datasets`` finds what it computed before by it."""
    tokenizer = load(kind, model_max_length=3)
    before = pickle.dumps(tokenizer)
    for call in CALLS.values():
        call(tokenizer)
        assert pickle.dumps(tokenizer) == before
    assert pickle.dumps(pickle.loads(before)) == before


def test_memory_has_a_size(monkeypatch):
    monkeypatch.setattr("tokenization.fast.CACHED_CHUNKS", 50)
    monkeypatch.setattr("tokenization.fast.CACHED_WORDS", 30)
    tokenizer = load(OpenAIGPTTokenizerFast)
    plain = load(OpenAIGPTTokenizer)
    text = " ".join(f"word{i}-{i % 7}" for i in range(500))
    assert tokenizer(text).input_ids == plain(text).input_ids
    assert len(tokenizer._chunks) <= 50
    assert len(tokenizer._words) <= 30
    tokenizer("x" * 1000)
    assert max(map(len, tokenizer._chunks)) < 100


def test_long_texts_go_in_blocks(monkeypatch, loaded):
    lines = paragraphs("heldout", 60)
    text = "\n\n".join(lines) + "\n" + " ".join("' ''a ''b" for _ in range(50))
    expected = {key: tokenizer(text).input_ids for key, tokenizer in loaded.items()}
    monkeypatch.setattr("tokenization.pretokenizer.cut_at_white_space.__defaults__", (500,))
    for (kind, mode), tokenizer in loaded.items():
        assert (
            tokenizer("\n\n".join(lines)).input_ids
            == expected[kind, mode][: len(tokenizer("\n\n".join(lines)).input_ids)]
        )


def test_the_public_names():
    assert tokenization.__all__ == sorted(tokenization.__all__)
    for name in tokenization.__all__:
        assert getattr(tokenization, name).__doc__
    assert issubclass(TokenizerError, GPTError)
