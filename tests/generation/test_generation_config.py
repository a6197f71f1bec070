"""Settings of generation: what is allowed, and what is kept in files."""

import copy
import json
import pickle
from dataclasses import FrozenInstanceError

import numpy as np
import pytest

from gptcore.errors import ConfigError
from gptcore.generation import GenerationConfig, settled
from gptcore.spec.config import OpenAIGPTConfig


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"max_new_token": 3}, "unknown setting 'max_new_token'; did you mean 'max_new_tokens'"),
        ({"temperature": -1.0}, "temperature must be a number above 0; got -1.0"),
        ({"top_k": 2.5}, "top_k must be an integer of at least 0; got 2.5"),
        ({"top_p": 0.0}, r"top_p must be a number in \(0, 1\]; got 0.0"),
        ({"min_p": 2}, r"min_p must be a number in \[0, 1\]; got 2"),
        ({"seed": 2**32}, r"seed must be an integer in \[0, 4294967295\]; got 4294967296"),
        ({"early_stopping": "soon"}, "early_stopping must be True, False or 'never'; got 'soon'"),
        ({"context": "wrap"}, "context must be one of 'error', 'sliding'; got 'wrap'"),
        ({"eos_token_id": [1, -2]}, "eos_token_id must be"),
        ({"bad_words_ids": [[]]}, "bad_words_ids must be"),
        ({"stop_strings": ""}, "stop_strings must be"),
        ({"num_beams": 2, "num_return_sequences": 3}, "num_return_sequences=3 must be at most num_beams=2"),
        ({"penalty_alpha": 1.5}, r"penalty_alpha must be a number in \[0, 1\]; got 1.5"),
        ({"penalty_alpha": 0.6, "num_beams": 2}, "neither samples nor uses beams"),
        ({"penalty_alpha": 0.6, "top_k": 1}, "top_k must be at least 2; got 1"),
        ({"penalty_alpha": 0.6, "context": "sliding"}, "compares each token with all previous ones"),
        ({"num_return_sequences": 2}, "would return equal sequences"),
        ({"max_time": 3.0}, r"max_time=3.0 is not supported. Stop reading stream_text\(...\)"),
        ({"logits_processor": [None]}, "Write your own loop that calls the model"),
        ({"num_beam_groups": 2}, "num_beam_groups=2 is not supported"),
        ({"sequence_bias": {(3,): 1.0}}, "sequence_bias={.*} is not supported"),
        ({"forced_eos_token_id": 3}, "forced_eos_token_id=3 is not supported. Append the id"),
        ({"min_new_tokens": 4, "max_new_tokens": 3}, "min_new_tokens=4 must be at most max_new_tokens=3"),
    ],
)
def test_bad_settings(settings, message):
    with pytest.raises(ConfigError, match=message):
        GenerationConfig(**settings)


def test_settings_of_transformers_without_effect():
    settings = {"logits_processor": [], "stopping_criteria": None, "max_time": None, "num_beam_groups": 1}
    settings |= {"forced_eos_token_id": None, "token_healing": False, "epsilon_cutoff": 0.0, "bos_token_id": 3}
    assert GenerationConfig().replace(**settings) == GenerationConfig()


def test_all_problems_at_once():
    with pytest.raises(ConfigError) as caught:
        GenerationConfig(temperature=0, top_k=-1, num_beams=0)
    assert all(name in str(caught.value) for name in ("temperature", "top_k", "num_beams"))


def test_a_config_is_frozen():
    config = GenerationConfig(top_k=7)
    with pytest.raises(FrozenInstanceError, match=r"= model.generation_config.replace\(top_k=3\)"):
        config.top_k = 3
    with pytest.raises(FrozenInstanceError, match="cannot delete top_k"):
        del config.top_k
    assert config == pickle.loads(pickle.dumps(config)) == copy.deepcopy(config)


def test_files_keep_what_they_held(tmp_path):
    (tmp_path / "generation_config.json").write_text(json.dumps({"top_k": 7, "bos_token_id": 3, "min_p": None}))
    config = GenerationConfig.from_pretrained(tmp_path, seed=5)
    assert (config.top_k, config.seed, config.min_p, config.extra) == (7, 5, None, {"bos_token_id": 3})
    config.save_pretrained(tmp_path)
    assert GenerationConfig.from_pretrained(tmp_path) == config


def test_numbers_of_numpy_are_plain(tmp_path):
    config = GenerationConfig(
        max_new_tokens=np.int64(3), top_p=np.float64(0.5), do_sample=np.bool_(True), eos_token_id=np.array([1, 2]),
        bad_words_ids=[np.array([3]), [np.int64(4)]], seed=np.uint32(7), extra={"bos_token_id": np.int64(3)},
    )  # fmt: skip
    expected = GenerationConfig(
        max_new_tokens=3, top_p=0.5, do_sample=True, eos_token_id=[1, 2], bad_words_ids=[[3], [4]], seed=7,
        extra={"bos_token_id": 3},
    )  # fmt: skip
    assert config == expected
    assert type(config.seed) is int
    config.save_pretrained(tmp_path)
    assert GenerationConfig.from_pretrained(tmp_path) == expected


def test_settings_without_effect_give_a_warning(caplog):
    """Once each, and only what a call sets itself."""
    config, model = GenerationConfig(temperature=0.7, top_k=3, do_sample=False), OpenAIGPTConfig()
    settings = {"top_p": 0.625, "early_stopping": True, "output_scores": True, "top_k": 50, "seed": 3}
    for _ in range(2):
        settled(model, config, settings)
    settled(model, None, {"penalty_alpha": 0.5, "top_k": 4})
    settled(model, None, {"num_beams": 2, "output_scores": True, "return_dict_in_generate": True})
    settled(model, None, {"do_sample": True, "temperature": 0.625, "num_beams": 2, "length_penalty": 2.0})
    assert caplog.messages == [
        "top_p=0.625 has no effect. Pass do_sample=True as well.",
        "early_stopping=True has no effect. Pass num_beams above 1 as well.",
        "output_scores=True has no effect. Pass return_dict_in_generate=True as well.",
        "output_scores=True has no effect. Pass num_beams=1 as well.",
    ]
