"""Models, prompts and settings for tests of generation."""

import itertools

import numpy as np
from trained_scale import trained_scale

from gptcore.spec.config import OpenAIGPTConfig
from gptcore.spec.parameters import Head

CONFIG = OpenAIGPTConfig(vocab_size=53, n_positions=40, n_embd=24, n_head=3, n_layer=2)
IDS = np.random.default_rng(1).integers(2, 53, (3, 7))
NEW = 15  # tokens that follow
SEEDS = range(3)  # of the weights
EOS = [5, 9, 11, 20]
MASKS = {
    "left": np.arange(7) >= np.array([[0], [3], [6]]),
    "right": np.arange(7) < np.array([[7], [4], [1]]),
}
# The ids of these are written down as transformers 4.57.6 gives them; it takes a pad_token_id of 0 for none.
COMMON = {"max_new_tokens": NEW, "pad_token_id": 1}
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
    {
        "num_beams": beams,
        "length_penalty": penalty,
        "early_stopping": early,
        "num_return_sequences": returned,
        "eos_token_id": EOS,
        **more,
    }
    for beams, penalty, early, returned, more in itertools.product(
        (2, 4), (0.5, 1.0, 2.0, -1.0), (False, True, "never"), (1, 2), ({}, {"no_repeat_ngram_size": 2})
    )
)


SCALES = {"tokens_embed.weight": 0.35, "positions_embed.weight": 2}


def weights(seed=0, config=CONFIG):
    """Of a language model, such that the likeliest token changes from step to step; (name, array) pairs."""
    for name, array in trained_scale(config, Head.LM, seed):
        yield name, array * np.float32(SCALES.get(name, 1))
