"""Broken vocabularies and merges: one error that names file and line."""

import codecs
import json
import random

import pytest
from hostile_json import mutated
from text_data import VOCABULARY

from tokenization import OpenAIGPTTokenizer, OpenAIGPTTokenizerFast, TokenizerError
from tokenization.vocabulary import merges_bytes, read_vocabulary, vocabulary_bytes

VOCAB = {"<unk>": 0, "a": 1, "b": 2, "a</w>": 3, "b</w>": 4, "ab": 5, "ab</w>": 6}
MERGES = "#version: 0.2\na b\na b</w>\n"


def write(folder, vocab=VOCAB, merges=MERGES):
    text = vocab if isinstance(vocab, (str, bytes)) else json.dumps(vocab, indent=1)
    for name, content in (("vocab.json", text), ("merges.txt", merges)):
        (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    return folder / "vocab.json", folder / "merges.txt"


def lines(*entries):
    return "{\n" + ",\n".join(entries) + "\n}"


BROKEN_VOCAB = {
    "no JSON": ('{"<unk>": 0,\n"a": 1,,}', 2, "not JSON"),
    "cut off": ('{\n"<unk>": 0,\n"a"', 3, "not JSON"),
    "empty file": ("", 1, "not JSON"),
    "a list": ("[1]", 1, "got list"),
    "no pieces": ("{}", 1, "empty"),
    "not UTF-8": (b'{\n"<unk>": 0,\n"\xff": 1}', 3, "byte 0xff is not UTF-8"),
    "twice": (lines('"<unk>": 0', '"a": 1', '"a": 2'), 4, "'a' occurs a second time"),
    "hole": (lines('"<unk>": 0', '"a": 1', '"b": 3'), 4, "no piece has id 2"),
    "large hole": (lines('"<unk>": 0', '"a": 9'), 3, "ids 1 to 8"),
    "shared id": (lines('"<unk>": 0', '"a": 1', '"b": 1'), 4, "id 1 of 'b' is taken"),
    "negative": (lines('"<unk>": 0', '"a": -1'), 3, "-1"),
    "text": (lines('"<unk>": 0', '"a": "1"'), 3, "'1'"),
    "true": (lines('"<unk>": 0', '"a": true'), 3, "True"),
    "huge": (lines('"<unk>": 0', '"a": 1e400'), 3, "inf"),
    "escaped": (lines('"<unk>": 0', '"\\u00e9\\n": 7'), 3, "no piece has ids 1 to 6"),
    "deep": ('{"a": ' * 100_000, 1, "nested too deeply"),
}


@pytest.mark.parametrize("case", BROKEN_VOCAB)
def test_a_broken_vocabulary(case, tmp_path):
    content, line, problem = BROKEN_VOCAB[case]
    files = write(tmp_path, content)
    for kind in (OpenAIGPTTokenizer, OpenAIGPTTokenizerFast):
        with pytest.raises(TokenizerError) as caught:
            kind(*files, pre_tokenizer="basic")
        assert f"{files[0]}, line {line}: " in str(caught.value)
        assert problem in str(caught.value)


BROKEN_MERGES = {
    "one piece": ("#version: 0.2\na b\nab\n", 3, "two pieces"),
    "three pieces": ("#version: 0.2\na b c\n", 2, "two pieces"),
    "two spaces": ("#version: 0.2\na  b\n", 2, "two pieces"),
    "blank line": ("#version: 0.2\na b\n\na b</w>\n", 3, "two pieces"),
    "unknown piece": ("#version: 0.2\na b\na z\n", 3, "needs 'z'"),
    "unknown result": ("#version: 0.2\na b\nb a\n", 3, "needs 'ba'"),
    "twice": ("#version: 0.2\na b\na b</w>\na b\n", 4, "a second time; it is already merge 1"),
    "not UTF-8": (b"#version: 0.2\na b\n\xe9 b\n", 3, "byte 0xe9 is not UTF-8"),
    "no header": ("a b\na z\n", 2, "needs 'z'"),
}


@pytest.mark.parametrize("case", BROKEN_MERGES)
def test_broken_merges(case, tmp_path):
    content, line, problem = BROKEN_MERGES[case]
    files = write(tmp_path, merges=content)
    for kind in (OpenAIGPTTokenizer, OpenAIGPTTokenizerFast):
        with pytest.raises(TokenizerError) as caught:
            kind(*files, pre_tokenizer="basic")
        assert f"{files[1]}, line {line}: " in str(caught.value)
        assert problem in str(caught.value)


def test_a_missing_file(tmp_path):
    files = write(tmp_path)
    files[1].unlink()
    with pytest.raises(TokenizerError, match=r"cannot read .*merges.txt: No such file"):
        OpenAIGPTTokenizer(*files, pre_tokenizer="basic")


def test_a_file_that_is_too_large(tmp_path, monkeypatch):
    monkeypatch.setattr("tokenization.vocabulary.MAX_FILE_BYTES", 10)
    with pytest.raises(TokenizerError, match="must have at most 10 bytes"):
        read_vocabulary(*write(tmp_path))


@pytest.mark.parametrize("name", ["vocab.json", "merges.txt", "tokenizer_config.json"])
def test_a_byte_order_mark_is_no_text(name, tmp_path):
    write(tmp_path)
    (tmp_path / "tokenizer_config.json").write_text('{"pre_tokenizer": "basic"}')
    (tmp_path / name).write_bytes(codecs.BOM_UTF8 + (tmp_path / name).read_bytes())
    assert OpenAIGPTTokenizer.from_pretrained(tmp_path)("ab").input_ids == [6]
    (tmp_path / name).write_bytes((tmp_path / name).read_text(encoding="utf-8-sig").encode("utf-16"))
    with pytest.raises(TokenizerError, match=f"{name} is UTF-16, not UTF-8. Save the file as UTF-8"):
        OpenAIGPTTokenizer.from_pretrained(tmp_path)


@pytest.mark.parametrize("merges", [MERGES, MERGES.replace("\n", "\r\n"), MERGES[:-1], "a b\na b</w>\n"])
def test_headers_and_line_ends_may_vary(merges, tmp_path):
    assert read_vocabulary(*write(tmp_path, merges=merges)).merges == (("a", "b"), ("a", "b</w>"))


def test_the_published_vocabulary_and_its_bytes():
    vocabulary = read_vocabulary(VOCABULARY / "vocab.json", VOCABULARY / "merges.txt")
    assert len(vocabulary.encoder) == 40_478
    assert len(vocabulary.merges) == 40_000
    assert vocabulary.decoder[0] == "<unk>"
    assert vocabulary.decoder[40_477] == "\n</w>"
    assert merges_bytes(vocabulary.merges) == (VOCABULARY / "merges.txt").read_bytes()
    assert json.loads(vocabulary_bytes(vocabulary.encoder)) == vocabulary.encoder


def tokenizer_json(**changes):
    content = {
        "added_tokens": [{"id": 0, "content": "<unk>", "special": True, "normalized": False}],
        "normalizer": {"type": "BertNormalizer", "clean_text": True, "handle_chinese_chars": True, "lowercase": True},
        "pre_tokenizer": {"type": "BertPreTokenizer"},
        "model": {"type": "BPE", "end_of_word_suffix": "</w>", "vocab": VOCAB, "merges": ["a b", ["a", "b</w>"]]},
    }
    for name, value in changes.items():
        part, _, key = name.partition("__")
        if key:
            content[part][key] = value
        else:
            content[part] = value
    return json.dumps(content)


def test_a_tokenizer_json_alone(tmp_path):
    (tmp_path / "tokenizer.json").write_text(tokenizer_json())
    for kind in (OpenAIGPTTokenizer, OpenAIGPTTokenizerFast):
        tokenizer = kind.from_pretrained(tmp_path, pre_tokenizer="basic")
        assert tokenizer("ab abab <unk>").input_ids == [6, 5, 6, 0]
    from_file = OpenAIGPTTokenizerFast(tokenizer_file=tmp_path / "tokenizer.json", pre_tokenizer="basic")
    assert from_file("ab abab <unk>").input_ids == [6, 5, 6, 0]


OTHER_KINDS = {
    "word pieces": ({"model__type": "WordPiece"}, "model.type must be .*; got 'WordPiece'"),
    "byte level": ({"pre_tokenizer": {"type": "ByteLevel"}}, "pre_tokenizer.type must be .*; got 'ByteLevel'"),
    "cased": ({"normalizer__lowercase": False}, "normalizer.lowercase must be .*; got False"),
    "no normalizer": ({"normalizer": None}, "normalizer.type must be .*; got None"),
    "no suffix": ({"model__end_of_word_suffix": None}, "model.end_of_word_suffix must be .*; got None"),
    "dropout": ({"model__dropout": 0.1}, "model.dropout must be .*; got 0.1"),
    "hole": ({"model__vocab": {"a": 0, "b": 2}}, "no piece has id 1"),
    "unknown piece": ({"model__merges": ["a z"]}, r"model.merges\[0\]: .* needs 'z'"),
    "no list": ({"model__merges": 3}, "merges must be a list"),
    "no ids": ({"model__vocab": ["a"]}, "vocab must map pieces to integer ids"),
    "no model": ({"model": 3}, "'model' is missing"),
    "bad added token": ({"added_tokens": [{"id": 0}]}, "not an added token"),
    "added token in the air": (
        {"added_tokens": [{"id": 99, "content": "x"}]},
        "'x' must be 7, the next free id; got 99",
    ),
    "added token of another": (
        {"added_tokens": [{"id": 2, "content": "a"}]},
        "'a' must be 1, as in the vocabulary; got 2",
    ),
}


@pytest.mark.parametrize("case", OTHER_KINDS)
def test_a_tokenizer_json_of_another_kind(case, tmp_path):
    changes, problem = OTHER_KINDS[case]
    (tmp_path / "tokenizer.json").write_text(tokenizer_json(**changes))
    with pytest.raises(TokenizerError, match=problem):
        OpenAIGPTTokenizerFast.from_pretrained(tmp_path, pre_tokenizer="basic")


@pytest.mark.parametrize("content", ['{"model": ' * 100_000, '{"model": {"vocab": ' + "[" * 100_000])
def test_a_tokenizer_json_that_is_too_deep(content, tmp_path):
    (tmp_path / "tokenizer.json").write_text(content)
    with pytest.raises(TokenizerError, match=r"tokenizer\.json, line 1: .*nested too deeply"):
        OpenAIGPTTokenizer.from_pretrained(tmp_path, pre_tokenizer="basic")


def test_any_file_that_is_too_large(tmp_path, monkeypatch):
    write(tmp_path)
    monkeypatch.setattr("tokenization.vocabulary.MAX_FILE_BYTES", 1000)
    for name in ("tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "tokenizer.json"):
        (tmp_path / name).write_text("{" + " " * 1000 + "}")
        with pytest.raises(TokenizerError, match=f"{name} must have at most 1,000 bytes; got"):
            OpenAIGPTTokenizer.from_pretrained(tmp_path)
        (tmp_path / name).unlink()


WHOLE_FILES = {
    "tokenizer.json": json.loads(tokenizer_json()),
    "vocab.json": VOCAB,
    "added_tokens.json": {"<x>": 7},
    "special_tokens_map.json": {"unk_token": {"content": "<unk>"}, "pad_token": "<unk>"},
    "tokenizer_config.json": {
        "added_tokens_decoder": {"0": {"content": "<unk>", "special": True}},
        "additional_special_tokens": ["<x>"],
        "clean_up_tokenization_spaces": False,
        "model_max_length": 512,
        "padding_side": "right",
        "pre_tokenizer": "basic",
        "pre_tokenizer_rules": None,
        "unk_token": "<unk>",
        **dict.fromkeys(("cls", "self", "vocabulary", "rules", "vocab_file", "pretrained_model_name_or_path")),
    },
}


@pytest.mark.parametrize("name", WHOLE_FILES)
def test_strange_values_are_one_error_or_harmless(name, tmp_path):
    stream = random.Random(0)
    refused = 0
    for _ in range(200):
        if name != "tokenizer.json":
            write(tmp_path)
        (tmp_path / name).write_text(json.dumps(mutated(WHOLE_FILES[name], stream)))
        options = {} if name == "tokenizer_config.json" else {"pre_tokenizer": "basic"}
        results = []
        for kind in (OpenAIGPTTokenizer, OpenAIGPTTokenizerFast):
            try:
                results.append(kind.from_pretrained(tmp_path, **options)("ab a <unk>").input_ids)
            except TokenizerError as error:
                results.append(str(error))
        assert results[0] == results[1]
        refused += isinstance(results[0], str)
    assert refused > 20


def test_a_folder_without_a_tokenizer(tmp_path):
    with pytest.raises(TokenizerError, match=r"it needs vocab.json and merges.txt, or encoder_bpe"):
        OpenAIGPTTokenizer.from_pretrained(tmp_path)


def test_openais_own_file_names(tmp_path):
    vocab, merges = write(tmp_path)
    vocab.rename(tmp_path / "encoder_bpe_40000.json")
    merges.rename(tmp_path / "vocab_40000.bpe")
    assert OpenAIGPTTokenizer.from_pretrained(tmp_path, pre_tokenizer="basic")("ab").input_ids == [6]
