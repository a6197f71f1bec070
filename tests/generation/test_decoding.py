"""Decoding by every method where few tokens, or none, are allowed."""

import numpy as np
import pytest

from gptcore.errors import InputError
from gptcore.generation import GenerationConfig, check_prompt, decode
from gptcore.spec.config import OpenAIGPTConfig


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
def test_logits_without_a_possible_token_are_one_error(method, logits, settings):
    with pytest.raises(InputError, match=r"cannot select a token in row 0: its logits are infinite or NaN"):
        continued(logits, **METHODS[method], **settings)


@pytest.mark.parametrize("method", METHODS)
def test_only_an_allowed_token_is_chosen(method):
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
