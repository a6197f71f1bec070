"""Settings, random numbers and processors of generation."""

import copy
import json
import pickle
from dataclasses import FrozenInstanceError

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gptcore.errors import ConfigError, InputError
from gptcore.generation import GenerationConfig, check_prompt, decode, settled
from gptcore.generation.host import processors
from gptcore.generation.host.search import choose
from gptcore.spec.config import OpenAIGPTConfig
from gptcore.spec.counters import gumbel, threefry


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


@pytest.mark.parametrize(
    ("key", "counter", "words"),
    [  # the known answers of the authors' Random123 1.09
        ((0, 0), (0, 0), (0x6B200159, 0x99BA4EFE)),
        ((0xFFFFFFFF, 0xFFFFFFFF), (0xFFFFFFFF, 0xFFFFFFFF), (0x1CB996FC, 0xBB002BE7)),
        ((0x13198A2E, 0x03707344), (0x243F6A88, 0x85A308D3), (0xC4923A9C, 0x483DF7A0)),
    ],
)
def test_threefry(key, counter, words):
    assert tuple(map(int, threefry(key, *(np.array(word, np.uint32) for word in counter)))) == words


def test_noise_has_the_gumbel_distribution():
    noise = np.concatenate([gumbel(1, 0, step, np.arange(40_478)) for step in range(5)]).astype(np.float64)
    assert noise.dtype == np.float64
    assert np.isfinite(noise).all()
    assert abs(noise.mean() - np.euler_gamma) < 0.01
    assert abs(noise.var() - np.pi**2 / 6) < 0.02
    for quantile in (0.001, 0.1, 0.5, 0.9, 0.999):
        assert abs((noise < -np.log(-np.log(quantile))).mean() - quantile) < 0.003


def test_seeds_rows_steps_and_tokens_are_apart():
    streams = {
        tuple(gumbel(seed, row, step, np.arange(4)).tolist())
        for seed in (0, 1, 2**32 - 1)
        for row in range(3)
        for step in range(3)
    }
    assert len(streams) == 27


@pytest.mark.parametrize("settings", [{"top_k": 0}, {"top_k": 7, "top_p": 0.9, "temperature": 1.3}, {"min_p": 0.1}])
def test_samples_follow_the_filtered_softmax(settings):
    """Pearson's chi-square over 20,000 draws; the limit is 6 standard deviations above its mean."""
    config = GenerationConfig(do_sample=True, **{"top_k": 0, **settings}, seed=3)
    logits = np.random.default_rng(0).standard_normal((1, 23)).astype(np.float32) * 2
    scores = processors.process(config, logits, [np.array([1])], 0, 1)
    expected = processors.softmax(scores[0].astype(np.float64)) * 20_000
    draws = [choose(config, scores, step)[0] for step in range(20_000)]
    counts = np.bincount(draws, minlength=23)
    possible = expected > 0
    assert counts[~possible].sum() == 0
    freedom = possible.sum() - 1
    chi_square = ((counts - expected)[possible] ** 2 / expected[possible]).sum()
    assert chi_square < freedom + 6 * np.sqrt(2 * freedom)


rows_of_scores = st.lists(st.floats(-30, 30, width=32), min_size=2, max_size=40).map(
    lambda x: np.array([x], np.float32)
)


@given(rows_of_scores, st.integers(1, 50))
def test_top_k_keeps_the_highest(scores, k):
    kept = processors.top_k(scores, k) > -np.inf
    assert kept.sum() >= min(k, scores.size)
    assert scores[kept].min() >= scores[~kept].max(initial=-np.inf)


@given(rows_of_scores, st.floats(0.01, 1.0))
def test_top_p_keeps_enough_and_no_more(scores, p):
    kept = np.flatnonzero(processors.top_p(scores, p)[0] > -np.inf)
    probabilities = processors.softmax(scores[0].astype(np.float64))
    assert len(kept) >= 1
    assert probabilities[kept].sum() >= p - 1e-5
    assert probabilities[kept].sum() - probabilities[kept].min() <= p + 1e-5
    assert scores[0].argmax() in kept or scores[0, kept].max() == scores[0].max()


@given(rows_of_scores, st.floats(0.01, 0.99))
def test_min_p_and_typical_p_keep_something(scores, p):
    for processor in (processors.min_p, processors.typical_p):
        filtered = processor(scores, p)
        kept = filtered > -np.inf
        assert kept.any()
        np.testing.assert_array_equal(filtered[kept], scores[kept])


@given(st.lists(st.integers(0, 6), min_size=1, max_size=30), st.integers(1, 4))
def test_no_ngram_comes_twice(tokens, size):
    scores = processors.no_repeat_ngram(np.zeros((1, 7), np.float32), [np.array(tokens)], size)[0]
    seen = {tuple(tokens[i : i + size]) for i in range(len(tokens) - size + 1)}
    head = tuple(tokens[len(tokens) - size + 1 :]) if size > 1 else ()
    for token in range(7):
        assert (scores[token] == -np.inf) == (len(tokens) >= size and (*head, token) in seen)


def test_bad_words_and_repetition():
    scores = np.array([[2.0, -2.0, 1.0, 1.0]], np.float32)
    np.testing.assert_array_equal(
        processors.repetition_penalty(scores, [np.array([0, 1, 1])], 2.0), [[1.0, -4.0, 1.0, 1.0]]
    )
    banned = processors.bad_words(scores, [np.array([3, 1])], [[0], [1, 2], [2, 1, 3], [3, 1, 1]])
    np.testing.assert_array_equal(banned > -np.inf, [[False, False, False, True]])


class FixedStepper:
    """A model that gives the same logits (V,) after every token."""

    def __init__(self, logits):
        self.logits = np.array(logits, np.float32)

    def start(self, input_ids, attention_mask, capacity):
        return np.tile(self.logits, (len(input_ids), 1)), len(input_ids)

    def step(self, tokens, state):
        return np.tile(self.logits, (len(tokens), 1)), len(tokens)

    def hidden_states(self, state):
        return np.ones((state, 2, 3), np.float32)

    def reordered(self, state, rows):
        return len(rows)


def continued(logits, ids=((0, 1),), **settings):
    model = OpenAIGPTConfig(vocab_size=len(logits), n_positions=16, n_embd=4, n_layer=1, n_head=1)
    config = GenerationConfig(max_new_tokens=3, **settings)
    return decode(FixedStepper(logits), model, config, check_prompt(model, config, ids)).sequences


METHODS = {
    "greedy": {},
    "sampled": {"do_sample": True},
    "filtered": {"do_sample": True, "top_k": 2, "top_p": 0.9, "min_p": 0.1, "typical_p": 0.9},
    "contrastive": {"penalty_alpha": 0.6, "top_k": 3},
    "beams": {"num_beams": 2},
    "sampled beams": {"num_beams": 2, "do_sample": True},
}


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    ("logits", "settings"),
    [
        ([0.0, 1.0, np.nan, 2.0], {}),
        ([0.0, 1.0, np.inf, 2.0], {}),
        ([np.nan] * 4, {}),
        ([0.0, 1.0, 2.0, 3.0], {"bad_words_ids": [[0], [1], [2], [3]]}),
        ([0.0, 1.0, 2.0, 3.0], {"no_repeat_ngram_size": 1, "bad_words_ids": [[3]]}),
        ([0.0, 1.0, 2.0, 3.0], {"eos_token_id": [0, 1, 2, 3], "min_new_tokens": 2}),
    ],
    ids=["nan", "infinity", "all nan", "bad words", "n-grams", "no end yet"],
)
def test_nothing_to_choose(method, logits, settings):
    with pytest.raises(InputError, match=r"cannot select a token in row 0: its logits are infinite or NaN"):
        continued(logits, **METHODS[method], **settings)


@pytest.mark.parametrize("method", METHODS)
def test_no_token_that_is_not_allowed(method):
    """Only one token is left, fewer than there are candidates and beams; token 3 would be the likeliest."""
    settings = {"bad_words_ids": [[0], [1], [3]], **METHODS[method]}
    assert continued([0.0, 1.0, -9.0, 3.0], **settings).tolist() == [[0, 1, 2, 2, 2]]


@pytest.mark.parametrize("method", ["greedy", "beams"])
def test_a_stop_string_ends_a_text(method):
    """The prompt may hold it."""
    model = OpenAIGPTConfig(vocab_size=4, n_positions=16, n_embd=4, n_layer=1, n_head=1)
    config = GenerationConfig(max_new_tokens=5, stop_strings=["33", "x"], pad_token_id=1, **METHODS[method])
    prompt = check_prompt(model, config, [[3, 3]])
    output = decode(
        FixedStepper([0.0, 1.0, 2.0, 9.0]), model, config, prompt, decode_text=lambda ids: "".join(map(str, ids))
    )
    assert output.sequences.tolist() == [[3, 3, 3, 3]]


def test_rows_that_have_ended_need_no_token():
    """The first row has every token but the end; the second goes on."""
    settings = {"no_repeat_ngram_size": 1, "eos_token_id": 2, "do_sample": True, "top_k": 1}
    found = continued([0.0, 1.0, 9.0, 2.0, 3.0], ids=[[0, 1, 3, 4], [2, 2, 2, 2]], **settings)
    assert found[:, 4:].tolist() == [[2, 2, 2], [4, 3, 1]]


def test_settings_that_another_one_switches_off(caplog):
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
