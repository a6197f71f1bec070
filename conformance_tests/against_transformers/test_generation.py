"""``generate`` of gpt_torch against that of transformers, which has no cache for this model."""

import itertools

import numpy as np
import pytest
import torch
import transformers
from trained_scale import trained_scale

import gpt_torch
from gpt_torch.weights import assign
from gptcore.config import OpenAIGPTConfig

CONFIG = OpenAIGPTConfig(vocab_size=53, n_positions=40, n_embd=24, n_head=3, n_layer=2)
IDS = torch.from_numpy(np.random.default_rng(0).integers(2, 53, (3, 7)))
EOS = [5, 9, 11, 20]
GREEDY = (
    {},
    {"repetition_penalty": 1.7},
    {"no_repeat_ngram_size": 2},
    {"no_repeat_ngram_size": 3, "repetition_penalty": 1.2},
    {"eos_token_id": EOS},
    {"eos_token_id": EOS, "min_new_tokens": 8},
    {"eos_token_id": 17, "min_length": 12},
    {"bad_words_ids": [[14], [21, 40], [20, 20, 25]]},
)
BEAMS = tuple(
    {"num_beams": beams, "length_penalty": penalty, "early_stopping": early, "num_return_sequences": returned, **more}
    for beams, penalty, early, returned, more in itertools.product(
        (2, 4), (0.5, 1.0, 2.0, -1.0), (False, True, "never"), (1, 2), ({}, {"no_repeat_ngram_size": 2})
    )
)


@pytest.fixture(scope="module", params=range(3))
def models(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("model")
    ours = gpt_torch.OpenAIGPTLMHeadModel(CONFIG, seed=None)
    weights = trained_scale(CONFIG, ours.head, request.param)
    # Smaller logits, so that the likeliest token changes from step to step.
    assign(ours, ((name, array * 0.35 if name == "tokens_embed.weight" else array) for name, array in weights))
    ours.save_pretrained(folder)
    return ours.eval(), transformers.OpenAIGPTLMHeadModel.from_pretrained(folder)


def assert_same(models, **settings):
    # transformers takes a pad_token_id of 0 for none in beam search, hence 1.
    settings = {"max_new_tokens": 15, "pad_token_id": 1, "do_sample": False, **settings}
    ours, theirs = models
    expected = theirs.generate(IDS, attention_mask=torch.ones_like(IDS), **settings)
    np.testing.assert_array_equal(ours.generate(IDS, **settings), expected)


@pytest.mark.filterwarnings("ignore")  # transformers warns of its own settings
@pytest.mark.parametrize("settings", GREEDY, ids=str)
def test_greedy(models, settings):
    assert_same(models, **settings)


@pytest.mark.filterwarnings("ignore")
def test_beam_search(models):
    for settings in BEAMS:
        assert_same(models, eos_token_id=EOS, **settings)
