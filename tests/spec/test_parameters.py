"""The table: the released model's sizes, fresh values stable."""

import json

import numpy as np
import pytest
from text_data import VOCABULARY

from gptcore import OpenAIGPTConfig
from gptcore.spec.parameters import Kind, initial_value, parameters, resized_embedding

FROZEN = [-0.0028753881, -0.025955968, 0.011238226]


def test_the_released_model():
    table = parameters(OpenAIGPTConfig())
    assert (len(table), sum(p.size for p in table.values())) == (146, 116_534_784)


def test_shapes_of_the_released_files():
    """OpenAI's own list: positions, tokens, then twelve arrays a layer; kernels with a leading axis of 1."""
    shapes = json.loads((VOCABULARY / "params_shapes.json").read_text())
    released = sorted([n for n in shape if n != 1] for shape in shapes)
    assert released == sorted(list(p.shape) for p in parameters(OpenAIGPTConfig()).values())


def test_fresh_values_are_frozen():
    """Another value here breaks every seeded run of every user."""
    config = OpenAIGPTConfig(vocab_size=5, n_positions=3, n_embd=4, n_head=2, n_layer=1)
    value = initial_value(parameters(config)["h.0.mlp.c_fc.weight"], config, 0)
    assert value.dtype == np.float32
    np.testing.assert_array_equal(value[0, :3], np.array(FROZEN, np.float32))
    other = initial_value(parameters(config)["h.0.mlp.c_fc.weight"], config, 1)
    assert not np.array_equal(value, other)


def test_fresh_values_have_the_published_distribution():
    config = OpenAIGPTConfig(n_layer=1)
    for parameter in parameters(config).values():
        value = initial_value(parameter, config, 3)
        if parameter.kind in (Kind.BIAS, Kind.SHIFT):
            assert not value.any()
        elif parameter.kind is Kind.SCALE:
            assert (value == 1).all()
        else:
            assert value.std() == pytest.approx(0.02, rel=0.01)
            assert abs(value.mean()) < 1e-4


def test_resizing_keeps_rows_and_draws_the_rest():
    config = OpenAIGPTConfig(vocab_size=7, n_embd=4, n_head=2)
    old = np.ones((5, 4), np.float32)
    resized = resized_embedding(old, config)
    np.testing.assert_array_equal(resized[:5], old)
    np.testing.assert_array_equal(resized[5:], initial_value(parameters(config)["tokens_embed.weight"], config, 0)[5:])
    np.testing.assert_array_equal(resized_embedding(old, config.replace(vocab_size=2)), old[:2])
