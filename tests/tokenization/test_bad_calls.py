"""Calls that cannot be answered: the error says what was passed and what is allowed."""

import math

import pytest
from tokenizer_kinds import load

from gptcore.errors import InputError
from tokenization import TokenizerError

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
    "tokens and ids": (
        lambda tokenizer: tokenizer.encode_plus(["a</w>", 5]),
        InputError,
        r"a list must hold only tokens or only ids; got \['a</w>', 5\]",
    ),
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
        "truncation must be 'only_first' or 'only_second' for pairs with return_overflowing_tokens; got",
    ),
    "no ids to pad": (
        lambda tokenizer: tokenizer.pad({"x": [1]}),
        InputError,
        "encoded_inputs must have input_ids; got x",
    ),
}


@pytest.mark.parametrize("case", BAD_CALLS)
def test_a_bad_call_is_a_clear_error(case, kind):
    call, error, message = BAD_CALLS[case]
    with pytest.raises(error, match=message):
        call(load(kind))


def test_a_limit_that_is_no_multiple_is_refused(kind):
    tokenizer = load(kind, pad_token="<unk>")
    with pytest.raises(TokenizerError, match=r"max_length must be a multiple of pad_to_multiple_of=4.*; got 5"):
        tokenizer("a", padding=True, truncation=True, max_length=5, pad_to_multiple_of=4)
