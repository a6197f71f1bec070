"""Tokenizers in folders and on the hub: saving, loading, and settings files that are wrong."""

import json

import pytest
from text_data import VOCABULARY
from tokenizer_kinds import KINDS, MODES, load

from gptcore.errors import StorageError
from tokenization import OpenAIGPTTokenizerFast, TokenizerError


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
    with pytest.raises(TokenizerError, match=r"needs feedfeedfeedfeed, so ids would differ.*pre_tokenizer='basic'"):
        kind.from_pretrained(tmp_path)
    assert kind.from_pretrained(tmp_path, pre_tokenizer="basic").pre_tokenizer == "basic"
    config["pre_tokenizer"] = "basic"
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(config))
    with pytest.raises(TokenizerError, match=r"so ids would differ\. Use the version of gptcore .* or pass rules=None"):
        kind.from_pretrained(tmp_path)
    assert kind.from_pretrained(tmp_path, rules=None).pre_tokenizer == "basic"


def test_unknown_settings_of_a_config_are_kept(kind, tmp_path):
    load(kind).save_pretrained(tmp_path)
    file = tmp_path / "tokenizer_config.json"
    file.write_text(
        json.dumps({**json.loads(file.read_text()), "chat_template": "none", "auto_map": {"x": "os.system"}})
    )
    kind.from_pretrained(tmp_path).save_pretrained(tmp_path / "again")
    config = json.loads((tmp_path / "again" / "tokenizer_config.json").read_text())
    assert config["chat_template"] == "none"
    assert "auto_map" not in config


def test_older_files_of_transformers_are_read(kind, tmp_path):
    load(kind).save_vocabulary(tmp_path)
    (tmp_path / "special_tokens_map.json").write_text(json.dumps({"pad_token": {"content": "<pad>", "lstrip": True}}))
    (tmp_path / "added_tokens.json").write_text(json.dumps({"<pad>": 40_478, "xyzzy": 40_479}))
    tokenizer = kind.from_pretrained(tmp_path, pre_tokenizer="basic")
    assert tokenizer.pad_token_id == 40_478
    assert tokenizer("the<pad> xyzzy").input_ids == [481, 40_478, 40_479]


BAD_FILES = {
    "config": ("tokenizer_config.json", "[1]", "tokenizer_config.json, line 1: must be a JSON object; got list"),
    "config JSON": ("tokenizer_config.json", '{\n"a": }', "tokenizer_config.json, line 2: not JSON"),
    "token": ("tokenizer_config.json", '{"pad_token": 7}', "tokenizer_config.json: pad_token must be a token; got 7"),
    "token map": ("special_tokens_map.json", '{"pad_token": 7}', "special_tokens_map.json: pad_token must be a token"),
    "token list": ("special_tokens_map.json", '{"additional_special_tokens": [7]}', r"a list of tokens; got \[7\]"),
    "added": ("tokenizer_config.json", '{"added_tokens_decoder": {"x": "y"}}', "added token: .* with the id 'x'"),
    "mode": ("tokenizer_config.json", '{"pre_tokenizer": "x"}', "pre_tokenizer must be one of .*; got 'x'"),
}


@pytest.mark.parametrize("case", BAD_FILES)
def test_a_bad_settings_file_is_a_clear_error(case, kind, tmp_path):
    name, content, message = BAD_FILES[case]
    load(kind).save_vocabulary(tmp_path)
    (tmp_path / name).write_text(content)
    with pytest.raises(TokenizerError, match=message):
        kind.from_pretrained(tmp_path)


def test_missing_places_are_clear_errors(kind, tmp_path):
    with pytest.raises(TokenizerError, match=r"must be an existing folder. Create it, or use save_pretrained"):
        load(kind).save_vocabulary(tmp_path / "none")
    with pytest.raises(StorageError, match=r"no folder named .* not a repository id"):
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
