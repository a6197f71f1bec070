"""Arguments of transformers that a script brings along: each works, or one error says what to write instead."""

import copy
import importlib
import pickle
from dataclasses import FrozenInstanceError

import pytest

from gptcore import ConfigError, OpenAIGPTConfig
from gptcore.spec.parameters import Head
from tokenization import OpenAIGPTTokenizerFast

CONFIG = OpenAIGPTConfig(vocab_size=41, n_positions=13, n_embd=14, n_head=2, n_layer=1)


@pytest.fixture
def load(backend, make_checkpoint):
    """A function (options) -> a model of the framework."""
    prefix = {"torch": "", "tf": "TF", "flax": "Flax"}[backend.name]
    model_class = getattr(importlib.import_module(f"gpt_{backend.name}"), f"{prefix}OpenAIGPTModel")
    folder = make_checkpoint(CONFIG, Head.NONE)
    return lambda **options: model_class.from_pretrained(folder, **options)


def test_arguments_without_an_effect(load, tmp_path):
    model = load(
        low_cpu_mem_usage=True,
        trust_remote_code=True,
        use_safetensors=True,
        device_map=None,
        load_in_8bit=False,
        from_pt=True,
    )
    assert model.config == load().config
    model.save_pretrained(
        tmp_path, safe_serialization=True, push_to_hub=False, save_function=None, is_main_process=True
    )
    assert (tmp_path / "model.safetensors").is_file()


LOADING = {
    "use_safetensors": (False, "Pass allow_pickle=True"),
    "quantization_config": ({"bits": 8}, 'Pass quantization="int8"'),
    "load_in_8bit": (True, 'Pass quantization="int8"'),
    "config": (CONFIG, "Pass the settings to change as keywords, such as num_labels=3"),
    "use_cache": (True, "Pass it to the model call or to generate"),
    "subfolder": ("model", "Pass the path of that folder"),
    "force_download": (True, "Delete the repository in the cache"),
}
SAVING = {
    "safe_serialization": (False, "Save, then run: gptcore convert FOLDER OUTPUT --to pytorch"),
    "push_to_hub": (True, r"Call model.push_to_hub\(repo_id\)"),
}


@pytest.mark.parametrize(("name", "value", "advice"), [(name, *answer) for name, answer in LOADING.items()])
def test_advice_on_loading(load, name, value, advice):
    with pytest.raises(ConfigError, match=f"{name}=.* is not supported. {advice}"):
        load(**{name: value})


def test_advice_on_saving(load, tmp_path):
    model = load()
    for name, (value, advice) in SAVING.items():
        with pytest.raises(ConfigError, match=f"{name}={value} is not supported. {advice}"):
            model.save_pretrained(tmp_path / "new", **{name: value})
    with pytest.raises(TypeError, match="unexpected keyword argument 'shards'"):
        model.save_pretrained(tmp_path / "new", shards=2)
    model.save_pretrained(tmp_path / "new", is_main_process=False)
    assert not (tmp_path / "new").exists()


def test_options_of_a_location_are_never_ignored(make_checkpoint):
    folder = make_checkpoint(CONFIG, Head.NONE)
    assert OpenAIGPTConfig.from_pretrained(folder, trust_remote_code=True, force_download=False).n_embd == 14
    for loads in (OpenAIGPTConfig.from_pretrained, OpenAIGPTTokenizerFast.from_pretrained):
        with pytest.raises(ConfigError, match=r"subfolder='model' is not supported. Pass the path of that folder"):
            loads(folder, subfolder="model")


def test_seeds(load):
    assert load().num_parameters() > 0
    with pytest.raises(ConfigError, match="seed must be an integer; got float"):
        type(load())(CONFIG, seed=0.5)


def test_sizes(load):
    model = load()
    embeddings = (41 + 13) * 14
    assert model.num_parameters() - model.num_parameters(exclude_embeddings=True) == embeddings
    model.resize_token_embeddings(42, pad_to_multiple_of=8, mean_resizing=False)
    assert model.config.vocab_size == 48
    with pytest.raises(ConfigError, match="mean_resizing must be False; got True"):
        model.resize_token_embeddings(50, mean_resizing=True)
    assert model.config.vocab_size == 48


def test_attributes_of_a_config():
    config = CONFIG.replace()
    config.use_cache = False  # as transformers' Trainer does
    assert (config.use_cache, copy.deepcopy(config).use_cache) == (False, False)
    assert config == CONFIG
    assert hash(config) == hash(CONFIG)
    assert config.to_dict() == CONFIG.to_dict()
    for name, value, setting in (("pad_token_id", 0, "pad_token_id"), ("hidden_size", 7, "n_embd")):
        with pytest.raises(FrozenInstanceError, match=rf"model.config = model.config.replace\({setting}={value}\)"):
            setattr(config, name, value)
    with pytest.raises(FrozenInstanceError, match="cannot delete n_layer: settings are frozen"):
        del config.n_layer
    assert config == pickle.loads(pickle.dumps(config)) == CONFIG
