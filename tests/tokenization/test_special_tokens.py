"""The vocabulary as users see it: sizes, special tokens and added tokens."""

import json

import pytest
from tokenizer_kinds import load

from tokenization import AddedToken, OpenAIGPTTokenizerFast, TokenizerError


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
    with pytest.raises(TokenizerError, match=r"name of a special token must be one of bos_token.*; got 'end_token'"):
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
