"""OpenAIGPTConfig: published keys, validation, lossless files."""

import copy
import json
import pickle
import random
import sys
import tracemalloc

import numpy as np
import pytest
from checkpoint_data import save
from hostile_json import mutated
from hypothesis import given
from hypothesis import strategies as st

from gptcore import CheckpointError, ConfigError, OpenAIGPTConfig
from gptcore.checkpoint import open_pretrained
from gptcore.spec.parameters import Head

PUBLISHED = {
    "afn": "gelu", "architectures": ["OpenAIGPTLMHeadModel"], "attn_pdrop": 0.1, "embd_pdrop": 0.1,
    "initializer_range": 0.02, "layer_norm_epsilon": 1e-05, "model_type": "openai-gpt", "n_ctx": 512,
    "n_embd": 768, "n_head": 12, "n_layer": 12, "n_positions": 512, "n_special": 0,
    "predict_special_tokens": True, "resid_pdrop": 0.1, "summary_activation": None,
    "summary_first_dropout": 0.1, "summary_proj_to_labels": True, "summary_type": "cls_index",
    "summary_use_proj": True, "task_specific_params": {"text-generation": {"do_sample": True, "max_length": 50}},
    "vocab_size": 40478,
}  # fmt: skip

INVALID = {
    "vocab_size": [0, -1, 1.5, "40478", True, None, 1 << 30],
    "n_positions": [0, 1 << 40],
    "n_embd": [0, 767, 1 << 20],
    "n_layer": [0, 1 << 20],
    "n_head": [0, 5],
    "afn": ["gelu_new", "tanh", None, 3],
    "resid_pdrop": [-0.1, 1.0, float("nan"), "0.1", None, True],
    "embd_pdrop": [2],
    "attn_pdrop": [float("inf")],
    "layer_norm_epsilon": [0, -1e-5, float("nan"), float("inf")],
    "initializer_range": [-1, float("inf")],
    "summary_type": ["attn", "middle", None],
    "summary_activation": ["gelu", ""],
    "summary_use_proj": [1, None, "true"],
    "num_labels": [0, 2.0, None],
    "id2label": [{0: "a", 2: "b"}, {"x": "a"}, 7],
    "label2id": [{"LABEL_0": 1}, 7, ["a"]],
    "problem_type": ["classification"],
    "pad_token_id": [-1, 40478, "0"],
    "output_attentions": [None],
}


@pytest.mark.parametrize(("name", "value"), [(name, value) for name, values in INVALID.items() for value in values])
def test_invalid_values_are_named(name, value):
    with pytest.raises(ConfigError, match=name):
        OpenAIGPTConfig(**{name: value})


def test_all_problems_are_reported_at_once():
    with pytest.raises(ConfigError, match=r"(?s)n_layer .* got 0.*resid_pdrop .* got 3.*afn .* got 'erf'"):
        OpenAIGPTConfig(n_layer=0, afn="erf", resid_pdrop=3)


def test_misspelt_settings_name_the_nearest():
    with pytest.raises(ConfigError, match="unknown setting 'n_layers'; did you mean 'n_layer'"):
        OpenAIGPTConfig(n_layers=3)
    with pytest.raises(ConfigError, match="hidden_size is a read-only alias; pass n_embd"):
        OpenAIGPTConfig().replace(hidden_size=3)


def test_the_published_file_comes_back_whole(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps(PUBLISHED))
    config = OpenAIGPTConfig.from_pretrained(tmp_path)
    config.save_pretrained(tmp_path / "copy")
    written = json.loads((tmp_path / "copy" / "config.json").read_text())
    assert PUBLISHED.items() <= written.items()
    assert OpenAIGPTConfig.from_pretrained(tmp_path / "copy" / "config.json") == config
    assert (config.hidden_size, config.num_hidden_layers) == (768, 12)
    assert (config.num_attention_heads, config.max_position_embeddings) == (12, 512)


def test_labels_agree():
    assert OpenAIGPTConfig(num_labels=3).id2label == {0: "LABEL_0", 1: "LABEL_1", 2: "LABEL_2"}
    named = OpenAIGPTConfig.from_dict({"id2label": {"0": "no", "1": "yes", "2": "maybe"}})
    assert (named.num_labels, named.label2id["maybe"]) == (3, 2)
    assert named.replace(num_labels=2).id2label == {0: "LABEL_0", 1: "LABEL_1"}
    assert named.replace(n_layer=2).id2label == named.id2label
    with pytest.raises(ConfigError, match="num_labels=2"):
        OpenAIGPTConfig(num_labels=2, id2label={0: "a"})


def test_frozen_and_hashable():
    config = OpenAIGPTConfig(num_labels=3)
    assert {config: 1}[OpenAIGPTConfig(num_labels=3)] == 1
    with pytest.raises(AttributeError):
        config.n_layer = 3


CHANGES = {
    "an item": lambda names: names.__setitem__(0, "neg"),
    "a deletion": lambda names: names.__delitem__(0),
    "update": lambda names: names.update({0: "neg"}),
    "or": lambda names: names.__ior__({0: "neg"}),
    "clear": lambda names: names.clear(),
    "pop": lambda names: names.pop(0),
    "popitem": lambda names: names.popitem(),
    "setdefault": lambda names: names.setdefault(7, "neg"),
}


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("setting", ["id2label", "label2id", "extra"])
def test_mappings_inside_are_frozen_too(setting, change):
    """A label renamed in place was found out by ``save_pretrained``, after the training."""
    config = OpenAIGPTConfig(num_labels=2, extra={"key": "value"})
    with pytest.raises(ConfigError, match=r"a config is frozen\. Make a copy with config\.replace"):
        CHANGES[change](getattr(config, setting))
    assert config == OpenAIGPTConfig(num_labels=2, extra={"key": "value"})


@pytest.mark.parametrize("duplicate", [copy.copy, copy.deepcopy, lambda config: pickle.loads(pickle.dumps(config))])
def test_configs_are_copied_whole(duplicate):
    config = OpenAIGPTConfig(id2label={0: "no", 1: "yes"}, extra={"key": {"inner": 1}})
    assert duplicate(config) == config
    assert duplicate(config.id2label) == {0: "no", 1: "yes"}


NUMPY = {
    "vocab_size": np.int64(9),
    "num_labels": np.uint8(2),
    "n_layer": np.array(3),
    "resid_pdrop": np.float32(0.25),
    "layer_norm_epsilon": np.float64(1e-6),
    "summary_use_proj": np.bool_(False),
    "afn": np.str_("relu"),
    "eos_token_id": np.int16(4),
    "id2label": {np.int64(0): np.str_("no"), np.int64(1): "yes"},
    "label2id": {"no": np.int64(0), "yes": np.array(1)},
    "extra": {"seen": np.int64(5), "losses": [np.float64(0.5)], "counts": np.arange(2)},
}


def test_numbers_of_numpy_are_plain(tmp_path):
    config = OpenAIGPTConfig(**NUMPY)
    expected = OpenAIGPTConfig(
        vocab_size=9, num_labels=2, n_layer=3, resid_pdrop=0.25, layer_norm_epsilon=1e-6, summary_use_proj=False,
        afn="relu", eos_token_id=4, id2label={0: "no", 1: "yes"}, extra={"seen": 5, "losses": [0.5], "counts": [0, 1]},
    )  # fmt: skip
    assert config == expected
    assert {name: type(value) for name, value in vars(config).items()} == {
        name: type(value) for name, value in vars(expected).items()
    }
    config.save_pretrained(tmp_path)
    assert OpenAIGPTConfig.from_pretrained(tmp_path, n_head=np.int64(4)) == expected.replace(n_head=4)


@pytest.mark.parametrize("value", [np.float64(2), np.bool_(True), np.array([2]), np.int64(0)])
def test_numbers_of_numpy_are_checked(value):
    with pytest.raises(ConfigError, match=r"n_layer must be an integer"):
        OpenAIGPTConfig(n_layer=value)


def test_another_model_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="model_type must be 'openai-gpt'; got 'gpt2'"):
        OpenAIGPTConfig.from_dict({"model_type": "gpt2"})
    with pytest.raises(ConfigError, match="tie_word_embeddings"):
        OpenAIGPTConfig.from_dict({"tie_word_embeddings": False})
    with pytest.raises(ConfigError, match="hidden_size and n_embd are one setting and must agree; got 3 and 4"):
        OpenAIGPTConfig.from_dict({"hidden_size": 3, "n_embd": 4})


@pytest.mark.parametrize(
    "content", [b"", b"[]", b"{", b'{"n_embd": 1e400}', b"\xff\xfe", b"[" * 100_000, b'"' + b"x" * (2 << 20) + b'"']
)
def test_damaged_files_are_one_error(tmp_path, content):
    (tmp_path / "config.json").write_bytes(content)
    with pytest.raises(ConfigError):
        OpenAIGPTConfig.from_pretrained(tmp_path)


@pytest.mark.parametrize("levels", [300, 600, 900, 2000])
def test_deep_files_are_a_config_or_one_error(tmp_path, levels):
    (tmp_path / "config.json").write_bytes(b'{"x": ' + b"[" * levels + b"]" * levels + b"}")
    try:
        config = OpenAIGPTConfig.from_pretrained(tmp_path)
    except ConfigError:
        return
    assert config.extra["x"]


def test_strange_values_are_one_error_or_harmless(tmp_path):
    stream = random.Random(0)
    whole = OpenAIGPTConfig().to_dict()
    refused = 0
    for _ in range(500):
        (tmp_path / "config.json").write_text(json.dumps(mutated(whole, stream)))
        try:
            OpenAIGPTConfig.from_pretrained(tmp_path)
        except ConfigError:
            refused += 1
    assert 200 < refused < 500


def test_absurd_sizes_take_no_memory(tmp_path):
    """The labels of the second would fill any memory; what the third allows itself is not in the file of weights."""
    labels = {"id2label": {"0": "a", "1": "b"}, "num_labels": 10**30}
    for settings in ({"n_embd": 10**30}, labels, {"n_layer": 1 << 10, "n_embd": 1 << 16, "vocab_size": 1 << 24}):
        save(tmp_path, Head.LM)
        known = json.loads((tmp_path / "config.json").read_text())
        (tmp_path / "config.json").write_text(json.dumps({**known, **settings}))
        tracemalloc.start()
        with pytest.raises((ConfigError, CheckpointError)):
            open_pretrained(tmp_path, Head.LM)
        assert tracemalloc.get_traced_memory()[1] < 64 << 20
        tracemalloc.stop()


def test_no_key_makes_a_loader_import(tmp_path, monkeypatch):
    """CVE-2026-4372 of another library: code beside the weights, which the config names."""
    save(tmp_path, Head.LM)
    (tmp_path / "evil_module.py").write_text("raise SystemExit('it was imported')")
    keys = {
        "auto_map": {"AutoModel": "evil_module.Model"},
        "_attn_implementation_internal": "evil_module",
        "afn": "gelu",
    }
    known = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**known, **keys, "trust_remote_code": True}))
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    for _ in open_pretrained(tmp_path, Head.LM).values():
        pass
    assert "evil_module" not in sys.modules


def test_a_missing_file_is_one_error(tmp_path):
    with pytest.raises(ConfigError, match="cannot read"):
        OpenAIGPTConfig.from_pretrained(tmp_path)


def test_keys_that_ask_for_code_are_only_carried(tmp_path):
    config = OpenAIGPTConfig.from_dict({"auto_map": {"AutoModel": "evil.Model"}, "_attn_implementation": "os.system"})
    assert config.to_dict()["auto_map"] == {"AutoModel": "evil.Model"}


@given(
    st.dictionaries(st.text(max_size=8), st.integers() | st.text(max_size=5) | st.none() | st.booleans(), max_size=5)
)
def test_any_mapping_is_a_config_or_one_error(settings):
    try:
        config = OpenAIGPTConfig.from_dict(settings)
    except ConfigError:
        return
    assert OpenAIGPTConfig.from_dict(config.to_dict()) == config


@given(
    st.fixed_dictionaries(
        {},
        optional={
            "n_layer": st.integers(1, 48),
            "num_labels": st.integers(1, 9),
            "resid_pdrop": st.floats(0, 0.99),
            "afn": st.sampled_from(["gelu", "relu", "silu", "swish"]),
            "pad_token_id": st.none() | st.integers(0, 40477),
        },
    )
)
def test_dictionaries_round_trip(settings):
    config = OpenAIGPTConfig(**settings)
    assert OpenAIGPTConfig.from_dict(json.loads(config.to_json_string())) == config
